package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// built is what this process has built.
var built struct {
	sync.Mutex                   // guards paths, and is held while building
	paths      map[string]string // by build tag
}

// Binary returns the path of a cartwheel executable: the one named by CARTWHEEL_BINARY, or else one
// built from this module, once a process. RemoveBinary deletes it.
func Binary(ctx context.Context) (string, error) {
	if path := os.Getenv("CARTWHEEL_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	return Tagged(ctx, "")
}

// Tagged is Binary with a build tag. It is always built.
func Tagged(ctx context.Context, tag string) (string, error) {
	built.Lock()
	defer built.Unlock()
	if path := built.paths[tag]; path != "" {
		return path, nil
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "cartwheel-binary-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "cartwheel")
	build := exec.CommandContext(ctx, "go", "build", "-tags", tag, "-o", path, "./cmd/cartwheel")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		return "", errors.Join(fmt.Errorf("building cartwheel: %w\n%s", err, said), os.RemoveAll(dir))
	}
	if built.paths == nil {
		built.paths = map[string]string{}
	}
	built.paths[tag] = path
	return path, nil
}

// RemoveBinary deletes what Binary and Tagged built, if they built anything: call it last, in TestMain or main.
func RemoveBinary() (err error) {
	built.Lock()
	defer built.Unlock()
	for _, path := range built.paths {
		err = errors.Join(err, os.RemoveAll(filepath.Dir(path)))
	}
	built.paths = nil
	return err
}

// moduleRoot is the directory of the go.mod that rules the working directory.
func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if mod == "" || mod == os.DevNull {
		return "", errors.New("not inside the cartwheel module: run from its tree, or set CARTWHEEL_BINARY")
	}
	return filepath.Dir(mod), nil
}
