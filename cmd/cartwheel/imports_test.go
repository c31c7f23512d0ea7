package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayImport says for each package of ours which others it may import. What is
// not named may import nothing of ours. Tests may import anything.
var mayImport = map[string][]string{
	"cmd/cartwheel":      {"server", "cluster", "cluster/ring", "cluster/sabotage", "store"},
	"server":             {"resp", "server/command", "server/redisvalue", "store/version", "cluster/ring", "cluster/quorum", "cluster/sabotage"},
	"cluster":            {"cluster/ring", "cluster/quorum", "cluster/wire", "cluster/member", "cluster/repair", "cluster/sabotage", "store", "store/version"},
	"cluster/member":     {"cluster/ring", "cluster/quorum", "cluster/sabotage"},
	"cluster/repair":     {"cluster/ring", "cluster/sabotage", "store", "store/version"},
	"cluster/sabotage":   nil,
	"cluster/sim":        nil,
	"cluster/wire":       {"cluster/quorum", "cluster/sabotage"},
	"store":              {"store/version", "cluster/ring", "cluster/sabotage"},
	"bench":              {"bench/check", "bench/faults", "bench/local", "bench/proc", "bench/machine", "bench/preload", "cluster/sabotage"},
	"server/command/gen": {"server/command"},
	"resp":               nil,
	"cluster/ring":       nil,
	"cluster/quorum":     {"store/version"},
	"store/version":      {"cluster/sabotage"},
	"server/command":     nil,
	"server/redisvalue":  nil,
	"bench/proc":         nil,
	"bench/check":        nil,
	"bench/faults":       {"bench/check", "bench/local", "bench/proc", "cluster/sabotage"},
	"bench/local":        {"bench/proc"},
	"bench/machine":      nil,
	"bench/preload":      nil,
	"bench/compat":       nil,
}

func TestImportsRunDownwards(t *testing.T) {
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && file != root || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		checkImports(t, filepath.ToSlash(relative), file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkImports(t *testing.T, name, file string) {
	t.Helper()
	pkg := path.Dir(name)
	allowed, known := mayImport[pkg]
	if !known {
		t.Errorf("%s: package %s is not in the list of what may import what", name, pkg)
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range parsed.Imports {
		imported, ours := strings.CutPrefix(strings.Trim(spec.Path.Value, `"`), "cartwheel/")
		if ours && !slices.Contains(allowed, imported) {
			t.Errorf("%s: %s must not import %s", name, pkg, imported)
		}
	}
}
