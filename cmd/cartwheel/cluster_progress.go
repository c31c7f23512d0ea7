package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"cartwheel/cluster/ring"
)

func progressOf(node *asked) (*ring.Progress, error) {
	text, err := node.ask("RING", "STATUS")
	if err != nil {
		return nil, err
	}
	t := &ring.Progress{}
	return t, json.Unmarshal([]byte(text), t)
}

// printProgress shows the moves under way; nothing, where there are none.
func printProgress(out io.Writer, t *ring.Progress) error {
	if t.Left == 0 && len(t.Leaving) == 0 {
		return nil
	}
	fmt.Fprintf(out, "\nmoving: %d partitions left, %d done; %s left, %s moved", t.Left, t.Done,
		readableBytes(t.LeftSize.Bytes), readableBytes(t.Bytes))
	if t.Rate > 0 {
		fmt.Fprintf(out, " at %s/s", readableBytes(t.Rate))
	}
	if t.LeftMS > 0 {
		fmt.Fprintf(out, ", about %v to go", max(time.Second, (time.Duration(t.LeftMS)*time.Millisecond).Round(time.Second)))
	}
	fmt.Fprintln(out)
	if len(t.Transfers) > 0 {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "FROM\tTO\tPARTITIONS\tKEYS\tSIZE\tWAITS FOR")
		for _, one := range t.Transfers {
			fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\n", sourceName(one.From), targetName(one.To), one.Partitions, one.Keys, readableBytes(one.Bytes), one.Waits.Short())
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	for _, one := range t.Leaving {
		fmt.Fprintf(out, "%s is leaving: it owns %d partitions, keeps %d that the others must have first, and holds %d hints\n",
			one.Node.Short(), one.Owned, one.Partitions, one.Hints)
	}
	for _, id := range t.Silent {
		fmt.Fprintf(out, "%s does not answer: what it would say is missing here\n", id.Short())
	}
	return nil
}

// sourceName and targetName are the ends of a move, of which one may be nobody.
func sourceName(id ring.NodeID) string {
	if id == (ring.NodeID{}) {
		return "(other owners)"
	}
	return id.Short()
}

func targetName(id ring.NodeID) string {
	if id == (ring.NodeID{}) {
		return "(nobody)"
	}
	return id.Short()
}
