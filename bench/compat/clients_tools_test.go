package compat

import (
	"encoding/csv"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"cartwheel/bench/proc"
)

// cli runs redis-cli against a server and returns what it prints.
func cli(t *testing.T, s *proc.Server, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "redis-cli", append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(s.Port)}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// cliSession is piped into redis-cli; its replies are compared with those of Redis.
const cliSession = `PING
SET greeting "hello\r\nworld \"quoted\" \x00\xff"
GET greeting
INCR counter
INCRBY counter 41
MGET counter nothing greeting
APPEND greeting !
SETBIT bits 7 1
LCS counter counter IDX
TTL nothing
EXPIREAT counter 20000000000
EXPIRETIME counter
KEYS c*
SCAN 0 MATCH count* COUNT 1000
SET
NOSUCH a b
SELECT 99
SELECT 3
DBSIZE
CONFIG GET notify-keyspace-events
DEL counter
RENAME nothing else
QUIT
`

func TestRedisCLI(t *testing.T) {
	need(t, "redis-cli")
	redis, subject := startRedis(t, settings{}), startSubject(t, settings{})
	for _, mode := range [][]string{nil, {"-3"}, {"--no-raw"}, {"-3", "--no-raw"}, {"--csv"}, {"-n", "2"}} {
		t.Run("redis-cli "+strings.Join(mode, " "), func(t *testing.T) {
			for _, s := range []*proc.Server{redis, subject} {
				cli(t, s, "", "FLUSHALL")
			}
			want, got := cli(t, redis, cliSession, mode...), cli(t, subject, cliSession, mode...)
			if got != want {
				t.Errorf("a piped session prints\n%s\nwith redis it prints\n%s", got, want)
			}
			for _, args := range [][]string{{"SET", "once", "1"}, {"GET", "once"}, {"STRLEN", "nothing"}, {"BITFIELD", "b", "SET", "u8", "0", "255", "GET", "i8", "0"}, {"GET"}} {
				args = append(append([]string{}, mode...), args...)
				if got, want := cli(t, subject, "", args...), cli(t, redis, "", args...); got != want {
					t.Errorf("redis-cli %s prints %q, with redis %q", strings.Join(args, " "), got, want)
				}
			}
			if got := cli(t, subject, "", append(append([]string{}, mode...), "INFO", "server")...); !strings.Contains(got, "redis_version:7.") {
				t.Errorf("INFO server: %s", got)
			}
		})
	}
	t.Run("value from standard input", func(t *testing.T) {
		value := strings.Repeat("line\n", 100_000)
		if got := cli(t, subject, value, "-x", "SET", "big"); got != "OK\n" {
			t.Fatal(got)
		}
		if got := cli(t, subject, "", "GET", "big"); got != value+"\n" {
			t.Errorf("%d bytes came back", len(got))
		}
	})
	t.Run("mass insertion", func(t *testing.T) {
		var b strings.Builder
		for i := range 5000 {
			b.Write(encode("SET", "mass-"+strconv.Itoa(i), "v"))
		}
		if got := cli(t, subject, b.String(), "--pipe"); !strings.Contains(got, "errors: 0, replies: 5000") {
			t.Error(got)
		}
	})
	t.Run("scan", func(t *testing.T) {
		if got := strings.Count(cli(t, subject, "", "--scan", "--pattern", "mass-*"), "mass-"); got != 5000 {
			t.Errorf("--scan finds %d of 5000 keys", got)
		}
	})
}

func TestRedisBenchmark(t *testing.T) {
	need(t, "redis-benchmark")
	s := startSubject(t, settings{})
	const suite = "ping_inline,ping_mbulk,set,get,incr,mset"
	for _, mode := range [][]string{{"-P", "1"}, {"-P", "16"}, {"-P", "16", "-3"}, {"-P", "4", "-r", "1000", "-c", "100", "-d", "1000"}} {
		t.Run(strings.Join(mode, " "), func(t *testing.T) {
			args := append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(s.Port), "-t", suite, "-n", "5000", "--csv"}, mode...)
			out, err := exec.CommandContext(t.Context(), "redis-benchmark", args...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if strings.Contains(string(out), "rror") || strings.Contains(string(out), "WARN") {
				t.Errorf("it complains:\n%s", out)
			}
			rows, err := csv.NewReader(strings.NewReader(string(out))).ReadAll()
			if err != nil || len(rows) != 1+len(strings.Split(suite, ",")) {
				t.Errorf("%d rows, %v:\n%s", len(rows), err, out)
			}
		})
	}
}
