package member

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cartwheel/cluster/ring"
)

var agreementMembers = flag.Int("agreement-members", 200, "how many members agree in the tests of many")

// scaleDelayMax is of each message: up to 20 ms there and 20 ms back.
const scaleDelayMax = 20 * time.Millisecond

// A crowd is a cluster of some hundreds of members.
type crowd struct {
	t       *testing.T
	net     *memNet
	seed    uint64
	members []ring.NodeID
	nodes   []*Agreement // those that answer
}

// newCrowd starts members of which some are dead: they take what is sent, and do not
// answer.
func newCrowd(t *testing.T, members, dead int) *crowd {
	t.Helper()
	c := &crowd{t: t, seed: rand.Uint64()}
	t.Logf("seed %d", c.seed)
	c.net = newMemNet(c.seed)
	c.net.delayMax = scaleDelayMax
	var list []ring.Member
	for i := range members {
		id := nodeID(i + 1)
		at := fmt.Sprintf("node-%d.cartwheel.example", i+1)
		list = append(list, ring.Member{
			ID: id, Peer: at + ":7201", Client: at + ":7001", Cluster: at + ":7101",
			Zone: fmt.Sprint("zone-", i%5), Weight: 1, State: ring.Active,
		})
		c.members = append(c.members, id)
	}
	d := &ring.Document{Cluster: ring.ClusterID{1}, Epoch: 1, Partitions: 1024, Replicas: 3, Members: list}
	d.Owners = ring.Place(list, d.Partitions, d.Replicas, nil)
	form := d.Append(nil)
	for _, at := range c.net.rng.Perm(members)[:dead] {
		c.net.silent[c.members[at]] = true
	}
	for _, id := range c.members {
		if c.net.silent[id] {
			continue
		}
		a := c.net.start(t, id)
		if _, err := a.Install(form); err != nil {
			t.Fatal(err)
		}
		c.nodes = append(c.nodes, a)
	}
	return c
}

// moving is the change of a member's address, unless that has been made.
func moving(id ring.NodeID) Change {
	return func(d *ring.Document) (*ring.Document, error) {
		m, _ := d.Member(id)
		m.Peer = "elsewhere:7201"
		return d.WithChanged(m)
	}
}

// propose has so many live nodes each propose a change, all at the same moment, and
// returns when all have got theirs.
func (c *crowd) propose(proposers int) (took time.Duration) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	var all sync.WaitGroup
	for i := range proposers {
		a := c.nodes[i*len(c.nodes)/proposers]
		all.Go(func() {
			if _, err := a.Propose(ctx, moving(a.opts.Self)); err != nil {
				c.t.Errorf("seed %d: proposer %d of %d: %v", c.seed, i, proposers, err)
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// spread waits until all that answer have the newest document.
func (c *crowd) spread() (took time.Duration) {
	c.t.Helper()
	began := time.Now()
	for {
		epochs := make([]uint64, len(c.nodes))
		for i, a := range c.nodes {
			epochs[i] = a.Current().Epoch
		}
		if slices.Min(epochs) == slices.Max(epochs) {
			return time.Since(began)
		}
		if time.Since(began) > 10*time.Minute {
			c.t.Fatalf("seed %d: ten minutes after the last decree some have epoch %d, others %d", c.seed, slices.Min(epochs), slices.Max(epochs))
		}
		time.Sleep(10 * time.Millisecond) // of the bubble
	}
}

// agree has proposals agreed on, and returns what that took in requests and in bytes
// of them and of their replies, by decree.
func (c *crowd) agree(proposers int) (requests, bytes int) {
	c.t.Helper()
	took := c.propose(proposers)
	spread := c.spread()
	decrees := int(c.nodes[0].Current().Epoch) - 1
	if decrees != proposers {
		c.t.Errorf("seed %d: %d decrees for %d proposals", c.seed, decrees, proposers)
	}
	c.net.mu.Lock()
	requests, bytes = c.net.requests/decrees, c.net.bytes/decrees
	c.net.mu.Unlock()
	c.t.Logf("%d members, %d dead, %d proposers: agreed in %v, all have it %v later; a decree: %d requests, %d bytes",
		len(c.members), len(c.members)-len(c.nodes), proposers, took.Round(time.Millisecond), spread, requests, bytes)
	if took > scaleAgreeMax || spread > scaleAgreeMax {
		c.t.Errorf("seed %d: longer than %v", c.seed, scaleAgreeMax)
	}
	return requests, bytes
}

// scaleAgreeMax is of virtual time; it takes a tenth of that.
const scaleAgreeMax = 20 * time.Second

// The figures of ARCHITECTURE.md, "Scale":
//
//	go test ./cluster/member -run 'MembersAgree|RivalsAgree' -v -args -agreement-members 1000
func TestHundredsOfMembersAgreeThoughManyAreDead(t *testing.T) {
	for _, percent := range []int{0, 30, 49} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(t, *agreementMembers, *agreementMembers*percent/100)
			defer c.net.close()
			// A promise, a vote and a telling each: no member is asked twice.
			if requests, _ := c.agree(1); requests > 3*len(c.members) {
				t.Errorf("seed %d: a decree takes %d requests", c.seed, requests)
			}
		})
	}
}

func TestManyRivalsAgreeOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, *agreementMembers, *agreementMembers*30/100)
		defer c.net.close()
		if requests, _ := c.agree(6); requests > 30*len(c.members) {
			t.Errorf("seed %d: a decree takes %d requests", c.seed, requests)
		}
	})
}

// Nobody is sent a ring document to be asked for a promise, unless an older one is
// known there.
func TestThePrepareOfADecreeIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 50, 0)
		defer c.net.close()
		longest := map[kind]int{}
		c.net.intercept = func(to ring.NodeID, m message) bool {
			longest[m.kind] = max(longest[m.kind], len(m.append(nil)))
			return to != c.members[7] || m.kind != committed && m.kind != accept
		}
		c.propose(1)
		time.Sleep(time.Second) // of the bubble: all are told
		late := c.nodes[7]
		if late.Current().Epoch != 1 {
			t.Fatal("the one that is to be late is not")
		}
		c.net.mu.Lock()
		if longest[prepare] > 2*messageHeaderBytes || longest[accept] < 1000 {
			t.Errorf("a prepare has up to %d bytes, an accept %d", longest[prepare], longest[accept])
		}
		c.net.intercept = func(to ring.NodeID, _ message) bool { // 26 of 50 are left, that one among them
			return to[1] <= 26
		}
		c.net.mu.Unlock()
		a := c.nodes[3]
		if _, err := a.Propose(t.Context(), moving(a.opts.Self)); err != nil {
			t.Fatal(err)
		}
		if late.Current().Epoch < 2 {
			t.Errorf("who is behind was needed for a majority, and has epoch %d", late.Current().Epoch)
		}
	})
}
