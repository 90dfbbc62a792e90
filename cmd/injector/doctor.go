package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"github.com/openreplay/log-sidecar/injector"
)

// doctor goes along the chain from a pod to the replay, by kubectl: whether the pod has its sidecar and why not, whether it
// runs, and what `sidecar check` says inside it.
func doctor(ctx context.Context, p process, args []string) error {
	flags := flag.NewFlagSet("doctor", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	var k kubectl
	flags.StringVar(&k.namespace, "n", "", "`NAMESPACE` of the pod; kubectl's own where it is empty")
	flags.StringVar(&k.namespace, "namespace", "", "the same")
	flags.StringVar(&k.context, "context", "", "`CONTEXT` of kubectl's configuration")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if flags.NArg() != 1 {
		return usageError{errors.New("name one pod: doctor [-n NAMESPACE] POD")}
	}
	name := strings.TrimPrefix(flags.Arg(0), "pod/")
	var pod patient
	if err := k.get(ctx, &pod, "pod", name); err != nil {
		return err
	}
	command, found := pod.sidecar()
	if !found {
		return reportMissing(ctx, p.stdout, k, &pod)
	}
	say(p.stdout, "ok", "sidecar", "the pod has it")
	if !pod.runs(p.stdout) {
		return errFailed
	}
	inside := k.command(ctx, append([]string{"exec", name, "-c", injector.Name, "--"}, command...)...)
	inside.Stdout, inside.Stderr = p.stdout, p.stderr
	var exit *exec.ExitError
	if err := inside.Run(); errors.As(err, &exit) {
		return errFailed // what is wrong was said
	} else if err != nil {
		return fmt.Errorf("kubectl exec: %w", err)
	}
	return nil
}

// say prints a line as sidecar check does, whose lines follow.
func say(out io.Writer, status, name, note string) {
	fmt.Fprintf(out, "%-5s %-14s %s\n", status, name, note)
}

// A kubectl is the program of this name, as it is set up here.
type kubectl struct{ namespace, context string }

func (k kubectl) command(ctx context.Context, args ...string) *exec.Cmd {
	if k.context != "" {
		args = append([]string{"--context", k.context}, args...)
	}
	if k.namespace != "" {
		args = append([]string{"--namespace", k.namespace}, args...)
	}
	return exec.CommandContext(ctx, "kubectl", args...)
}

// get reads an object, or a list of them.
func (k kubectl) get(ctx context.Context, into any, args ...string) error {
	c := k.command(ctx, append([]string{"get", "-o", "json"}, args...)...)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		if said.Len() > 0 {
			err = errors.New(strings.TrimSpace(said.String()))
		}
		return fmt.Errorf("kubectl get %s: %w", strings.Join(args, " "), err)
	}
	return json.Unmarshal(out, into)
}

// A patient is what the doctor looks at in a Pod.
type patient struct {
	Metadata struct {
		Name, Namespace string
		OwnerReferences []struct{ Name string }
	}
	Spec   struct{ InitContainers, Containers []patientContainer }
	Status struct {
		InitContainerStatuses, ContainerStatuses []patientStatus
	}
}

type patientContainer struct {
	Name string
	Args []string
}

type patientStatus struct {
	Name         string
	RestartCount int
	State        struct {
		Running *struct{}
		Waiting *struct{ Reason, Message string }
	}
	LastState struct{ Terminated *patientEnd }
}

type patientEnd struct {
	Reason   string
	ExitCode int
	Message  string
}

// sidecar gives the command that checks the pod's sidecar, in its container: it is told what the sidecar was told.
func (p *patient) sidecar() (command []string, found bool) {
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		if c.Name == injector.Name {
			command = []string{"/sidecar", "check"}
			if len(c.Args) > 0 {
				command = append(command, c.Args[1:]...)
			}
			return command, true
		}
	}
	return nil, false
}

// runs says whether the sidecar can be asked, and how it has fared.
func (p *patient) runs(out io.Writer) bool {
	for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
		if s.Name != injector.Name {
			continue
		}
		status, note := "ok", "runs"
		switch {
		case s.State.Waiting != nil:
			status, note = "FAIL", strings.TrimSpace("waits: "+s.State.Waiting.Reason+" "+s.State.Waiting.Message)
		case s.State.Running == nil:
			status, note = "FAIL", "does not run"
		case s.RestartCount > 0:
			status = "warn"
		}
		if end := s.LastState.Terminated; s.RestartCount > 0 && end != nil {
			note += strings.TrimSpace(fmt.Sprintf("; restarted %d times, the last time by %s (exit code %d) %s", s.RestartCount, end.Reason, end.ExitCode, end.Message))
			if end.Reason == "OOMKilled" {
				note += "; set the annotation " + injector.Prefix + "memory-limit"
			}
		}
		say(out, status, "container", note)
		return status != "FAIL"
	}
	say(out, "FAIL", "container", "not started yet: kubectl describe pod "+p.Metadata.Name)
	return false
}

// reportMissing says why a pod has no sidecar: what the injector's Event about it or its owner says, or that there is none.
func reportMissing(ctx context.Context, out io.Writer, k kubectl, pod *patient) error {
	k.namespace = pod.Metadata.Namespace
	var events struct {
		Items []struct {
			Message        string
			InvolvedObject struct{ Name string }
		}
	}
	if err := k.get(ctx, &events, "events", "--field-selector", "reason=SidecarNotInjected"); err != nil {
		return err
	}
	names := []string{pod.Metadata.Name}
	for _, owner := range pod.Metadata.OwnerReferences {
		names = append(names, owner.Name)
	}
	why := "no Event says why: does its template have the label " + injector.AskKey + "=true? " +
		"A pod that was made before it asked, or while the injector was down, gets one when it is made anew"
	for _, e := range events.Items {
		if slices.Contains(names, e.InvolvedObject.Name) {
			why = e.Message
		}
	}
	say(out, "FAIL", "sidecar", "the pod has none: "+why)
	return errFailed
}
