package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"
)

type clusterCommand struct {
	Status clusterStatusCommand `cmd:"" help:"Show the members of the cluster, who is up, what each has of the ring, and what is moving."`
	Plan   clusterPlanCommand   `cmd:"" help:"Show what a change of the ring would move, and what speaks against it."`
	Apply  clusterApplyCommand  `cmd:"" help:"Make a change of the ring."`
}

// clusterFlags say which node is asked, and how.
type clusterFlags struct {
	Addr         string `help:"Address of any node. Default ${default}." default:"127.0.0.1:6379" placeholder:"HOST:PORT"`
	PasswordFile string `help:"File whose first line is the password." placeholder:"FILE" type:"path"`
	JSON         bool   `help:"Print JSON." name:"json"`
	tlsFlags
}

func (c *clusterFlags) node(timeout time.Duration) (*asked, error) {
	password, err := (&serveCommand{PasswordFile: c.PasswordFile}).password()
	if err != nil {
		return nil, err
	}
	config, err := c.config(c.Addr)
	if err != nil {
		return nil, err
	}
	return &asked{addr: c.Addr, password: password, tls: config, timeout: timeout}, nil
}

// printJSON prints what a command with --json prints.
func printJSON(value any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

type clusterStatusCommand struct {
	clusterFlags `embed:""`
	Timeout      time.Duration `help:"How long to wait. Default ${default}." default:"3s"`
}

// Run prints the cluster as the node sees it.
func (c *clusterStatusCommand) Run() error {
	node, err := c.node(c.Timeout)
	if err != nil {
		return err
	}
	text, err := node.ask("INFO", "ring", "members")
	if err != nil {
		return fmt.Errorf("node %s: %w", c.Addr, err)
	}
	view, err := parseRingView(text)
	if err != nil {
		return fmt.Errorf("node %s: %w", c.Addr, err)
	}
	view.Progress, err = progressOf(node)
	if c.JSON {
		return printJSON(view)
	}
	if printed := view.print(os.Stdout); printed != nil {
		return printed
	}
	switch {
	case view.Left:
		_, err = fmt.Println("This node has left the ring: it serves no keys, and can be stopped.")
	case err != nil:
		_, err = fmt.Printf("How far the moves have come is not known: %v\n", err)
	default:
		err = printProgress(os.Stdout, view.Progress)
	}
	return err
}

// idLetters is how much of a node's id is shown: enough to tell nodes apart.
const idLetters = 8

func (v *ringView) print(out io.Writer) error {
	fmt.Fprintf(out, "cluster %s, epoch %d, N=%d: %d of %d members are up", v.Cluster, v.Epoch, v.Replicas, v.up(), len(v.Members))
	if v.Moves > 0 {
		fmt.Fprintf(out, ", %d moves of partitions under way", v.Moves)
	}
	fmt.Fprint(out, "\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tUP\tSTATE\tZONE\tWEIGHT\tSHARE\tHINTS\tCLIENTS\tCLUSTER CLIENTS\tPEERS")
	for i := range v.Members {
		m := &v.Members[i]
		name, up := m.ID[:min(len(m.ID), idLetters)], "down"
		if m.Self {
			name += "*"
		}
		if m.Up {
			up = "up"
		}
		hints := fmt.Sprint(m.Hints)
		if m.Hints > 0 {
			hints += " (" + readableBytes(m.HintBytes) + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%.1f%%\t%s\t%s\t%s\t%s\n", name, up, m.State, dashed(m.Zone), m.Weight,
			m.SharePercent, hints, dashed(m.Client), dashed(m.ClusterPort), dashed(m.Peer))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "\n* is the node that was asked.")
	return err
}

func dashed(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func readableBytes(n int64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	amount, i := float64(n)/unit, 0
	for ; amount >= unit && i < 3; i++ {
		amount /= unit
	}
	return fmt.Sprintf("%.1f %cB", amount, "KMGT"[i])
}
