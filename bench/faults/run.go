package faults

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cartwheel/bench/check"
	"cartwheel/bench/local"
	"cartwheel/bench/proc"
	"cartwheel/cluster/sabotage"
)

// Options says what is run.
type Options struct {
	Nodes     int
	Seed      uint64
	Duration  time.Duration // of the faults; what comes before and after takes about half a minute more
	Workloads []string      // of Workloads(); all if empty
	Kinds     []string      // of Kinds(); all that this machine can do if empty
	Dir       string        // where the nodes' directories go; the system's temporary one if empty
	Args      []string      // added to every node's command line
	Sabotage  string        // of sabotage.Flaws(): the nodes are broken in this way; in none if empty
	Alone     bool          // replicas do not compare what they have: only hints and reads bring them together
	Episode   time.Duration // of the faults of one episode; episodeMax if 0
	Out       io.Writer     // progress

	// Short makes every phase as short as it can be, for a test.
	Short bool
}

// noExchanges is the hidden flag of the node that leaves out exchanges.
const noExchanges = "--debug-no-exchanges"

// nodeArgs are what Args and Alone add to each command line.
func (o Options) nodeArgs() []string {
	if o.Alone {
		return append(slices.Clone(o.Args), noExchanges)
	}
	return o.Args
}

// Validate says what of the options makes no sense.
func (o Options) Validate() error {
	for _, names := range [][2][]string{{o.Workloads, Workloads()}, {o.Kinds, Kinds()}} {
		for _, name := range names[0] {
			if !slices.Contains(names[1], name) {
				return fmt.Errorf("%s is none of %v", name, names[1])
			}
		}
	}
	switch {
	case o.Nodes < 1 || o.Nodes > nodesMax:
		return fmt.Errorf("the number of nodes is 1 to %d", nodesMax)
	case o.Sabotage != "" && !slices.Contains(sabotage.Flaws(), sabotage.Flaw(o.Sabotage)):
		return fmt.Errorf("%s is none of %v", o.Sabotage, sabotage.Flaws())
	case o.Duration <= 0:
		return errors.New("the duration is above 0")
	case slices.ContainsFunc(o.Kinds, cuts) && o.Nodes < 2:
		return errors.New("a cut needs two nodes")
	case slices.Contains(o.Workloads, availability) && o.Nodes < stayMin+2:
		return fmt.Errorf("%s needs %d nodes", availability, stayMin+2)
	}
	return nil
}

// nodesMax is what the addresses of one network, and one machine, suffice for.
const nodesMax = 64

// timing is how long the phases are.
type timing struct {
	before, during time.Duration // of availability
	healthy        time.Duration
	finals         time.Duration // for all nodes to say the same
	pace           pace
}

func (o Options) timing() timing {
	const ms = time.Millisecond
	if o.Short {
		t := timing{
			before: time.Second, during: 2500 * ms, healthy: 1200 * ms, finals: 30 * time.Second,
			pace: pace{time.Second, 3 * time.Second, 200 * ms, 700 * ms},
		}
		if o.Alone { // broken nodes may never say the same
			t.finals, t.pace = 2*time.Second, pace{300 * ms, 900 * ms, 100 * ms, 300 * ms}
		}
		return t
	}
	return timing{
		before: 5 * time.Second, during: 10 * time.Second, healthy: 5 * time.Second, finals: 30 * time.Second,
		pace: pace{time.Second, 8 * time.Second, 500 * time.Millisecond, 5 * time.Second},
	}
}

// restWithin bounds the wait for the nodes to be at rest behind the last fault.
const restWithin = 60 * time.Second

