package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cartwheel/bench/check"

	"github.com/redis/go-redis/v9"
)

// marks are keys with values that are found again among the bytes of a disk: random ones, which no compression
// changes. Only some of them are looked for.
type marks struct {
	keys   []string
	values [][]byte
}

const (
	markBytes  = 1024
	markTail   = 32 // of a value: what is looked for
	marksKept  = 50
	markPage   = 500
	goneWithin = 60 * time.Second
	goneEvery  = 500 * time.Millisecond
)

// write writes so many keys at one node.
func (m *marks) write(ctx context.Context, addr string, seed uint64, count int) error {
	random := rand.New(rand.NewPCG(seed, 0x3a4c))
	client := newClient(addr)
	defer client.Close()
	for from := 0; from < count; from += markPage {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := from; i < min(from+markPage, count); i++ {
				key, value := fmt.Sprintf("marks:%x:%d", seed, i), make([]byte, markBytes)
				for b := range value {
					value[b] = byte(random.Uint32())
				}
				if i%(count/marksKept) == 0 {
					m.keys, m.values = append(m.keys, key), append(m.values, value)
				}
				p.Set(ctx, key, value, 0)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("writing marks: %w", err)
		}
	}
	return nil
}

// tables is where, in a node's directory, what it stores is for good. The commit log beside it is bounded, and
// has old bytes until it comes round to write over them.
const tables = "db"

// on returns those of the marks that are in the tables on a disk.
func (m *marks) on(dir string) (found []string, err error) {
	there := make([]bool, len(m.keys))
	err = filepath.WalkDir(filepath.Join(dir, tables), func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) || err == nil && entry.IsDir() {
			return nil // it has been removed meanwhile
		}
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		for i, value := range m.values {
			there[i] = there[i] || bytes.Contains(text, value[markBytes-markTail:])
		}
		return nil
	})
	for i, is := range there {
		if is {
			found = append(found, m.keys[i])
		}
	}
	return found, err
}

// gone waits until only those marks are on a disk that may be there.
func (m *marks) gone(ctx context.Context, dir string, may func(key string) bool) (err error) {
	ctx, cancel := context.WithTimeout(ctx, goneWithin)
	defer cancel()
	for {
		found, err := m.on(dir)
		if err != nil {
			return err
		}
		found = slices.DeleteFunc(found, may)
		if len(found) == 0 {
			return nil
		}
		if !sleep(ctx, goneEvery) {
			return fmt.Errorf("%s still has %d marks of %d that have moved away, such as %s", dir, len(found), len(m.keys), found[0])
		}
	}
}

// foreignOnDisk notes where members have on their disks what is not theirs.
func (c *churn) foreignOnDisk(ctx context.Context) error {
	owned := map[string]map[string]bool{} // by key, the ids of its owners
	asked := c.any(-1)
	client := newClient(c.cluster.Node(asked).Addr)
	defer client.Close()
	for _, key := range c.marks.keys {
		o := explainKey(ctx, client, asked, key, c.began)
		if o.Outcome != check.Acknowledged {
			return fmt.Errorf("explaining %s: %s", key, o.Error)
		}
		owned[key] = map[string]bool{}
		for _, at := range o.Copies {
			owned[key][at.Owner] = true
		}
	}
	for _, i := range c.members() {
		node := c.cluster.Node(i)
		view, err := node.View(ctx)
		if err != nil {
			return err
		}
		id := ""
		for _, m := range view.Members {
			if m.Self {
				id = m.ID
			}
		}
		fmt.Fprintf(c.Out, "%6.1fs   what node %d has on its disk\n", time.Since(c.began).Seconds(), i)
		if err := c.marks.gone(ctx, node.Dir, func(key string) bool { return owned[key][id] }); err != nil {
			c.troubles = append(c.troubles, err.Error())
		}
	}
	return nil
}

// leftOnDisk says what those have on their disks who have left.
func (c *churn) leftOnDisk(ctx context.Context) (err error) {
	for i, node := range c.cluster.Nodes() {
		if node.Lost() && node.Running() {
			err = errors.Join(err, c.marks.gone(ctx, node.Dir, func(string) bool { return false }), node.Terminate(ctx))
			fmt.Fprintf(c.Out, "%6.1fs nothing is left on the disk of node %d\n", time.Since(c.began).Seconds(), i)
		}
	}
	return err
}
