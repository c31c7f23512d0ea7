package main

import (
	"context"
	"debug/buildinfo"
	"os"
	"strings"
	"unicode"

	"cartwheel/bench/proc"

	"github.com/redis/go-redis/v9"
)

// Names of the servers, as the flags and the reports have them.
const (
	nameCartwheel = "cartwheel"
	nameRedis     = "redis"
)

// commonFlags are those of every measurement.
type commonFlags struct {
	Out     string `default:"bench-report" help:"Directory for the reports."`
	Dir     string `help:"Where the servers' data goes, in a new directory that is removed. Default: the system's temporary directory."`
	Subject string `default:"cartwheel" enum:"cartwheel,redis" help:"Server to measure; redis, Redis against itself, checks the measurement."`
}

// dataDir makes the directory under which the servers of one measurement keep their data. The
// caller removes it.
func (f commonFlags) dataDir() (string, error) { return os.MkdirTemp(f.Dir, "cartwheel-bench-") }

// serverOptions are the settings that Cartwheel and Redis share.
type serverOptions struct {
	sync   string // everysec or always
	memory string // Cartwheel's --memory; Redis has no such bound with its keys in memory
	proc.Options
}

// startServer starts the named server, with its append-only file where it is Redis. It returns
// when PING is answered; the caller closes it.
func startServer(ctx context.Context, name string, o serverOptions) (*proc.Server, error) {
	if name == nameRedis {
		o.Args = []string{"--appendonly", "yes", "--appendfsync", o.sync}
		return proc.StartRedis(ctx, o.Options)
	}
	o.Args = []string{"--sync", o.sync}
	if o.memory != "" {
		o.Args = append(o.Args, "--memory", o.memory)
	}
	return proc.StartCartwheel(ctx, o.Options)
}

// newClient connects to addr without retries: an answer that had to be asked for twice is an error.
func newClient(addr string) *redis.Client {
	return redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true, MaxRetries: -1})
}

// subjectVersion says what was measured: the commit and the settings that the Go tool wrote into the
// executable, or "" where it wrote none. Redis's version is among the machine's facts.
func subjectVersion(ctx context.Context, name string) (string, error) {
	if name == nameRedis {
		return "", nil
	}
	path, err := proc.Binary(ctx)
	if err != nil {
		return "", err
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", err
	}
	said := []string{info.GoVersion}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision", "vcs.modified", "CGO_ENABLED":
			said = append(said, setting.Key+"="+setting.Value)
		}
	}
	return strings.Join(said, " "), nil
}

// redisBenchmarkVersion is what the load generator says of itself.
func redisBenchmarkVersion(ctx context.Context) (string, error) {
	said, err := proc.Run(ctx, loadProgram, "--version")
	return strings.TrimPrefix(strings.TrimSpace(string(said)), loadProgram+" "), err
}

// typedCommand is this run as it was typed, to be run again.
func typedCommand(args []string) string {
	typed := "go run ./bench"
	for _, arg := range args {
		if strings.ContainsFunc(arg, special) {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		typed += " " + arg
	}
	return typed
}

// special tells whether a shell may read more than the letter itself.
func special(letter rune) bool {
	return !unicode.IsLetter(letter) && !unicode.IsDigit(letter) && !strings.ContainsRune("-_=./,:", letter)
}
