package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// options of serve and check.
type options struct {
	listen, health  string
	keys            string
	endpoint        string
	plaintext       bool
	settle          time.Duration
	quota           int
	tlsCert, tlsKey string
}

// defaultQuota is Google's for entries.list, in calls a minute a project.
const defaultQuota = 60

func parse(name string, args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bridge "+name, flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.listen, "listen", ":9200", "`ADDR` where OpenReplay comes in")
	flags.StringVar(&o.keys, "keys", "", "`FILE` with a line a key, ID SECRET PROJECT LOG[,LOG...]; read again when it changes")
	flags.StringVar(&o.endpoint, "endpoint", "", "`HOST:PORT` of Cloud Logging; none: Google's")
	flags.BoolVar(&o.plaintext, "plaintext", false, "no TLS and no credentials towards --endpoint: for the stand-in")
	flags.StringVar(&o.health, "health", ":9294", "`ADDR` of /healthz, /readyz and /metrics")
	flags.DurationVar(&o.settle, "settle", time.Minute, "how old a session's last entry must be before its entries are shown; 0: show at once")
	flags.IntVar(&o.quota, "quota", defaultQuota, "`CALLS` a minute to Cloud Logging for one project; 0: no bound. The stand-in has none unless this is given")
	flags.StringVar(&o.tlsCert, "tls-cert", "", "`FILE` with the certificate: speak TLS to OpenReplay; read again when it changes")
	flags.StringVar(&o.tlsKey, "tls-key", "", "`FILE` with its key")
	if err := flags.Parse(args); err != nil {
		return o, usageError{err}
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.plaintext && !given["quota"] {
		o.quota = 0
	}
	return o, o.validate(flags.Args())
}

// validate lists every problem.
func (o *options) validate(rest []string) error {
	var wrong []error
	complain := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	complain(len(rest) > 0, "%q is not an option", rest)
	complain(o.keys == "", "--keys is missing: a file with a line a key, made by: bridge key ID PROJECT LOG")
	complain((o.tlsCert == "") != (o.tlsKey == ""), "--tls-cert and --tls-key need each other")
	complain(o.plaintext && o.endpoint == "", "--plaintext needs --endpoint: Google does not take it")
	complain(o.settle < 0, "--settle is negative")
	complain(o.quota < 0, "--quota is negative")
	if err := errors.Join(wrong...); err != nil {
		return usageError{err}
	}
	return nil
}
