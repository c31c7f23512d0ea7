package proc

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func needRedis(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(binaryRedis); err != nil {
		if os.Getenv("CI_FORBID_SKIP") == "1" {
			t.Fatal("CI needs redis-server: ", err)
		}
		t.Skip("redis-server is not installed: ", err)
	}
}

func startRedis(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := StartRedis(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestServerIsReadyMeasuredAndGone(t *testing.T) {
	needRedis(t)
	s := startRedis(t, Options{})
	if err := ping(t.Context(), s.Addr, nil); err != nil {
		t.Fatal("a server that was started does not answer: ", err)
	}
	rss, err := s.RSS()
	if err != nil || rss < 1<<20 {
		t.Errorf("RSS = %d, %v", rss, err)
	}
	if peak, err := s.PeakRSS(); err != nil || peak < 1<<20 {
		t.Errorf("PeakRSS = %d, %v", peak, err)
	}
	if _, err := s.CPU(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("directory of a closed server: %v", err)
	}
	if err := ping(t.Context(), s.Addr, nil); err == nil {
		t.Error("a closed server answers")
	}
	if err := s.Kill(); err != nil {
		t.Error("killing a dead server: ", err)
	}
}

func TestServerComesBackOnItsPortAndDirectory(t *testing.T) {
	needRedis(t)
	dir := t.TempDir()
	first := startRedis(t, Options{Dir: dir})
	state, err := first.Terminate(t.Context())
	if err != nil || !state.Success() {
		t.Fatalf("Terminate = %v, %v", state, err)
	}
	again := startRedis(t, Options{Dir: dir, Port: first.Port})
	if again.Addr != first.Addr || again.Pid == first.Pid {
		t.Errorf("restarted as %s (%d), was %s (%d)", again.Addr, again.Pid, first.Addr, first.Pid)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error("a directory that was given to a server went with it: ", err)
	}
}

func TestPausedServerIsSilentUntilResumed(t *testing.T) {
	needRedis(t)
	s := startRedis(t, Options{})
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := ping(short, s.Addr, nil); err == nil {
		t.Error("a paused server answers")
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := s.waitReady(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

func TestServerThatCannotStartSaysWhy(t *testing.T) {
	needRedis(t)
	_, err := StartRedis(t.Context(), Options{Args: []string{"--appendfsync", "sometimes"}})
	if err == nil || !strings.Contains(err.Error(), "appendfsync") {
		t.Errorf("error without the server's own words: %v", err)
	}
}

func TestFreePortNeverRepeats(t *testing.T) {
	seen := map[int]bool{}
	for range 200 {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] || port < portMin || port > portMax {
			t.Fatalf("port %d", port)
		}
		seen[port] = true
	}
}

func TestTailKeepsTheNewest(t *testing.T) {
	var log tail
	for range 3 {
		_, _ = log.Write([]byte(strings.Repeat("x", logBytesMax/2)))
	}
	_, _ = log.Write([]byte("last words"))
	if kept := log.String(); len(kept) != logBytesMax || !strings.HasSuffix(kept, "last words") {
		t.Errorf("kept %d bytes", len(kept))
	}
}

// TestChildrenDieWithTheirParent runs this test binary as a parent that starts a Redis and waits;
// killing that parent must end the Redis.
func TestChildrenDieWithTheirParent(t *testing.T) {
	needRedis(t)
	const role = "PROC_TEST_PARENT"
	if os.Getenv(role) != "" {
		s, err := StartRedis(t.Context(), Options{Dir: os.Getenv(role)})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString(s.Addr + "\n")
		<-s.Exited()
		return
	}
	parent := exec.Command(os.Args[0], "-test.run=^TestChildrenDieWithTheirParent$")
	parent.Env = append(os.Environ(), role+"="+t.TempDir())
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 64)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimSpace(string(line[:n]))
	if err := ping(t.Context(), addr, nil); err != nil {
		t.Fatal(err)
	}
	_ = parent.Process.Kill()
	_ = parent.Wait()
	deadline, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for ping(deadline, addr, nil) == nil {
	}
	if deadline.Err() != nil {
		t.Error("the server outlived its parent")
	}
}
