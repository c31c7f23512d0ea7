package compat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// clientsDir holds the clients that are not Go's, seen from this package's directory.
const clientsDir = "../../testdata/clients"

// installed is the copy of testdata/clients/node with its packages, made once a process.
var installed struct {
	sync.Mutex // guards what is below, and is held while installing
	dir        string
	err        error
}

// nodeApps returns the directory of the Node.js clients with their packages installed.
func nodeApps(t *testing.T) string {
	t.Helper()
	need(t, "node", "npm")
	installed.Lock()
	defer installed.Unlock()
	if installed.dir == "" && installed.err == nil {
		installed.dir, installed.err = installNode(t.Context())
	}
	if installed.err != nil {
		skip(t, "needs the packages of testdata/clients/node: %v", installed.err)
	}
	return installed.dir
}

func installNode(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "cartwheel-node-")
	if err != nil {
		return "", err
	}
	if err := copyFiles(dir, filepath.Join(clientsDir, "node")); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--ignore-scripts")
	npm.Dir = dir
	if said, err := npm.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("npm ci: %w\n%s", err, said), os.RemoveAll(dir))
	}
	return dir, nil
}

// copyFiles copies the files of a directory, but none of its directories.
func copyFiles(to, from string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(from, entry.Name()))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, entry.Name()), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// removeNode deletes what nodeApps installed.
func removeNode() error {
	installed.Lock()
	defer installed.Unlock()
	return os.RemoveAll(installed.dir)
}

func TestNodeClients(t *testing.T) {
	dir := nodeApps(t)
	s := startSubject(t, settings{})
	for _, script := range []string{"ioredis.js", "node-redis.js"} {
		t.Run(script, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "node", filepath.Join(dir, script), strconv.Itoa(s.Port)).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

// visitor is a browser with its cookies.
type visitor struct {
	http.Client
	t    *testing.T
	base string
}

func newVisitor(t *testing.T, base string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{http.Client{Jar: jar, Timeout: replyTimeout}, t, base}
}

// sees posts to or, without a method, gets a page, and wants this answer. While the application
// is on its way back to a restarted server it may answer with an error; that is waited out.
func (v *visitor) sees(want, method, path string) {
	v.t.Helper()
	eventually(v.t, replyTimeout, method+" "+path, func() error {
		request, err := http.NewRequestWithContext(v.t.Context(), method, v.base+path, nil)
		if err != nil {
			return err
		}
		response, err := v.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if response.StatusCode == http.StatusOK && string(body) != want {
			v.t.Fatalf("%s %s says %q, want %q", method, path, body, want)
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d: %s", response.StatusCode, body)
		}
		return nil
	})
}

// TestExpressSessionsSurviveTheServer is a running web application that keeps its sessions in the server.
func TestExpressSessionsSurviveTheServer(t *testing.T) {
	dir := nodeApps(t)
	set := settings{dir: t.TempDir()}
	if subjectIsRedis() {
		set.sync = "always" // without it Redis keeps nothing
	}
	server := startSubject(t, set)
	set.port = server.Port
	app := startApp(t, filepath.Join(dir, "app.js"), strconv.Itoa(server.Port))

	ada, bob := newVisitor(t, app), newVisitor(t, app)
	ada.sees("nobody", "GET", "/me")
	ada.sees("hello ada", "POST", "/login?name=ada")
	bob.sees("hello bob", "POST", "/login?name=bob")
	ada.sees("ada, visit 1", "GET", "/me")

	if state, err := server.Terminate(t.Context()); err != nil || !state.Success() {
		t.Fatalf("SIGTERM: %v, %v", state, err)
	}
	server = startSubject(t, set)
	ada.sees("ada, visit 2", "GET", "/me")

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	server = startSubject(t, set)
	ada.sees("ada, visit 3", "GET", "/me")
	ada.sees("goodbye", "POST", "/logout")
	ada.sees("nobody", "GET", "/me")

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	startSubject(t, set)
	ada.sees("nobody", "GET", "/me")
	bob.sees("bob, visit 1", "GET", "/me")
}

// startApp runs the web application until the end of the test and returns its address.
func startApp(t *testing.T, script string, ports ...string) string {
	t.Helper()
	app := exec.Command("node", append([]string{script}, ports...)...)
	var said strings.Builder
	app.Stderr = &said
	out, err := app.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = app.Process.Kill()
		_ = app.Wait()
		if t.Failed() {
			t.Logf("the application said:\n%s", lastLines(said.String(), 20))
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the application did not start: %v\n%s", err, said.String())
	}
	return strings.TrimSpace(line)
}
