package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func devOf(t *testing.T, more ...string) *devCommand {
	t.Helper()
	var cli commandLine
	parser, err := newParser(&cli)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"dev"}, more...)); err != nil {
		t.Fatal(err)
	}
	return &cli.Dev
}

func TestDevStartsNodesThatFindEachOther(t *testing.T) {
	dir := t.TempDir()
	d := devOf(t, "--zones", "2", "--sync", "always", "--memory", "32MB")
	nodes, err := d.layout(dir)
	if err != nil {
		t.Fatal(err)
	}
	line := func(i int) string { return strings.ReplaceAll(strings.Join(nodes[i].args, " "), dir, "DIR") }
	for i, want := range []string{
		"serve --listen 127.0.0.1:7001 --cluster-listen 127.0.0.1:7101 --peer-listen 127.0.0.1:7201 --data DIR/node1 --sync always --memory 33554432 --log-level warn --zone zone1",
		"serve --listen 127.0.0.1:7002 --cluster-listen 127.0.0.1:7102 --peer-listen 127.0.0.1:7202 --data DIR/node2 --sync always --memory 33554432 --log-level warn --zone zone2 --join 127.0.0.1:7201,127.0.0.1:7203",
		"serve --listen 127.0.0.1:7003 --cluster-listen 127.0.0.1:7103 --peer-listen 127.0.0.1:7203 --data DIR/node3 --sync always --memory 33554432 --log-level warn --zone zone1 --join 127.0.0.1:7201,127.0.0.1:7202",
	} {
		if got := line(i); got != want {
			t.Errorf("node %d\n got: %s\nwant: %s", i+1, got, want)
		}
	}
	if again := strings.Join(nodes[0].argsAgain, " "); !strings.HasSuffix(again, "--join 127.0.0.1:7202,127.0.0.1:7203") {
		t.Errorf("node 1 is started again by %s", again)
	}
}

// TestDevGoesOnWithItsData: no node may create a second cluster while another
// has data of the first.
func TestDevGoesOnWithItsData(t *testing.T) {
	dir := t.TempDir()
	d := devOf(t)
	if _, err := d.layout(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "node3", "data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	nodes, err := d.layout(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		if !slices.Contains(n.args, "--join") {
			t.Errorf("%s joins nobody: %q", n.name, n.args)
		}
	}
}

func TestDevAloneJoinsNobody(t *testing.T) {
	d := devOf(t, "--nodes", "1")
	for range 2 {
		nodes, err := d.layout(t.TempDir())
		if err != nil || slices.Contains(nodes[0].args, "--join") || slices.Contains(nodes[0].argsAgain, "--join") {
			t.Errorf("%v, %v", nodes, err)
		}
	}
}

func TestDevRefusesWhatCannotWork(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for want, d := range map[string]*devCommand{
		"--nodes: must be from 1 to 100, but is 0":                                   {Nodes: 0, BasePort: 7001},
		"--nodes: must be from 1 to 100, but is 101":                                 {Nodes: 101, BasePort: 7001},
		"--base-port: ports from 65335 to 65536":                                     {Nodes: 2, BasePort: 65335},
		"--base-port: ports from 0 to":                                               {Nodes: 2, BasePort: 0},
		"--zones: must be from 0 to 2, as there are 2 nodes, but is 3":               {Nodes: 2, BasePort: 7001, Zones: 3},
		"--base-port: other processes listen on 127.0.0.1, on " + strconv.Itoa(port): {Nodes: 1, BasePort: port - devPeerPorts},
	} {
		if err := d.check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error %v, want one that begins with %q", err, want)
		}
	}
}

func TestDevNodesHaveNoSettingsButTheirFlags(t *testing.T) {
	got := devEnvironment([]string{"PATH=/bin", "CARTWHEEL_LISTEN=:1", "CARTWHEEL_TLS_CERT=x", "HOME=/"})
	if !slices.Equal(got, []string{"PATH=/bin", "HOME=/"}) {
		t.Errorf("%q", got)
	}
	t.Setenv("CARTWHEEL_DATA", "/elsewhere")
	t.Setenv("CARTWHEEL_SYNC", "always")
	if d := devOf(t); d.Data != "" || d.Sync != "everysec" {
		t.Errorf("settings of a node apply to dev: data %q, sync %s", d.Data, d.Sync)
	}
}

func TestLastLinesOfALog(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	text := strings.Repeat("old\n", 10_000) + "one\ntwo\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lastLines(file, 2); got != "one\ntwo" {
		t.Errorf("%q", got)
	}
	if got := lastLines(file, 1<<20); len(got) > 16<<10 {
		t.Errorf("%d bytes", len(got))
	}
}
