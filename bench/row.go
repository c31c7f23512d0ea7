package main

import (
	"fmt"
	"strconv"
)

// The load, the same in every row. The keys are those that preload fills in, so that every GET hits.
const (
	loadConnections = 50
	loadValueBytes  = 100
	loadKeys        = 100_000
)

// row is one line of the comparison.
type row struct {
	command  string  // get or set, as redis-benchmark -t has it
	sync     string  // everysec or always
	pipeline int     // commands a connection sends at once
	hot      bool    // all on one key
	floor    float64 // least ratio to Redis that is good enough; 0: none
}

// rows are in the order in which they run: first those that share a pair of servers, and there the
// GETs, while the keys are as they were filled in.
var rows = []row{
	{command: "get", sync: "everysec", pipeline: 1, floor: 0.85},
	{command: "get", sync: "everysec", pipeline: 16, floor: 1.1},
	{command: "get", sync: "everysec", pipeline: 1, hot: true},
	{command: "get", sync: "everysec", pipeline: 16, hot: true},
	{command: "set", sync: "everysec", pipeline: 1, floor: 0.65},
	{command: "set", sync: "everysec", pipeline: 16, floor: 0.75},
	{command: "set", sync: "everysec", pipeline: 1, hot: true},
	{command: "set", sync: "everysec", pipeline: 16, hot: true},
	{command: "set", sync: "always", pipeline: 1, floor: 1.0},
	{command: "set", sync: "always", pipeline: 16, floor: 0.9},
	{command: "set", sync: "always", pipeline: 1, hot: true},
	{command: "set", sync: "always", pipeline: 16, hot: true},
}

// name is what --only matches.
func (r row) name() string {
	name := fmt.Sprintf("GET P%d", r.pipeline)
	if r.command == "set" {
		name = fmt.Sprintf("SET %s P%d", r.sync, r.pipeline)
	}
	if r.hot {
		name += " hot"
	}
	return name
}

// load is the command line of redis-benchmark, without the port and the number of requests.
func (r row) load() []string {
	args := []string{
		"-t", r.command, "-c", strconv.Itoa(loadConnections), "-d", strconv.Itoa(loadValueBytes),
		"-P", strconv.Itoa(r.pipeline),
	}
	if !r.hot {
		args = append(args, "-r", strconv.Itoa(loadKeys))
	}
	return append(args, "--csv")
}
