package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"cartwheel/bench/machine"
	"cartwheel/bench/preload"
	"cartwheel/bench/proc"
)

// memoryCommand is `bench memory`: more keys than the memory holds, and a kill -9.
type memoryCommand struct {
	commonFlags
	Keys       int `default:"10000000" help:"Keys to load."`
	ValueBytes int `default:"100" help:"Length of each value."`
	MemoryMB   int `name:"memory-mb" default:"256" help:"The server's --memory, in MB of 2^20 bytes."`
	Sample     int `default:"10000" help:"Keys to check, chosen at random."`
}

const (
	memorySync     = "everysec" // Cartwheel's default
	memoryOverMB   = 300        // resident memory beyond --memory that is allowed
	readyMax       = 5 * time.Second
	restartTimeout = 10 * time.Minute // for a restart too slow to pass, which is measured all the same
	progressEvery  = 1_000_000        // keys
)

// Validate is called by kong.
func (c *memoryCommand) Validate() error {
	if c.Keys < 1 || c.Keys > preload.KeyMax || c.ValueBytes < 1 || c.MemoryMB < 1 || c.Sample < 1 {
		return fmt.Errorf("--keys is 1 to %d; --value-bytes, --memory-mb and --sample are at least 1", preload.KeyMax)
	}
	return nil
}

// Run loads, kills, restarts, prints what it found and writes the report. A broken floor is an error.
func (c *memoryCommand) Run(ctx context.Context) (err error) {
	m := memoryRun{
		data: preload.Data{Keys: c.Keys, ValueBytes: c.ValueBytes}, sample: c.Sample, seed: rand.Uint64(),
		subject: c.Subject, options: serverOptions{sync: memorySync, memory: fmt.Sprintf("%dMB", c.MemoryMB)},
	}
	m.report = memoryReport{
		Command: typedCommand(os.Args[1:]), Began: time.Now().UTC().Truncate(time.Second), Machine: machine.Read(ctx),
		Subject: c.Subject, Keys: c.Keys, ValueBytes: c.ValueBytes, MemoryMB: c.MemoryMB, Sample: c.Sample, Seed: m.seed,
		RSSMaxMB: c.MemoryMB + memoryOverMB, ReadyMaxS: readyMax.Seconds(),
	}
	if m.report.SubjectVersion, err = subjectVersion(ctx, c.Subject); err != nil {
		return err
	}
	if m.options.Dir, err = c.dataDir(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(m.options.Dir)) }()
	if m.report.FileSystem, err = machine.FileSystem(m.options.Dir); err != nil {
		return err
	}
	if err := m.run(ctx); err != nil {
		return err
	}
	m.report.judge()
	m.report.print(os.Stdout)
	if err := writeJSON(c.Out, "memory.json", m.report); err != nil {
		return err
	}
	if broken := m.report.Broken; len(broken) > 0 {
		return fmt.Errorf("%w: %s", errFloor, strings.Join(broken, "; "))
	}
	return nil
}

// memoryRun is the measurement under way.
type memoryRun struct {
	data    preload.Data
	sample  int
	seed    uint64
	subject string
	options serverOptions
	report  memoryReport
}

func (m *memoryRun) run(ctx context.Context) error {
	server, err := startServer(ctx, m.subject, m.options)
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }() // where an error left it running
	if err := m.load(ctx, server); err != nil {
		return withLog(err, server)
	}
	if err := server.Kill(); err != nil {
		return err
	}
	return m.restart(ctx, server.Port)
}

// load fills the server and checks a sample, and reads the memory that this took.
func (m *memoryRun) load(ctx context.Context, server *proc.Server) error {
	began := time.Now()
	var said atomic.Int64 // millions
	progress := func(written int) {
		millions := int64(written / progressEvery)
		if before := said.Load(); millions > before && said.CompareAndSwap(before, millions) {
			fmt.Fprintf(os.Stderr, "loaded %d keys in %v\n", written, time.Since(began).Round(time.Second))
		}
	}
	if err := preload.Fill(ctx, server.Addr, m.data, progress); err != nil {
		return err
	}
	m.report.LoadS = seconds(time.Since(began))
	client := newClient(server.Addr)
	defer client.Close()
	if err := preload.CheckSize(ctx, client, m.data.Keys); err != nil {
		return err
	}
	if err := preload.CheckSample(ctx, client, m.data, m.sample, m.seed); err != nil {
		return err
	}
	return readMemory(server, &m.report.Loaded)
}

// restart starts the server anew on the same data and port, until it answers PING and a GET, and
// then checks the same sample.
func (m *memoryRun) restart(ctx context.Context, port int) error {
	bounded, cancel := context.WithTimeout(ctx, restartTimeout)
	defer cancel()
	options := m.options
	options.Port = port
	began := time.Now()
	server, err := startServer(bounded, m.subject, options)
	if err != nil {
		return fmt.Errorf("after kill -9: %w", err)
	}
	defer func() { _ = server.Close() }()
	client := newClient(server.Addr)
	defer client.Close()
	if err := preload.CheckSample(bounded, client, m.data, 1, m.seed); err != nil {
		return withLog(fmt.Errorf("after kill -9: %w", err), server)
	}
	m.report.ReadyS = seconds(time.Since(began))
	if err := preload.CheckSample(bounded, client, m.data, m.sample, m.seed); err != nil {
		return withLog(fmt.Errorf("after kill -9: %w", err), server)
	}
	return readMemory(server, &m.report.Restarted)
}

func withLog(err error, server *proc.Server) error { return fmt.Errorf("%w\n%s", err, server.Log()) }
