package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"cartwheel/cluster/ring"
)

type clusterPlanCommand struct {
	Change       []string `arg:"" help:"One of: leave NODE, remove NODE, replace DEAD, weight NODE W, zone NODE Z. NODE is the id of a node, the beginning of it, or an address."`
	clusterFlags `embed:""`
	Timeout      time.Duration `help:"How long to wait. Default ${default}." default:"15s"`
}

// Run prints what the change would do.
func (c *clusterPlanCommand) Run() error {
	plan, err := c.askPlan(c.Timeout, c.Change, "PLAN")
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(plan)
	}
	if err := printPlan(os.Stdout, plan); err != nil || plan.Unchanged {
		return err
	}
	_, err = fmt.Printf("\n%s\n", c.howToApply(plan))
	return err
}

type clusterApplyCommand struct {
	Change       []string `arg:"" help:"As for plan. A dead node is replaced by starting the new one: cartwheel serve --join HOST:PORT --replace DEAD."`
	Epoch        uint64   `help:"Only if the ring still is of this epoch, as plan showed it." placeholder:"N"`
	Force        bool     `help:"Even if the plan has obstacles."`
	clusterFlags `embed:""`
	Timeout      time.Duration `help:"How long to wait. Default ${default}." default:"15s"`
}

// Run makes the change, and prints what it does.
func (c *clusterApplyCommand) Run() error {
	var options []string
	if c.Epoch > 0 {
		options = append(options, "EPOCH", strconv.FormatUint(c.Epoch, 10))
	}
	if c.Force {
		options = append(options, "FORCE")
	}
	plan, err := c.askPlan(c.Timeout, c.Change, "APPLY", options...)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(plan)
	}
	if err := printPlan(os.Stdout, plan); err != nil || plan.Unchanged {
		return err
	}
	_, err = fmt.Printf("\nThis is agreed and under way; cartwheel cluster status%s shows how far it has come.\n", c.again())
	return err
}

func (c *clusterFlags) askPlan(timeout time.Duration, change []string, what string, options ...string) (*ring.Plan, error) {
	parsed, err := ring.ParseChange(change)
	if err != nil {
		return nil, err
	}
	node, err := c.node(timeout)
	if err != nil {
		return nil, err
	}
	words := append([]string{"RING", what}, parsed.Words()...)
	text, err := node.ask(append(words, options...)...)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", c.Addr, err)
	}
	plan := &ring.Plan{}
	if err := json.Unmarshal([]byte(text), plan); err != nil {
		return nil, fmt.Errorf("node %s: its plan is not understood: %w", c.Addr, err)
	}
	if len(plan.Change) < 2 {
		return nil, errors.New("node " + c.Addr + ": its plan is of no change")
	}
	return plan, nil
}

// again returns the flags that ask the same node again.
func (c *clusterFlags) again() (flags string) {
	flags = " --addr " + c.Addr
	for _, file := range [][2]string{
		{"--password-file", c.PasswordFile}, {"--tls-server-ca", c.TLSServerCA}, {"--tls-cert", c.TLSCert}, {"--tls-key", c.TLSKey},
	} {
		if file[1] != "" {
			flags += " " + file[0] + " " + strconv.Quote(file[1])
		}
	}
	if c.TLS {
		flags += " --tls"
	}
	return flags
}

// howToApply is the command that makes the change as it was planned. While
// partitions move the epoch grows by itself, and is left out.
func (c *clusterFlags) howToApply(p *ring.Plan) string {
	if p.Change[0] == string(ring.Replace) {
		return "To do it, start the new node:\n  cartwheel serve --join HOST:PORT --replace " + p.Change[1] +
			" --data DIR --listen HOST:PORT --peer-listen HOST:PORT"
	}
	words := []string{p.Change[0], p.Change[1]}
	for _, word := range p.Change[2:] {
		if word == "" || strings.ContainsAny(word, " \t'\"\\$`!&|;<>()*?[]{}~#") {
			word = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
		words = append(words, word)
	}
	command := "To do it:\n  cartwheel cluster apply " + strings.Join(words, " ")
	moving := false
	for _, t := range p.Transfers {
		moving = moving || t.UnderWay > 0
	}
	if !moving {
		command += " --epoch " + strconv.FormatUint(p.Epoch, 10)
	}
	if len(p.Obstacles) > 0 {
		command += " --force"
	}
	return command + c.again()
}

func printPlan(out io.Writer, p *ring.Plan) error {
	fmt.Fprintf(out, "%s, at epoch %d\n", strings.Join(p.Change, " "), p.Epoch)
	if p.Unchanged {
		_, err := fmt.Fprintln(out, "The ring is so already.")
		return err
	}
	if len(p.Transfers) == 0 {
		fmt.Fprintln(out, "\nNothing moves.")
	} else if err := printTransfers(out, p.Transfers); err != nil {
		return err
	}
	if err := printShares(out, p.Shares); err != nil {
		return err
	}
	for _, text := range p.Warnings {
		fmt.Fprintf(out, "\nwarning: %s\n", text)
	}
	for _, text := range p.Obstacles {
		fmt.Fprintf(out, "\nonly with --force: %s\n", text)
	}
	return nil
}

func printTransfers(out io.Writer, transfers []ring.PlannedMove) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nFROM\tTO\tPARTITIONS\tKEYS\tSIZE")
	var total ring.PlannedMove
	for _, t := range transfers {
		fmt.Fprintf(w, "%s\t%s\t%d", sourceName(t.From), targetName(t.To), t.Partitions)
		if t.UnderWay > 0 {
			fmt.Fprintf(w, " (%d moving already)", t.UnderWay)
		}
		fmt.Fprintf(w, "\t%d\t%s\n", t.Keys, readableBytes(t.Bytes))
		total.Partitions, total.Keys, total.Bytes = total.Partitions+t.Partitions, total.Keys+t.Keys, total.Bytes+t.Bytes
	}
	fmt.Fprintf(w, "\t\t%d\t%d\t%s\n", total.Partitions, total.Keys, readableBytes(total.Bytes))
	return w.Flush()
}

func printShares(out io.Writer, shares []ring.PlannedPart) error {
	before, after := 0, 0
	for _, s := range shares {
		before, after = before+s.Before, after+s.After
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nNODE\tUP\tSTATE\tZONE\tWEIGHT\tSHARE\tTHEN")
	for _, s := range shares {
		up := "down"
		if s.Up {
			up = "up"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%.1f%%\t%.1f%%\n", s.Node.Short(), up, s.State, dashed(s.Zone), s.Weight,
			percent(s.Before, before), percent(s.After, after))
	}
	return w.Flush()
}

func percent(part, whole int) float64 { return 100 * float64(part) / float64(max(whole, 1)) }
