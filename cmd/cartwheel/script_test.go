package main

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cartwheel": main})
}

// TestCommandLine runs the conversations in testdata/script.
func TestCommandLine(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   filepath.Join("testdata", "script"),
		Setup: setup,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"waitready": waitReady,
			"redis":     sendInline,
		},
	})
}

// setup finds a port for the script: $addr.
func setup(env *testscript.Env) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	env.Setenv("addr", listener.Addr().String())
	env.Setenv("pid", "")
	return listener.Close()
}

// waitReady waits until a server answers at an address.
func waitReady(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		if (&pingCommand{Addr: args[0], Timeout: time.Second}).Run() == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("no server at %s within 20 s", args[0])
}

// sendInline sends a server one inline command. The reply must end as the last
// argument says, and must not be an error.
func sendInline(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := net.Dial("tcp", args[0])
	ts.Check(err)
	defer conn.Close()
	ts.Check(conn.SetDeadline(time.Now().Add(20 * time.Second)))
	_, err = conn.Write([]byte(args[1] + "\r\nQUIT\r\n"))
	ts.Check(err)
	reply, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		ts.Fatalf("%s: %v", args[1], err)
	}
	text, _ := strings.CutSuffix(string(reply), "+OK\r\n")
	end := ""
	if len(args) > 2 {
		end = strings.ReplaceAll(args[2], `\r\n`, "\r\n")
	}
	if strings.HasPrefix(text, "-") || !strings.HasSuffix(text, end) {
		ts.Fatalf("%s: the reply is %q, want one that ends with %q", args[1], text, end)
	}
}

func TestPasswordIsTheFirstLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\r\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	password, err := (&serveCommand{PasswordFile: file}).password()
	if err != nil || password != "s3cret" {
		t.Errorf("password %q, %v", password, err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]byteSize{
		"0": 0, "17": 17, "256MB": 256 << 20, "1gb": 1 << 30, "1g": 1e9, " 2 kb ": 2048, "64MiB": 64 << 20, "5b": 5,
	} {
		var size byteSize
		if err := size.UnmarshalText([]byte(text)); err != nil || size != want {
			t.Errorf("%q is %d, %v; want %d", text, size, err, want)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1.5GB", "3x", "9999999999gb"} {
		var size byteSize
		if err := size.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for a size, %d", text, size)
		}
	}
}
