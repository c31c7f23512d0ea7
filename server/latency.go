package server

import (
	"fmt"
	"slices"
	"time"

	"cartwheel/server/command"
)

var introspectionHandlers = map[string]handler{
	"slowlog|get":       {local: slowlogGet},
	"slowlog|len":       {local: slowlogLen},
	"slowlog|reset":     {local: slowlogReset},
	"slowlog|help":      help(slowlogHelp),
	"latency|histogram": {slow: latencyHistogram},
	"latency|latest":    {local: noEvents},
	"latency|history":   {local: noEvents},
	"latency|reset":     {local: func(c *call) { c.w.Int(0) }},
	"latency|graph":     {local: latencyGraph},
	"latency|doctor":    {local: latencyDoctor},
	"latency|help":      help(latencyHelp),
}

const latencyHelp = `DOCTOR
    Return a human readable latency analysis report.
GRAPH <event>
    Return an ASCII latency graph for the <event> class.
HISTORY <event>
    Return time-latency samples for the <event> class.
LATEST
    Return the latest latency samples for all events.
RESET [<event> ...]
    Reset latency data of one or more <event> classes.
    (default: reset all data for all event classes)
HISTOGRAM [COMMAND ...]
    Return a cumulative distribution of latencies in the format of a histogram for the specified command names.
    If no commands are specified then all histograms are replied.`

// noEvents: events are not monitored, only commands are.
func noEvents(c *call) { c.w.Array(0) }

func latencyGraph(c *call) {
	c.w.Error(fmt.Sprintf("ERR No samples available for event '%.128s'", c.args[2]))
}

func latencyDoctor(c *call) {
	c.w.Verbatim("txt", "Events are not monitored here. LATENCY HISTOGRAM and INFO latencystats tell how long "+
		"each command takes, SLOWLOG GET which ones took long.\n")
}

// latencyHistogram covers the commands that are named and have run, a container
// standing for its subcommands; all that have run where none is named.
func latencyHistogram(c *call) {
	var chosen []*command.Command
	var histograms []*totals
	choose := func(cmd *command.Command) {
		if slices.Contains(chosen, cmd) {
			return
		}
		if t := c.srv.totalsOf(cmd); t.calls > 0 {
			chosen, histograms = append(chosen, cmd), append(histograms, t)
		}
	}
	for _, name := range c.args[2:] {
		cmd := c.srv.findCommand(name)
		if cmd == nil {
			continue
		}
		choose(cmd)
		for _, sub := range cmd.Subcommands {
			choose(sub)
		}
	}
	if len(c.args) == 2 {
		for _, cmd := range c.srv.table.All() {
			choose(cmd)
		}
	}
	c.w.Map(len(chosen))
	for i, cmd := range chosen {
		c.w.BulkString(cmd.FullName())
		c.writeHistogram(histograms[i])
	}
}

// writeHistogram writes, for each power of two, how many calls took less, where
// that is more than for the one before.
func (c *call) writeHistogram(t *totals) {
	const first = 10 // 1.02 µs
	type point struct{ us, calls uint64 }
	var points []point
	below, shown := uint64(0), uint64(0)
	for power := range len(t.histogram) / 4 {
		for quarter := range 4 {
			below += t.histogram[4*power+quarter]
		}
		end := uint64(2) << power // in ns, past the bucket
		if power+1 < first || below == shown {
			continue
		}
		// Redis's buckets end a 128th later, and clients know its numbers.
		points = append(points, point{(end + end/128) / uint64(time.Microsecond), below})
		shown = below
	}
	c.w.Map(2)
	c.w.BulkString("calls")
	c.w.Int(int64(t.calls))
	c.w.BulkString("histogram_usec")
	c.w.Map(len(points))
	for _, p := range points {
		c.w.Int(int64(p.us))
		c.w.Int(int64(p.calls))
	}
}
