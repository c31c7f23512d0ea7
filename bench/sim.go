package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

type simCommand struct {
	Seeds    int    `default:"200" help:"How many fresh seeds."`
	Seed     uint64 `help:"Replay this one, and no other."`
	Out      string `help:"Directory for what a replayed seed did, and what its nodes logged." type:"existingdir"`
	Parallel int    `default:"2" help:"How many seeds at once, each on one processor."`
	Race     bool   `help:"With the race detector."`
	Sabotage string `help:"Break the nodes on purpose, in this way." placeholder:"NAME"`
}

// Run runs the simulator. A seed that breaks a promise is printed with what replays it.
func (c *simCommand) Run(ctx context.Context) error {
	args := []string{"test", "./cluster/sim", "-run", "^TestSeeds$", "-count=1", "-timeout=0", "-v"}
	if c.Race {
		args = append(args, "-race")
	}
	env := os.Environ()
	if c.Sabotage != "" {
		args, env = append(args, "-tags=sabotage"), append(env, "CARTWHEEL_SABOTAGE="+c.Sabotage)
	}
	args = append(args, "-sim.seeds", strconv.Itoa(c.Seeds), "-sim.parallel", strconv.Itoa(c.Parallel))
	if c.Seed != 0 {
		args = append(args, "-sim.seed", strconv.FormatUint(c.Seed, 10), "-sim.out", c.Out)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdout, os.Stderr, env
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %w", errPromise, err)
	}
	return nil
}
