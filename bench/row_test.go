package main

import (
	"slices"
	"strings"
	"testing"
)

func TestRowsHaveTheirFloorsAndTheHotOnesNone(t *testing.T) {
	floors := map[string]float64{
		"GET P1": 0.85, "GET P16": 1.1, "SET everysec P1": 0.65, "SET everysec P16": 0.75,
		"SET always P1": 1.0, "SET always P16": 0.9,
	}
	seen := map[string]bool{}
	for _, r := range rows {
		if name := r.name(); seen[name] || r.floor != floors[name] {
			t.Errorf("%s: floor %v, seen before: %v", name, r.floor, seen[name])
		}
		seen[r.name()] = true
	}
	for name := range floors {
		if !seen[name] || !seen[name+" hot"] {
			t.Errorf("%s or its hot row is missing", name)
		}
	}
}

// A pair of servers is started whenever --sync changes, on directories that must be new.
func TestRowsOfOneSyncStandTogetherWithTheGETsFirst(t *testing.T) {
	var order []string
	for _, r := range rows {
		order = append(order, r.sync+" "+r.command)
	}
	if got := slices.Compact(order); !slices.Equal(got, []string{"everysec get", "everysec set", "always set"}) {
		t.Error(got)
	}
}

func TestOnlyHotRowsLoadOneKey(t *testing.T) {
	for _, r := range rows {
		if random := slices.Contains(r.load(), "-r"); random == r.hot {
			t.Errorf("%s: %s", r.name(), strings.Join(r.load(), " "))
		}
	}
}

func TestTypedCommandCanBeTypedAgain(t *testing.T) {
	got := typedCommand([]string{"compare", "--only", "^GET P1$", "--rounds=3", "it's"})
	if want := `go run ./bench compare --only '^GET P1$' --rounds=3 'it'\''s'`; got != want {
		t.Errorf("%s, not %s", got, want)
	}
}