// Run starts nodes, does faults to them under load, and judges what the clients saw. It blocks for
// about Duration and half a minute. An error means that something could not be run; promises that
// were broken are in the report.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	kinds, missing, network, err := possible(ctx, o)
	if err != nil {
		return nil, err
	}
	if network != nil {
		defer func() { err = errors.Join(err, network.Close()) }()
	}
	dir, err := os.MkdirTemp(o.Dir, "cartwheel-faults-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	offsets := make([]atomic.Int64, o.Nodes)
	options := local.Options{Nodes: o.Nodes, Dir: dir, Args: o.nodeArgs(), ArgsOf: func(i int) []string {
		if offset := offsets[i].Load(); offset != 0 {
			return []string{skewFlag + "=" + time.Duration(offset).String()} // which may begin with a minus
		}
		return nil
	}}
	if o.Sabotage != "" {
		options.Tag, options.Env = "sabotage", []string{sabotage.Variable + "=" + o.Sabotage}
	}
	if network != nil {
		options.Host, options.Wrap = network.Host, network.Wrap
		options.Args = append([]string{"--no-protected-mode"}, options.Args...) // clients come from the bridge
	}
	cluster, err := local.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	r := &runner{Options: o, system: processes{cluster}, network: network, offsets: offsets, kinds: kinds, timing: o.timing()}
	report, err := r.episodes(ctx)
	if err != nil {
		fmt.Fprintln(o.Out, cluster.Log())
		return nil, err
	}
	report.Missing = missing
	if report.Broken() > 0 {
		fmt.Fprintln(o.Out, cluster.Log())
	}
	return report, nil
}

// episodeMax is how long faults go on before all is healed and judged: what is kept of a run stays
// bounded, however long it is.
const episodeMax = time.Minute

// episodes runs one episode after the other, until the time is over or a promise was broken. Each has its
// own seed and its own keys. The kinds of fault take turns over all of them: none is left out by chance.
func (r *runner) episodes(ctx context.Context) (*Report, error) {
	total := &Report{Seed: r.Seed, Nodes: r.Nodes}
	r.left = new([]string)
	length := cmp.Or(r.Episode, episodeMax)
	for left := r.Duration; left > 0 && total.Broken() == 0; left -= length {
		one := *r
		one.Seed += uint64(total.Episodes)
		one.Duration = min(left, length)
		one.withAvailability, one.last = total.Episodes == 0, left <= length
		fmt.Fprintf(r.Out, "episode %d, seed %d\n", total.Episodes+1, one.Seed)
		report, err := one.run(ctx)
		if err != nil {
			return nil, err
		}
		total.add(report)
	}
	return total, nil
}

// skewFlag is the hidden flag of the node that puts its clock wrong.
const skewFlag = "--debug-clock-offset"

// possible finds out which of the kinds can be done here, and makes the network that they need. What
// was asked for by name, or in CI, must be possible.
func possible(ctx context.Context, o Options) (kinds, missing []string, n *network, err error) {
	must := len(o.Kinds) > 0 || os.Getenv("CI_FORBID_SKIP") == "1"
	var networkErr error
	wanted := o.Kinds
	if len(wanted) == 0 {
		wanted = slices.DeleteFunc(Kinds(), func(kind string) bool { return cuts(kind) && o.Nodes < 2 })
	}
	if slices.ContainsFunc(wanted, cuts) {
		n, networkErr = newNetwork(ctx, o.Nodes)
		if networkErr != nil && (must || !errors.Is(networkErr, errNoNetwork)) {
			return nil, nil, nil, networkErr
		}
	}
	for _, kind := range wanted {
		reason := networkErr
		if !cuts(kind) {
			reason = nil
		}
		if kind == skew {
			reason = canSkew(ctx)
		}
		if kind == lose && o.Nodes < loseMin {
			reason = fmt.Errorf("it needs %d nodes", loseMin)
		}
		switch {
		case reason == nil:
			kinds = append(kinds, kind)
		case len(o.Kinds) > 0:
			if n != nil {
				reason = errors.Join(reason, n.Close())
			}
			return nil, nil, nil, reason
		default:
			missing = append(missing, kind+": "+reason.Error())
		}
	}
	return kinds, missing, n, nil
}

