package ring

import (
	"bytes"
	"compress/flate"
	"fmt"
	"slices"
	"testing"
	"time"
)

// big returns the document of a cluster in five zones whose addresses are names, as
// Kubernetes has them.
func big(t *testing.T, nodes, partitions int) *Document {
	t.Helper()
	d := &Document{Cluster: ClusterID{1}, Epoch: 1, Partitions: partitions, Replicas: 3}
	for i := range nodes {
		d.Members = append(d.Members, bigMember(i))
	}
	slices.SortFunc(d.Members, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
	d.Owners = Place(d.Members, partitions, d.Replicas, nil)
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	return d
}

func bigMember(i int) Member {
	m := testMember(i, 1+i%5, 1)
	host := fmt.Sprintf("cartwheel-%d.cartwheel.default.svc.cluster.local", i)
	m.Peer, m.Client, m.Cluster = host+":7201", host+":7001", host+":7101"
	return m
}

// The figures of ARCHITECTURE.md, "Scale":
//
//	go test ./cluster/ring -run Scale -v
func TestScaleOfTheRing(t *testing.T) {
	for _, size := range []struct{ nodes, partitions int }{
		{10, 1024}, {100, 1024}, {300, 1024}, {1000, 1024}, {300, 4096}, {1000, 4096}, {1000, 16384},
	} {
		t.Run(fmt.Sprintf("%d nodes %d partitions", size.nodes, size.partitions), func(t *testing.T) {
			d := big(t, size.nodes, size.partitions)
			first := timed(func() { Place(d.Members, d.Partitions, d.Replicas, nil) })
			form := d.Append(nil)
			decoding := timed(func() { mustDecode(t, form) })
			lists := timed(func() {
				r := d.Ring()
				for p := range Partition(d.Partitions) {
					r.Preference(p)
				}
			})
			t.Logf("first placement %v; document %d bytes, deflated %d, decoded in %v; ring and preference lists %v",
				first, len(form), deflated(form), decoding, lists)
			checkScale(t, d, form)

			joiner, moved := bigMember(size.nodes), d.Members[3]
			moved.Zone = d.Members[slices.IndexFunc(d.Members, func(m Member) bool { return m.Zone != moved.Zone })].Zone
			for _, change := range []struct {
				name string
				make func() (*Document, error)
			}{
				{"join", func() (*Document, error) { return d.WithMember(joiner) }},
				{"leave", func() (*Document, error) { return d.WithoutMember(moved.ID) }},
				{"zone", func() (*Document, error) { return d.WithChanged(moved) }},
			} {
				var after *Document
				took := timed(func() {
					var err error
					if after, err = change.make(); err != nil {
						t.Fatal(err)
					}
				})
				t.Logf("%-5s %v, %d moves, document %d bytes", change.name, took, len(after.Moves), len(after.Append(nil)))
				// A share of the partitions moves, and one in a hundred more.
				share := d.Replicas*d.Partitions/size.nodes + 1
				if most := share + share/100 + 1; len(after.Moves) > most && change.name != "zone" {
					t.Errorf("a %s moves %d partitions, more than %d", change.name, len(after.Moves), most)
				}
			}
		})
	}
}

// checkScale holds a large ring to what a small one is held to, and its document to
// the sizes that other limits are made for.
func checkScale(t *testing.T, d *Document, form []byte) {
	t.Helper()
	least, most, leastFirst, mostFirst := d.Partitions, 0, d.Partitions, 0
	for _, s := range d.Shares() {
		least, most = min(least, s.Total), max(most, s.Total)
		leastFirst, mostFirst = min(leastFirst, s.Primary), max(mostFirst, s.Primary)
	}
	share := float64(d.Replicas*d.Partitions) / float64(len(d.Members))
	t.Logf("%.2f partitions a node: %d to %d; first of %d to %d; the fullest has %.2f of its share, and is first of %.2f",
		share, least, most, leastFirst, mostFirst, float64(most)/share, float64(mostFirst)*float64(d.Replicas)/share)
	if most-least > 1 || mostFirst-leastFirst > 1 {
		t.Errorf("nodes own %d to %d partitions, and are the first of %d to %d", least, most, leastFirst, mostFirst)
	}
	const memberBytes, ownerBytes = 220, 2
	if bound := len(d.Members)*memberBytes + d.Partitions*(1+d.Replicas*ownerBytes) + 100; len(form) > bound {
		t.Errorf("the document has %d bytes, more than %d", len(form), bound)
	}
}

func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began).Round(10 * time.Microsecond)
}

func mustDecode(t *testing.T, form []byte) {
	t.Helper()
	if _, err := Decode(form); err != nil {
		t.Fatal(err)
	}
}

func deflated(form []byte) int {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.DefaultCompression) // its level is one that there is
	_, _ = w.Write(form)                                  // to memory
	_ = w.Close()
	return b.Len()
}
