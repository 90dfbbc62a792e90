package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"go.yaml.in/yaml/v3"

	"github.com/openreplay/log-sidecar/injector"
	"github.com/openreplay/log-sidecar/injector/manifest"
)

// inject is for GitOps, and for reading what would happen.
func inject(_ context.Context, p process, args []string) error {
	flags, file := manualFlags(p, "inject")
	config := flags.String("config", "", "`FILE` with the defaults, as the chart gives them to the webhook")
	image := flags.String("image", "", "the sidecar's `IMAGE`")
	classic := flags.Bool("classic", false, "an ordinary container, for clusters before 1.29")
	in, err := readManifest(p, flags, file, args)
	if err != nil {
		return err
	}
	defaults, err := loadDefaults(*config)
	if err != nil {
		return err
	}
	if *image != "" {
		defaults.Image = *image
	}
	defaults.Classic = defaults.Classic || *classic
	out, report, err := manifest.Inject(in, defaults)
	return answer(p, out, report, err, "nothing was injected")
}

func uninject(_ context.Context, p process, args []string) error {
	flags, file := manualFlags(p, "uninject")
	in, err := readManifest(p, flags, file, args)
	if err != nil {
		return err
	}
	out, report, err := manifest.Uninject(in)
	return answer(p, out, report, err, "no sidecar was found")
}

func manualFlags(p process, name string) (*flag.FlagSet, *string) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	return flags, flags.String("f", "", "`FILE` with manifests in YAML or JSON; - is standard input")
}

func readManifest(p process, flags *flag.FlagSet, file *string, args []string) ([]byte, error) {
	if err := flags.Parse(args); err != nil {
		return nil, usageError{err}
	}
	switch {
	case flags.NArg() > 0:
		return nil, usageError{fmt.Errorf("%q is not an option; the file is given with -f", flags.Arg(0))}
	case *file == "":
		return nil, usageError{fmt.Errorf("-f is missing: a file, or - for standard input")}
	case *file == "-":
		return io.ReadAll(p.stdin)
	}
	return os.ReadFile(*file)
}

// answer writes the manifests out, changed or not, so that a pipe goes on, and the report beside them. Where nothing was
// changed it fails: whoever calls it in a script expected something.
func answer(p process, out []byte, report []manifest.Line, err error, nothing string) error {
	if err != nil {
		return err
	}
	done := 0
	for _, line := range report {
		mark := "-"
		if line.Done {
			mark = "+"
			done++
		}
		fmt.Fprintf(p.stderr, "%s %s: %s\n", mark, line.Object, line.Text)
		for _, w := range line.Warnings {
			fmt.Fprintf(p.stderr, "  warning: %s\n", w)
		}
	}
	if _, err := p.stdout.Write(out); err != nil {
		return err
	}
	if done == 0 {
		fmt.Fprintf(p.stderr, "%s: %s\n", p.name, nothing)
		return errFailed
	}
	return nil
}

// loadDefaults reads the operator's defaults over the built-in ones.
func loadDefaults(path string) (injector.Defaults, error) {
	d := injector.Builtin()
	d.Version = build
	if path == "" {
		return d, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return d, fmt.Errorf("read --config: %w", err)
	}
	var doc any
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return d, fmt.Errorf("read --config %s: %w", path, err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return d, fmt.Errorf("read --config %s: %w", path, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return d, fmt.Errorf("read --config %s: %w", path, err)
	}
	if err := injector.CheckDefaults(d); err != nil {
		return d, fmt.Errorf("--config %s: %w", path, err)
	}
	return d, nil
}

func settings(_ context.Context, p process, _ []string) error {
	_, err := io.WriteString(p.stdout, injector.Reference())
	return err
}
