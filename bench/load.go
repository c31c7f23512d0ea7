package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"cartwheel/bench/proc"
)

const (
	loadProgram = "redis-benchmark"

	// hotKey is the key of redis-benchmark without -r: the placeholder itself.
	hotKey = "key:__rand_int__"

	requestsMax = math.MaxInt32 // redis-benchmark counts in a C int
)

// throughput is what one run of redis-benchmark found.
type throughput struct {
	PerSecond float64 `json:"per_second"`
	P50MS     float64 `json:"p50_ms"` // latency of a command as its connection saw it
	P99MS     float64 `json:"p99_ms"`
	P999MS    float64 `json:"p999_ms,omitempty"` // of a cluster's rows, where it is that of a pipeline
}

// runLoad puts a row's load on the server at port, and blocks until that many requests are answered.
// An error reply to any of them is an error.
func runLoad(ctx context.Context, port int, r row, requests int) (throughput, error) {
	args := append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(port), "-n", strconv.Itoa(requests)}, r.load()...)
	said, err := proc.Run(ctx, loadProgram, args...)
	if err != nil {
		return throughput{}, fmt.Errorf("%s: %w", r.name(), err)
	}
	found, err := parseLoad(said)
	if err != nil {
		return throughput{}, fmt.Errorf("%s: %w", r.name(), err)
	}
	return found, nil
}

// parseLoad reads what redis-benchmark --csv says of its one test. It needs the line of names that
// Redis 6.2 and newer print; the order of the columns does not matter.
func parseLoad(said []byte) (throughput, error) {
	start := bytes.Index(said, []byte(`"test",`))
	if start < 0 {
		return throughput{}, fmt.Errorf("no line of names in what %s said (is it older than 6.2?): %q", loadProgram, said)
	}
	table, err := csv.NewReader(bytes.NewReader(said[start:])).ReadAll()
	if err != nil {
		return throughput{}, fmt.Errorf("reading what %s said: %w", loadProgram, err)
	}
	if len(table) != 2 {
		return throughput{}, fmt.Errorf("%s reported %d tests, not one: %q", loadProgram, len(table)-1, said)
	}
	column := func(name string) (float64, error) {
		for i, title := range table[0] {
			if title == name {
				return positive(table[1][i])
			}
		}
		return 0, errors.New("no such column")
	}
	var found throughput
	for name, value := range map[string]*float64{
		"rps": &found.PerSecond, "p50_latency_ms": &found.P50MS, "p99_latency_ms": &found.P99MS,
	} {
		if *value, err = column(name); err != nil {
			return throughput{}, fmt.Errorf("%s of %s: %w", name, loadProgram, err)
		}
	}
	return found, nil
}

// positive refuses what a ratio cannot be made of; redis-benchmark says inf and nan after too short a run.
func positive(text string) (float64, error) {
	value, err := strconv.ParseFloat(text, 64)
	if err == nil && (math.IsNaN(value) || math.IsInf(value, 0) || value <= 0) {
		err = fmt.Errorf("not a positive number: %s", text)
	}
	return value, err
}

// requestsFor is how many requests last that long at that rate, in whole rounds of all connections.
func requestsFor(perSecond float64, d time.Duration, pipeline int) int {
	whole := loadConnections * pipeline
	rounds := math.Ceil(perSecond * d.Seconds() / float64(whole))
	return int(min(max(rounds, 1)*float64(whole), float64(requestsMax/whole*whole)))
}
