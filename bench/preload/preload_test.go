package preload

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

func TestKeysAreThoseOfRedisBenchmark(t *testing.T) {
	for i, want := range map[int]string{
		0: "key:000000000000", 7: "key:000000000007", 99999: "key:000000099999",
		KeyMax - 1: "key:999999999999",
	} {
		if got := Key(i); got != want || got != fmt.Sprintf("key:%012d", i) {
			t.Errorf("Key(%d) = %s, not %s", i, got, want)
		}
	}
	if got := string(AppendKey([]byte("99"), 12)); got != "99key:000000000012" {
		t.Errorf("AppendKey behind other bytes: %s", got)
	}
}

func TestValuesFollowFromTheKey(t *testing.T) {
	seen := map[string]int{}
	for i := range 10_000 {
		value := string(AppendValue(nil, i, 16))
		if other, twice := seen[value]; twice {
			t.Fatalf("keys %d and %d have one value", i, other)
		}
		seen[value] = i
	}
	for n := range 45 {
		value := AppendValue(nil, 5, n)
		if len(value) != n || !strings.HasPrefix(string(AppendValue(nil, 5, 45)), string(value)) {
			t.Errorf("a value of %d bytes: %q", n, value)
		}
	}
}

// answer accepts connections and answers every SET (7 lines) with what reply says for its key.
func answer(t *testing.T, reply func(key string) string) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines, n := bufio.NewScanner(conn), 1; lines.Scan(); n++ {
					if n%7 != 5 {
						continue
					}
					if _, err := io.WriteString(conn, reply(lines.Text())); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func TestFillWritesEveryKeyOnce(t *testing.T) {
	const keys = 3*depth + 17
	written := make(chan string, keys)
	addr := answer(t, func(key string) string {
		written <- key
		return string(accepted)
	})
	if err := Fill(t.Context(), addr, Data{Keys: keys, ValueBytes: 10}, nil); err != nil {
		t.Fatal(err)
	}
	close(written)
	seen := map[string]int{}
	for key := range written {
		seen[key]++
	}
	for i := range keys {
		if seen[Key(i)] != 1 {
			t.Errorf("%s was written %d times", Key(i), seen[Key(i)])
		}
	}
}

func TestFillStopsAtARefusedKey(t *testing.T) {
	addr := answer(t, func(key string) string {
		if key == Key(300) {
			return "-OVERLOADED try later\r\n"
		}
		return string(accepted)
	})
	err := Fill(t.Context(), addr, Data{Keys: 100_000, ValueBytes: 10}, nil)
	if err == nil || !strings.Contains(err.Error(), "OVERLOADED") {
		t.Errorf("Fill = %v", err)
	}
}

func TestFillStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	addr := answer(t, func(string) string {
		cancel()
		return ""
	})
	if err := Fill(ctx, addr, Data{Keys: 1000, ValueBytes: 10}, nil); err == nil {
		t.Error("Fill went on")
	}
}
