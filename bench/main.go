// Command bench measures Cartwheel, as its users would: over the Redis protocol, against a
// redis-server on the same machine. It starts and ends all the servers that it needs, and leaves
// its reports in bench-report/. It knows nothing of Cartwheel's insides.
//
//	go run ./bench compare            # throughput, side by side with Redis
//	go run ./bench compare --cluster  # the same of three nodes and of a primary with two replicas
//	go run ./bench compare --repair   # what clients wait at half load while replicas are repaired and nodes filled
//	go run ./bench faults             # nodes killed, stopped and cut off under load, and who noticed
//	go run ./bench sim                # the same in a simulated cluster, any seed of which can be replayed
//	go run ./bench repair             # what it costs that replicas converge: rate, latency, bytes
//	go run ./bench sessions           # ten rounds of a million keys that expire: nothing grows
//	go run ./bench memory             # ten million keys in 256 MB, and a kill -9
//
// The exit status is 0, or 1 when a floor was broken (for compare: with --strict) or a promise, or 2
// when it could not be measured; `go run` itself makes every failure a 1.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"cartwheel/bench/proc"

	"github.com/alecthomas/kong"
)

const (
	exitFoundWanting = 1
	exitFailed       = 2
)

// errFloor is wrapped by the error of a measurement that succeeded and was found wanting.
var errFloor = errors.New("floor broken")

type commandLine struct {
	Compare  compareCommand  `cmd:"" help:"Throughput against redis-server, in paired runs of redis-benchmark."`
	Faults   faultsCommand   `cmd:"" help:"Faults done to a cluster under load, and a check of what its clients saw."`
	Sim      simCommand      `cmd:"" help:"Faults done to a simulated cluster, from seeds that can be replayed."`
	Repair   repairCommand   `cmd:"" help:"What repair costs: the rate of filling a new node, the p99 of clients meanwhile, the bytes of an exchange."`
	Sessions sessionsCommand `cmd:"" help:"Keys that come and go, round after round: what the nodes keep of them."`
	Memory   memoryCommand   `cmd:"" help:"Memory with many keys, and the time to be back after kill -9."`
}

func main() { os.Exit(run()) }

func run() (status int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer func() {
		if err := proc.RemoveBinary(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	var line commandLine
	parsed := kong.Parse(&line, kong.Name("bench"), kong.Description("Measures Cartwheel."), kong.Vars(faultsVars()))
	parsed.BindTo(ctx, (*context.Context)(nil))
	err := parsed.Run()
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errFloor) || errors.Is(err, errPromise):
		status = exitFoundWanting
	default:
		status = exitFailed
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	return status
}
