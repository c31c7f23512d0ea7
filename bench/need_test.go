package main

import (
	"os"
	"os/exec"
	"testing"
)

// need skips the test when a program it runs is missing; with CI_FORBID_SKIP=1 it fails it instead.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		_, err := exec.LookPath(program)
		if err == nil {
			continue
		}
		if os.Getenv("CI_FORBID_SKIP") == "1" {
			t.Fatalf("CI_FORBID_SKIP=1, but this test needs %s: %v", program, err)
		}
		t.Skipf("this test needs %s: %v", program, err)
	}
}
