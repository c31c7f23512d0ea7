package server

import (
	"fmt"
	"strings"
)

// An infoSection is one part of INFO.
type infoSection struct {
	name      string
	title     string
	byDefault bool
	write     func(s *Server, t *infoText)
}

// infoSections are in the order in which they are shown.
var infoSections = []infoSection{
	{"server", "Server", true, infoServer},
	{"clients", "Clients", true, infoClients},
	{"memory", "Memory", true, infoMemory},
	{"persistence", "Persistence", true, infoPersistence},
	{"stats", "Stats", true, infoStats},
	{"replication", "Replication", true, infoReplication},
	{"cpu", "CPU", true, infoCPU},
	{"modules", "Modules", true, func(*Server, *infoText) {}},
	{"commandstats", "Commandstats", false, infoCommandStats},
	{"errorstats", "Errorstats", true, infoErrorStats},
	{"latencystats", "Latencystats", false, infoLatencyStats},
	{"cluster", "Cluster", true, infoCluster},
	{"ring", "Ring", true, infoRing},
	{"members", "Members", true, infoMembers},
	{"keyspace", "Keyspace", true, infoKeyspace},
	{"cartwheel", "Cartwheel", true, infoCartwheel},
}

// infoText is what INFO replies, as it grows.
type infoText struct {
	b       strings.Builder
	cluster bool // it was asked for at the cluster port
}

func (t *infoText) section(title string) {
	if t.b.Len() > 0 {
		t.b.WriteString("\r\n")
	}
	t.b.WriteString("# " + title + "\r\n")
}

func (t *infoText) field(name string, value any) { t.line("%s:%v", name, value) }

// fields takes names and values by turns.
func (t *infoText) fields(pairs ...any) {
	for ; len(pairs) > 0; pairs = pairs[2:] {
		t.field(pairs[0].(string), pairs[1])
	}
}

func (t *infoText) line(format string, args ...any) {
	fmt.Fprintf(&t.b, format, args...)
	t.b.WriteString("\r\n")
}

// info runs beside the loop: the store's figures take locks.
func info(c *call) {
	wanted := chooseSections(c.args[1:])
	t := infoText{cluster: c.s.atClusterPort()}
	for i := range infoSections {
		if wanted[i] {
			t.section(infoSections[i].title)
			infoSections[i].write(c.srv, &t)
		}
	}
	c.w.Verbatim("txt", t.b.String())
}

// chooseSections tells which sections are asked for. Names that are not known
// mean none.
func chooseSections(names [][]byte) (wanted []bool) {
	wanted = make([]bool, len(infoSections))
	byDefault := len(names) == 0
	all := false
	for _, name := range names {
		byDefault = byDefault || is(name, "default")
		all = all || is(name, "all") || is(name, "everything")
		for i := range infoSections {
			wanted[i] = wanted[i] || is(name, infoSections[i].name)
		}
	}
	for i := range infoSections {
		wanted[i] = wanted[i] || all || byDefault && infoSections[i].byDefault
	}
	return wanted
}
