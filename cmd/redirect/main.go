// Command redirect bends the traffic that comes to a pod from outside: to a port of the sidecar, as long as that accepts
// connections, and past it while it does not.
//
//	redirect [--once] FROM=TO[:always]...
//
// It needs NET_ADMIN and nothing else. What the pod sends to itself is never bent, so there is no loop.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A bend is one port whose traffic goes to another one.
type bend struct {
	from, to uint16
	always   bool // whether or not anybody accepts there
}

// lookEvery is how long a sidecar that went away may still be sent requests.
const lookEvery = 100 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "redirect:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	once := len(args) > 0 && args[0] == "--once"
	if once {
		args = args[1:]
	}
	bends, err := parse(args)
	if err != nil {
		return err
	}
	if once {
		return install(bends)
	}
	return follow(ctx, bends)
}

func parse(args []string) (bends []bend, err error) {
	for _, arg := range args {
		pair, always := strings.CutSuffix(arg, ":always")
		from, to, _ := strings.Cut(pair, "=")
		f, err1 := strconv.ParseUint(from, 10, 16)
		t, err2 := strconv.ParseUint(to, 10, 16)
		if err1 != nil || err2 != nil || f == 0 || t == 0 {
			return nil, fmt.Errorf("%q is not like 8080=15080", arg)
		}
		bends = append(bends, bend{uint16(f), uint16(t), always})
	}
	if len(bends) == 0 {
		return nil, fmt.Errorf("it is called like this: redirect [--once] FROM=TO[:always]")
	}
	return bends, nil
}

// follow keeps the redirect in step with who accepts, until ctx is done. It leaves the redirect as it is then: a pod's
// end is the only one that is meant, and a restart of this program alone should not be noticed.
func follow(ctx context.Context, bends []bend) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := ""
	for {
		var now []bend
		for _, b := range bends {
			if b.always || accepts(b.to) {
				now = append(now, b)
			}
		}
		if state := fmt.Sprint(now); state != last {
			if err := install(now); err != nil {
				return err
			}
			fmt.Println("redirect:", describe(now))
			last = state
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func describe(bends []bend) string {
	var parts []string
	for _, b := range bends {
		if !b.always {
			parts = append(parts, fmt.Sprintf("%d to %d", b.from, b.to))
		}
	}
	if parts == nil {
		return "the sidecar accepts nothing, so it is passed by"
	}
	return strings.Join(parts, ", ")
}

func accepts(port uint16) bool {
	conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))), time.Second)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// install replaces the whole table in one transaction: there is no moment without it, and doing it twice changes nothing.
func install(bends []bend) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("speak to the kernel's packet filter: %w", err)
	}
	table := &nftables.Table{Family: nftables.TableFamilyINet, Name: "openreplay_sidecar"}
	c.AddTable(table) // so that there is one to delete
	c.DelTable(table)
	c.AddTable(table)
	chain := c.AddChain(&nftables.Chain{Name: "inbound", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest})
	for _, b := range bends {
		c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binary.BigEndian.AppendUint16(nil, b.from)},
			&expr.Immediate{Register: 1, Data: binaryutil.BigEndian.PutUint16(b.to)},
			&expr.Redir{RegisterProtoMin: 1},
		}})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("install the redirect: %w: it needs the capability NET_ADMIN", err)
	}
	return nil
}
