package lql

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"cloud.google.com/go/logging/apiv2/loggingpb"
)

// function reads the arguments of a call, whose name is already taken.
func (p *parser) function(name token) (node, error) {
	p.next()
	args, err := p.arguments()
	if err != nil {
		return nil, err
	}
	n, err := p.call(name, args)
	if err != nil {
		p.blame(err)
	}
	return n, nil
}

func (p *parser) call(name token, args []token) (node, error) {
	switch strings.ToLower(name.raw) {
	case "log_id":
		return p.logID(args)
	case "source":
		return p.source(args)
	case "sample":
		return p.sample(args)
	case "ip_in_net":
		return p.ipInNet(args)
	case "search":
		return p.search(args)
	}
	return nil, fmt.Errorf("Unparseable filter: unknown function '%s'", name.raw)
}

func (p *parser) arguments() (args []token, err error) {
	for !p.take(")") {
		if len(args) > 0 && !p.take(",") {
			return nil, p.unexpected()
		}
		if p.peek().kind != text {
			return nil, p.unexpected()
		}
		args = append(args, p.next())
	}
	return args, nil
}

func wantArguments(name string, args []token, n int) error {
	if len(args) != n {
		return fmt.Errorf("Unparseable filter: function '%s' takes %d argument(s), not %d", name, n, len(args))
	}
	return nil
}

// literal is an argument's text.
func (t token) literal() string {
	if t.quoted() {
		return t.parts[0].text
	}
	return t.raw
}

type matcher func(e *loggingpb.LogEntry) bool

func (m matcher) match(e *loggingpb.LogEntry) bool { return m(e) }

// logID matches the part of the log's name behind "/logs/", written as it is
// meant ("a/b"), not as it is encoded in the name ("a%2Fb").
func (p *parser) logID(args []token) (node, error) {
	if err := wantArguments("log_id", args, 1); err != nil {
		return nil, err
	}
	p.read = append(p.read, entryDescriptor.Fields().ByName("log_name").Number())
	want := Fold(args[0].literal())
	return matcher(func(e *loggingpb.LogEntry) bool {
		_, id, _ := strings.Cut(e.GetLogName(), "/logs/")
		plain, err := url.PathUnescape(id)
		return err == nil && Fold(plain) == want
	}), nil
}

// source matches the resource that the log belongs to, such as "projects/P".
func (p *parser) source(args []token) (node, error) {
	if err := wantArguments("source", args, 1); err != nil {
		return nil, err
	}
	p.read = append(p.read, entryDescriptor.Fields().ByName("log_name").Number())
	want := Fold(args[0].literal())
	return matcher(func(e *loggingpb.LogEntry) bool {
		parent, _, _ := strings.Cut(e.GetLogName(), "/logs/")
		return Fold(parent) == want
	}), nil
}

// sample keeps a fixed share of the entries, the same ones every time, chosen
// by a field's value.
func (p *parser) sample(args []token) (node, error) {
	if err := wantArguments("sample", args, 2); err != nil {
		return nil, err
	}
	where, err := p.path(args[0])
	if err != nil {
		return nil, err
	}
	share, err := strconv.ParseFloat(args[1].literal(), 64)
	if err != nil || share < 0 || share > 1 {
		return nil, fmt.Errorf("Unparseable filter: sample fraction '%s' is not between 0.0 and 1.0", args[1].raw)
	}
	return matcher(func(e *loggingpb.LogEntry) bool {
		return anyOf(where, e, func(d datum) bool { return fraction(d.shown()) < share })
	}), nil
}

// fraction spreads texts evenly over [0, 1).
func fraction(s string) float64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd // the finaliser of MurmurHash3: FNV alone keeps neighbours together
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}

// ipInNet matches an address within a network in CIDR form.
func (p *parser) ipInNet(args []token) (node, error) {
	if err := wantArguments("ip_in_net", args, 2); err != nil {
		return nil, err
	}
	where, err := p.path(args[0])
	if err != nil {
		return nil, err
	}
	network, err := parseNetwork(args[1].literal())
	if err != nil {
		return nil, fmt.Errorf("Unparseable filter: invalid network '%s'", args[1].literal())
	}
	return matcher(func(e *loggingpb.LogEntry) bool {
		return anyOf(where, e, func(d datum) bool {
			ip, err := netip.ParseAddr(d.shown())
			return err == nil && network.Contains(ip.Unmap())
		})
	}), nil
}

// parseNetwork takes a lone address for the network of that one host.
func parseNetwork(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		return netip.ParsePrefix(s)
	}
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return ip.Prefix(ip.BitLen())
}

func anyOf(where path, e *loggingpb.LogEntry, holds func(datum) bool) bool {
	found := false
	where.each(e, func(d datum) bool {
		d.every(func(leaf datum) bool {
			found = leaf.kind != nullDatum && holds(leaf)
			return !found
		})
		return !found
	})
	return found
}