// loseMin is how many nodes there must be for one to be lost: as many as hold each key.
const loseMin = 3

// canSkew asks the node whether it has the flag. Nothing from outside can put wrong the clock of one
// process: it is a static executable, and Linux's time namespaces leave the wall clock alone.
func canSkew(ctx context.Context) error {
	binary, err := proc.Binary(ctx)
	if err != nil {
		return err
	}
	// The flag is hidden, so that help does not tell.
	_, err = proc.Run(ctx, binary, "serve", skewFlag, "0s", "--help")
	if err != nil {
		return fmt.Errorf("the node has no %s", skewFlag)
	}
	return nil
}

// runner is an episode on a system that has been started.
type runner struct {
	Options
	withAvailability bool
	last             bool // episode, which may end with a node lost
	system           system
	network          *network
	offsets          []atomic.Int64
	kinds            []string
	timing           timing
	left             *[]string // kinds of fault that have yet to have their turn, over all episodes
	began            time.Time
	report           Report
	// instead are done while the workloads go on, where they are not the faults of a nemesis.
	instead func(ctx context.Context) error
}

func (r *runner) run(ctx context.Context) (*Report, error) {
	r.began = time.Now()
	r.report = Report{Seed: r.Seed, Nodes: r.Nodes}
	if r.withAvailability && r.wants(availability) && r.Nodes >= stayMin+2 {
		if err := r.available(ctx); err != nil {
			return nil, err
		}
	}
	var faulty, healthy []workload
	for _, w := range workloads(r.Seed, r.loses()) {
		switch {
		case !r.wants(w.name):
		case w.healthy:
			healthy = append(healthy, w)
		default:
			faulty = append(faulty, w)
		}
	}
	histories, err := r.underFaults(ctx, faulty)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(r.Out, "%6.1fs waiting for rest\n", time.Since(r.began).Seconds())
	if err := waitSettled(ctx, r.system, restWithin); err != nil {
		r.trouble(err)
	}
	if err := r.explain(ctx, faulty, histories); err != nil { // before a read repairs it
		return nil, err
	}
	fmt.Fprintf(r.Out, "%6.1fs at full health\n", time.Since(r.began).Seconds())
	calm, cancel := context.WithTimeout(ctx, r.timing.healthy)
	defer cancel()
	histories = append(histories, r.work(calm, healthy)...)
	fmt.Fprintf(r.Out, "%6.1fs reading every key on every node\n", time.Since(r.began).Seconds())
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for n, w := range slices.Concat(faulty, healthy) {
		if err := readFinals(ctx, r.system, w, histories[n], r.began, r.timing.finals); err != nil {
			return nil, err
		}
	}
	if err := r.explain(ctx, faulty, histories); err != nil { // again: what was shown must be held
		return nil, err
	}
	for _, h := range histories {
		h.Faults = r.report.Faults
	}
	r.report.Histories = histories
	r.report.Judge()
	return &r.report, nil
}

