//go:build !faults

package main

// fault does nothing: see faults_test builds, which make a part panic to show that requests go on.
func fault(string) {}
