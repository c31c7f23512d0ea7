package check

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestLinearizableFinds(t *testing.T) {
	write := func(value string, call, end time.Duration) Access { return Access{true, value, call, end} }
	read := func(value string, call, end time.Duration) Access { return Access{false, value, call, end} }
	for name, c := range map[string]struct {
		accesses []Access
		fine     bool
	}{
		"nothing":                     {nil, true},
		"empty, then a value":         {[]Access{read("", 0, 1), write("a", 2, 3), read("a", 4, 5)}, true},
		"a stale read":                {[]Access{write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)}, false},
		"empty after a write":         {[]Access{write("a", 0, 1), read("", 2, 3)}, false},
		"old while new is written":    {[]Access{write("a", 0, 1), write("b", 2, 9), read("a", 3, 4), read("b", 5, 6)}, true},
		"new, then old":               {[]Access{write("a", 0, 1), write("b", 2, 9), read("b", 3, 4), read("a", 5, 6)}, false},
		"never written":               {[]Access{read("a", 0, 1)}, false},
		"from the future":             {[]Access{read("a", 0, 1), write("a", 2, 3)}, false},
		"unknown, never seen":         {[]Access{write("a", 0, 1), write("b", 2, forever), read("a", 3, 4), read("a", 5, 6)}, true},
		"unknown, seen and gone":      {[]Access{write("a", 0, 1), write("b", 2, forever), read("b", 3, 4), read("a", 5, 6)}, false},
		"unknown, seen later":         {[]Access{write("a", 0, 1), write("b", 2, forever), read("a", 3, 4), read("b", 5, 6)}, true},
		"two writes at once, swapped": {[]Access{write("a", 0, 9), write("b", 0, 9), read("a", 10, 11), read("b", 12, 13)}, false},
	} {
		if err := Linearizable(c.accesses); (err == nil) != c.fine {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Linearizable([]Access{write("a", 0, 1), write("a", 2, 3)}); err == nil {
		t.Error("two writes of one value are accepted")
	}
}

// TestLinearizableIsExact holds the verdict against a search through all orders.
func TestLinearizableIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := []string{"", "a", "b", "c"}
		var accesses []Access
		for _, value := range values[1:] {
			call := time.Duration(rapid.IntRange(0, 20).Draw(t, "call"))
			end := call + time.Duration(rapid.IntRange(1, 10).Draw(t, "length"))
			if rapid.IntRange(0, 5).Draw(t, "unknown") == 0 {
				end = forever
			}
			accesses = append(accesses, Access{true, value, call, end})
		}
		for range rapid.IntRange(1, 4).Draw(t, "reads") {
			call := time.Duration(rapid.IntRange(0, 30).Draw(t, "call"))
			end := call + time.Duration(rapid.IntRange(1, 10).Draw(t, "length"))
			accesses = append(accesses, Access{false, rapid.SampledFrom(values).Draw(t, "value"), call, end})
		}
		err, possible := Linearizable(accesses), search(accesses, "")
		if (err == nil) != possible {
			t.Fatalf("%v\npossible: %t, verdict: %v", accesses, possible, err)
		}
	})
}

// search tries every operation that may come first.
func search(left []Access, value string) bool {
	if len(left) == 0 {
		return true
	}
	for i, a := range left {
		behind := slices.ContainsFunc(left, func(b Access) bool { return b.Return < a.Call })
		if behind || !a.Write && a.Value != value {
			continue
		}
		rest := append(slices.Clone(left[:i]), left[i+1:]...)
		next := value
		if a.Write {
			next = a.Value
		}
		if search(rest, next) {
			return true
		}
	}
	return false
}