// explain adds to the histories what each owner holds.
func (r *runner) explain(ctx context.Context, loads []workload, histories []*check.History) error {
	fmt.Fprintf(r.Out, "%6.1fs looking at what each owner holds\n", time.Since(r.began).Seconds())
	for n, w := range loads {
		if w.final != check.VGet {
			continue // VEXPLAIN cannot tell what was written
		}
		if err := explain(ctx, r.system, histories[n], r.began); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) wants(workload string) bool {
	return len(r.Workloads) == 0 || slices.Contains(r.Workloads, workload)
}

// trouble notes what is wrong with the nodes as a whole.
func (r *runner) trouble(err error) { r.report.Trouble = append(r.report.Trouble, err.Error()) }

// loses tells whether a node is lost in the end.
func (r *runner) loses() bool { return r.last && slices.Contains(r.kinds, lose) }

// available measures both faults of promise 2.
func (r *runner) available(ctx context.Context) error {
	for _, fault := range []struct {
		kind    string
		victims []int
	}{
		{killTwo, []int{r.Nodes - 2, r.Nodes - 1}},
		{stop, []int{r.Nodes - 1}},
	} {
		fmt.Fprintf(r.Out, "%6.1fs availability: %s of nodes %v\n", time.Since(r.began).Seconds(), fault.kind, fault.victims)
		f := check.Fault{Kind: fault.kind, Nodes: fault.victims, Begin: time.Since(r.began)}
		found, err := measureAvailable(ctx, r.system, fault.kind, fault.victims, r.timing.before, r.timing.during, r.Seed)
		if err != nil {
			return fmt.Errorf("%s of nodes %v: %w", fault.kind, fault.victims, err)
		}
		f.End = time.Since(r.began)
		r.report.Faults = append(r.report.Faults, f)
		r.report.Available = append(r.report.Available, *found)
		if err := waitSettled(ctx, r.system, restWithin); err != nil {
			return err
		}
	}
	return nil
}

// underFaults runs the workloads while the nemesis is at work.
func (r *runner) underFaults(ctx context.Context, chosen []workload) ([]*check.History, error) {
	if len(chosen) == 0 {
		return nil, nil
	}
	kinds := slices.DeleteFunc(slices.Clone(r.kinds), func(kind string) bool { return kind == lose })
	nemesis := &nemesis{
		system: r.system, network: r.network, offsets: r.offsets, kinds: kinds, left: r.left,
		random: rand.New(rand.NewPCG(r.Seed, 0xfa17)), pace: r.timing.pace, began: r.began, out: r.Out,
	}
	working, end := context.WithCancel(ctx)
	defer end()
	var failed error
	var running sync.WaitGroup
	running.Go(func() {
		defer end()
		limited, cancel := context.WithTimeout(ctx, r.Duration)
		defer cancel()
		switch {
		case r.instead != nil:
			failed = r.instead(ctx)
		case len(kinds) == 0:
			<-limited.Done()
		default:
			failed = errors.Join(nemesis.run(limited), nemesis.revive(context.WithoutCancel(ctx)))
		}
		if failed == nil && r.loses() {
			failed = nemesis.lose(ctx)
		}
	})
	histories := r.work(working, chosen)
	running.Wait()
	r.report.Faults = append(r.report.Faults, nemesis.done...)
	r.report.Trouble = append(r.report.Trouble, nemesis.trouble...)
	return histories, failed
}

// work runs all workers of the workloads until ctx ends, and returns what they saw.
func (r *runner) work(ctx context.Context, chosen []workload) []*check.History {
	crews := make([][]*worker, len(chosen))
	var working sync.WaitGroup
	id := 0
	for n, load := range chosen {
		for range load.workers {
			w := newWorker(id, r.system.Addrs(), r.Seed, cmp.Or(load.pause, pauseMean), r.began)
			id++
			crews[n] = append(crews[n], w)
			working.Go(func() {
				defer w.close()
				for step := load.start(w); ctx.Err() == nil; w.rest(ctx) {
					step()
				}
			})
		}
	}
	working.Wait()
	var histories []*check.History
	for n, load := range chosen {
		h := &check.History{Workload: load.name, Seed: r.Seed, Nodes: r.Nodes}
		if r.instead == nil { // else who is there no more has handed over what it had
			h.Lost = lostOf(r.system)
		}
		for _, w := range crews[n] {
			h.Operations = append(h.Operations, w.operations...)
			for _, strange := range w.strange {
				r.trouble(fmt.Errorf("%s, worker %d: %s", load.name, w.id, strange))
			}
		}
		slices.SortStableFunc(h.Operations, func(a, b check.Operation) int { return cmp.Compare(a.Call, b.Call) })
		histories = append(histories, h)
	}
	return histories
}
