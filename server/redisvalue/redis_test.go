package redisvalue_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// startRedis runs a redis-server of the test's own and returns a client of it. Without the program
// the test is skipped, or fails where CI_FORBID_SKIP=1.
func startRedis(t *testing.T) *redis.Client {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI_FORBID_SKIP") == "1" {
			t.Fatalf("CI_FORBID_SKIP=1, but this test needs redis-server: %v", err)
		}
		t.Skipf("this test needs redis-server: %v", err)
	}
	port := freePort(t)
	server := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	client := redis.NewClient(&redis.Options{Addr: net.JoinHostPort("127.0.0.1", port), Protocol: 2, MaxRetries: -1})
	t.Cleanup(func() { _ = client.Close() })

	deadline := time.Now().Add(10 * time.Second)
	for client.Ping(context.Background()).Err() != nil {
		if time.Now().After(deadline) {
			t.Fatal("redis-server did not answer in 10 s")
		}
		time.Sleep(20 * time.Millisecond)
	}
	return client
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// newRand returns a source of random inputs whose seed a failing test prints. REDISVALUE_SEED
// replays one.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if replay, err := strconv.ParseUint(os.Getenv("REDISVALUE_SEED"), 10, 64); err == nil {
		seed = replay
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("REDISVALUE_SEED=%d replays this", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// askAll sends the commands in one pipeline and returns the replies, an error as its text.
func askAll(t *testing.T, client *redis.Client, commands [][]any) []any {
	t.Helper()
	pipe := client.Pipeline()
	for _, c := range commands {
		pipe.Do(context.Background(), c...)
	}
	sent, _ := pipe.Exec(context.Background())
	replies := make([]any, len(sent))
	for i, c := range sent {
		reply, err := c.(*redis.Cmd).Result()
		if err != nil && err != redis.Nil {
			reply = err.Error()
		}
		replies[i] = reply
	}
	return replies
}

// randomBytes returns up to most bytes out of the first letters of the alphabet, or any with letters 256.
func randomBytes(r *rand.Rand, most, letters int) []byte {
	b := make([]byte, r.IntN(most+1))
	for i := range b {
		b[i] = byte(r.IntN(letters))
		if letters <= 26 {
			b[i] += 'a'
		}
	}
	return b
}

func fail(t *testing.T, got, want any, format string, args ...any) {
	t.Helper()
	t.Fatalf("%s: got %v, Redis says %v", fmt.Sprintf(format, args...), got, want)
}
