package table

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/openreplay/log-sidecar/enrich"
	"github.com/openreplay/log-sidecar/session"
)

// What exchanges are found by. The same bytes of two kinds are two keys.
const (
	keyID = iota
	keySession
	keyAppSession
	keyUpstream
	keyKinds
)

// maxKeys is what one exchange can have.
const maxKeys = 1 + maxIDs + 3

// nodesPerSlot gives an exchange of two slots its ID, its session, the app's, its connection and two more IDs. Where that
// is not enough, exchanges are evicted for their nodes.
const nodesPerSlot = 3

// perSlot is the index's share of a slot, in bytes: its place, its nodes and at most two buckets.
const perSlot = placeSize + nodesPerSlot*nodeSize + 8

// A node says that an exchange has a key. Nodes of one hash are linked, the newest first, both ways: thousands may share
// a connection or a session, and any of them may leave.
type node struct {
	hash       uint32
	next, prev uint32 // in the bucket
	sibling    uint32 // the next node of the same exchange
	owner      uint32 // the exchange's first slot
}

const nodeSize = 20

// An index finds exchanges by the hashes of their keys. 0 is no node.
type index struct {
	buckets    []uint32
	nodes      []node
	freeNode   uint32
	freeNodes  int
	grownNodes uint32
	cursors    []*cursor // of the searches under way
}

// A cursor is the next node that a search for one hash will look at. It is moved on when that node goes.
type cursor struct{ hash, node uint32 }

func (x *index) start(c *cursor) {
	c.node = x.search(*x.bucket(c.hash), c.hash)
	x.cursors = append(x.cursors, c)
}

func (x *index) finish(c *cursor) {
	x.cursors = slices.DeleteFunc(x.cursors, func(other *cursor) bool { return other == c })
}

func newIndex(slots int) (x index, err error) {
	if x.nodes, err = array[node](slots * nodesPerSlot); err != nil {
		return x, err
	}
	x.buckets, err = array[uint32](1 << bits.Len(uint(slots-1)))
	x.grownNodes = 1
	return x, err
}

func (x *index) release() {
	release(x.nodes)
	release(x.buckets)
}

func (x *index) bucket(hash uint32) *uint32 { return &x.buckets[hash&uint32(len(x.buckets)-1)] }

// growNodes makes one more node free.
func (x *index) growNodes() bool {
	if int(x.grownNodes) == len(x.nodes) {
		return false
	}
	x.putNode(x.grownNodes)
	x.grownNodes++
	return true
}

func (x *index) putNode(n uint32) {
	x.nodes[n] = node{next: x.freeNode}
	x.freeNode = n
	x.freeNodes++
}

// add links a key of owner, whose other keys begin with the node siblings, and gives the new node.
func (x *index) add(hash, owner, siblings uint32) uint32 {
	n := x.freeNode
	x.freeNode = x.nodes[n].next
	x.freeNodes--
	first := x.bucket(hash)
	x.nodes[n] = node{hash: hash, next: *first, sibling: siblings, owner: owner}
	if *first != 0 {
		x.nodes[*first].prev = n
	}
	*first = n
	return n
}

// removeAll unlinks the node first and its siblings.
func (x *index) removeAll(first uint32) {
	for n := first; n != 0; {
		gone := x.nodes[n]
		for _, c := range x.cursors {
			if c.node == n {
				c.node = x.search(gone.next, c.hash)
			}
		}
		if gone.prev == 0 {
			*x.bucket(gone.hash) = gone.next
		} else {
			x.nodes[gone.prev].next = gone.next
		}
		if gone.next != 0 {
			x.nodes[gone.next].prev = gone.prev
		}
		x.putNode(n)
		n = gone.sibling
	}
}

// search gives the first node of that hash from node n on.
func (x *index) search(n, hash uint32) uint32 {
	for n != 0 && x.nodes[n].hash != hash {
		n = x.nodes[n].next
	}
	return n
}

// has says whether hash is among the nodes that begin with first.
func (x *index) has(first, hash uint32) bool {
	for n := first; n != 0; n = x.nodes[n].sibling {
		if x.nodes[n].hash == hash {
			return true
		}
	}
	return false
}

// keys appends the hashes of all that x is found by, each once: ids of its other IDs are held.
func (t *Table) keys(dst []uint32, x *enrich.Exchange, ids int) []uint32 {
	dst = t.appendID(dst, x.ID)
	for _, id := range x.IDs[:ids] {
		dst = t.appendID(dst, id)
	}
	if x.Session != "" && len(x.Session) <= session.MaxToken {
		dst = append(dst, t.sessionKey(x.Session))
	}
	if x.AppSession != 0 {
		dst = append(dst, t.appSessionKey(x.AppSession))
	}
	if x.Upstream.IsValid() {
		dst = append(dst, t.upstreamKey(x.Upstream))
	}
	return dst
}

func (t *Table) appendID(dst []uint32, id string) []uint32 {
	var room [maxID]byte
	if id == "" || len(id) > maxID {
		return dst
	}
	key := t.idKey(fold(room[:0], id))
	if slices.Contains(dst, key) {
		return dst
	}
	return append(dst, key)
}

func (t *Table) idKey(folded []byte) uint32 {
	return uint32(maphash.Bytes(t.seeds[keyID], folded))
}

func (t *Table) sessionKey(token string) uint32 {
	return uint32(maphash.String(t.seeds[keySession], token))
}

func (t *Table) appSessionKey(hash uint64) uint32 {
	var b [8]byte
	le.PutUint64(b[:], hash)
	return uint32(maphash.Bytes(t.seeds[keyAppSession], b[:]))
}

func (t *Table) upstreamKey(a netip.AddrPort) uint32 {
	var b [18]byte
	addr := a.Addr().As16()
	copy(b[:], addr[:])
	le.PutUint16(b[16:], a.Port())
	return uint32(maphash.Bytes(t.seeds[keyUpstream], b[:]))
}

// fold appends id in the form in which IDs are compared: loggers print hexadecimal IDs in either case, and UUIDs with or
// without hyphens. Two IDs of enough chance to identify anything do not differ in case alone.
func fold(dst []byte, id string) []byte {
	uuid := len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-'
	for i := range len(id) {
		c := id[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if !uuid || c != '-' {
			dst = append(dst, c)
		}
	}
	return dst
}
