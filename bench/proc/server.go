// Package proc starts and stops real server processes for benchmarks and black-box tests: on
// 127.0.0.1, on free ports, each in its own directory. It ends only what it started, by process
// id, and on Linux the kernel ends the rest when the parent dies. It knows nothing of what the
// servers hold or of how they are put together into clusters.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// Server is one running process. Its methods are safe for concurrent use. Whoever starts one
// calls Close.
type Server struct {
	Addr string // host:port where clients connect
	Port int
	Dir  string // its data directory
	Pid  int

	cmd     *exec.Cmd
	log     *tail
	ownsDir bool          // Dir was made here, and goes with Close
	exited  chan struct{} // closed when the process has ended and was waited for
}

// Kill ends the process with SIGKILL and returns when it is gone. Killing a dead one is no error.
func (s *Server) Kill() error {
	if err := s.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-s.exited
	return nil
}

// Terminate asks the process to end with SIGTERM, waits for it, and returns how it ended. When ctx
// ends first the process is left running.
func (s *Server) Terminate(ctx context.Context) (*os.ProcessState, error) {
	if err := s.signal(syscall.SIGTERM); err != nil {
		return nil, err
	}
	select {
	case <-s.exited:
		return s.cmd.ProcessState, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("process %d still runs after SIGTERM: %w\n%s", s.Pid, context.Cause(ctx), s.Log())
	}
}

// Pause stops the process where it stands (SIGSTOP); its connections stay open and silent.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume lets a paused process run on.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

// Exited is closed when the process has ended, for whatever reason.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// State is how the process ended; nil before Exited is closed.
func (s *Server) State() *os.ProcessState {
	select {
	case <-s.exited:
		return s.cmd.ProcessState
	default:
		return nil
	}
}

// Log is the newest of what the process wrote to standard output and standard error.
func (s *Server) Log() string { return s.log.String() }

// Close kills the process if it still runs, and removes its directory if it was made for it.
func (s *Server) Close() error {
	err := s.Kill()
	if s.ownsDir {
		err = errors.Join(err, os.RemoveAll(s.Dir))
	}
	return err
}

func (s *Server) signal(sig os.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %v to process %d: %w", sig, s.Pid, err)
	}
	return nil
}
