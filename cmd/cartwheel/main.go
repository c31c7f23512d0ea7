// Command cartwheel is a store and cache that speaks the Redis protocol.
//
// This package is wiring: flags, files and signals. What the program does is in
// packages server, cluster and store.
package main

import (
	"fmt"
	"os"

	"github.com/alecthomas/kong"
)

type commandLine struct {
	Serve   serveCommand   `cmd:"" help:"Run a node."`
	Dev     devCommand     `cmd:"" help:"Run a cluster on this machine, to try it and to develop against."`
	Cluster clusterCommand `cmd:"" help:"Look at a cluster."`
	Ping    pingCommand    `cmd:"" help:"Ask a node whether it answers; for health checks."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "cartwheel: %v\n", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	var cli commandLine
	parser, err := newParser(&cli)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("%w (see cartwheel --help)", err)
	}
	return parsed.Run()
}

func newParser(cli *commandLine) (*kong.Kong, error) {
	file := &configFile{}
	return kong.New(cli,
		kong.Name("cartwheel"),
		kong.Description("A key-value store and cache that speaks the Redis protocol and keeps what it has acknowledged."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.DefaultEnvars("CARTWHEEL"),
		kong.Resolvers(file),
		kong.Bind(file),
	)
}
