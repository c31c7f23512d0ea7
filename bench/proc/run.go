package proc

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"sync"
	"time"
)

// waitDelay bounds the wait for a dead process's output, which a grandchild may hold open.
const waitDelay = time.Second

// logBytesMax bounds what is kept of a process's output; the newest stays.
const logBytesMax = 64 << 10

// Run runs a program to its end and returns its standard output. It is killed when ctx ends. The
// error carries what it last said on standard error.
func Run(ctx context.Context, name string, args ...string) ([]byte, error) {
	var stdout bytes.Buffer
	var stderr tail
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, waitDelay
	err := spawn(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("running %s: %w\n%s", name, err, stderr.String())
	}
	return stdout.Bytes(), nil
}

// tail is a writer that keeps the last logBytesMax bytes; safe for concurrent use.
type tail struct {
	mu   sync.Mutex // guards kept
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - logBytesMax; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
