package faults

import (
	"context"
	"fmt"
	"testing"
	"time"
	"cartwheel/bench/local"
)

func TestZZ(t *testing.T) {
	n := needNetwork(t, 5)
	c, err := local.Start(t.Context(), local.Options{Nodes: 5, Host: n.Host, Wrap: n.Wrap, Args: []string{"--no-protected-mode"}})
	if err != nil { t.Fatal(err) }
	defer c.Close()
	ctx := context.Background()
	a, b := newClient(c.Node(0).Addr), newClient(c.Node(4).Addr)
	for i := range 10 {
		k := fmt.Sprint("k", i)
		t.Log(k, a.Do(ctx, "VSET", k, "", "v1", "STRICT").Val())
	}
	for i := range 4 { n.Cut(ctx, i, 4); n.Cut(ctx, 4, i) }
	for round := range 4 {
		for i := range 10 {
			k := fmt.Sprint("k", i)
			_, err := a.Do(ctx, "SET", k, fmt.Sprint("w", round)).Result()
			if err != nil { t.Log("a", k, err) }
			at := time.Now()
			r, err := b.Do(ctx, "VGET", k, "STRICT").Result()
			s, err2 := b.Do(ctx, "VGET", k).Result()
			t.Log(round, k, "strict:", r, err, "sloppy:", s, err2, time.Since(at))
		}
		time.Sleep(time.Second)
	}
	t.Log(b.Do(ctx, "VEXPLAIN", "k0").Val())
	_ = n.Heal(ctx)
}
