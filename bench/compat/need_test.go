package compat

import (
	"os"
	"os/exec"
	"testing"
)

// probes says how to find out that a tool works, for the tools that are more than a program on the path.
var probes = map[string][]string{
	"python3-redis": {python(), "-c", "import redis"},
}

// need skips the test when a tool it uses is missing; with CI_FORBID_SKIP=1 it fails it instead.
func need(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if err := probe(tool); err != nil {
			skip(t, "needs %s: %v", tool, err)
		}
	}
}

// skip leaves the test for the reason given, or fails it where CI_FORBID_SKIP=1 forbids skipping.
func skip(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI_FORBID_SKIP") == "1" {
		t.Fatalf("CI_FORBID_SKIP=1, but this test "+format, args...)
	}
	t.Skipf("this test "+format, args...)
}

func probe(tool string) error {
	if command, ok := probes[tool]; ok {
		return exec.Command(command[0], command[1:]...).Run()
	}
	_, err := exec.LookPath(tool)
	return err
}

// python is the interpreter that the distribution's python3-redis package installs for, where there is one.
func python() string {
	const system = "/usr/bin/python3"
	if _, err := os.Stat(system); err == nil {
		return system
	}
	return "python3"
}
