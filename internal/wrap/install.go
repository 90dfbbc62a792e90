package wrap

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Install puts the running program into a directory, as `sidecar`, where anybody may execute it. It appears whole or not at
// all.
func Install(dir string) error {
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("read the program itself: %w", err)
	}
	defer program.Close()
	whole, err := os.CreateTemp(dir, ".sidecar-*")
	if err != nil {
		return fmt.Errorf("install into %s: %w", dir, err)
	}
	defer os.Remove(whole.Name())
	defer whole.Close()
	if _, err := io.Copy(whole, program); err != nil {
		return fmt.Errorf("install into %s: %w", dir, err)
	}
	if err := whole.Chmod(0o755); err != nil {
		return err
	}
	return os.Rename(whole.Name(), filepath.Join(dir, "sidecar"))
}
