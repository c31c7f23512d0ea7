package machine

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// TestUseCoresConfinesChildren runs this test binary again, which confines itself and then asks a
// child how many cores it has.
func TestUseCoresConfinesChildren(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux confines")
	}
	if _, err := exec.LookPath("nproc"); err != nil {
		if os.Getenv("CI_FORBID_SKIP") == "1" {
			t.Fatal("nproc is missing, and CI forbids to skip")
		}
		t.Skip("nproc is missing")
	}
	const role = "MACHINE_TEST_CONFINED"
	if os.Getenv(role) == "" {
		again := exec.Command(os.Args[0], "-test.run=^TestUseCoresConfinesChildren$")
		again.Env = append(os.Environ(), role+"=1")
		if said, err := again.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		return
	}
	if n, err := UseCores(1); n != 1 || err != nil {
		t.Fatalf("UseCores = %d, %v", n, err)
	}
	said, err := exec.Command("nproc").Output()
	if err != nil || strings.TrimSpace(string(said)) != "1" {
		t.Errorf("nproc = %q, %v", said, err)
	}
}

func TestUseCoresDoesWithFewer(t *testing.T) {
	if n, err := UseCores(runtime.NumCPU() + 1); n != runtime.NumCPU() || err != nil {
		t.Errorf("UseCores = %d, %v", n, err)
	}
}

func TestFileSystemOfAMissingDirectory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says")
	}
	if _, err := FileSystem(t.TempDir() + "/missing"); err == nil {
		t.Error("no error")
	}
	if name, err := FileSystem(t.TempDir()); name == "" || err != nil {
		t.Errorf("FileSystem = %q, %v", name, err)
	}
}
