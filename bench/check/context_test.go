package check

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestContextsOfTheStoreAreRead reads the store's own golden contexts.
func TestContextsOfTheStoreAreRead(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "version", "contexts.golden"))
	if err != nil {
		t.Fatal(err)
	}
	h := uint64(1_700_000_000_000<<16 | 7)
	want := map[string]Clock{
		"empty": {},
		"one":   {0x0123456789abcdef: h},
		"three": {0: 1, 0x0123456789abcdef: h, 1<<64 - 1: 1<<64 - 1},
	}
	for line := range strings.Lines(string(text)) {
		name, token, _ := strings.Cut(strings.TrimSpace(line), " ")
		clock, err := ParseContext(token, "key")
		expected, readable := want[name]
		if readable && (err != nil || !maps.Equal(clock, expected)) {
			t.Errorf("%s: %v, %v", name, clock, err)
		}
		if !readable && err == nil {
			t.Errorf("%s, of another key or database, is read as %v", name, clock)
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("not in the golden file: %v", want)
	}
}

func TestContextsSurviveTheRoundTripAndNoChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := Clock(rapid.MapOf(rapid.Uint64(), rapid.Uint64Min(1)).Draw(t, "clock"))
		written := token(clock, key)
		if got, err := ParseContext(written, key); err != nil || !maps.Equal(got, clock) {
			t.Fatalf("%v is read as %v, %v", clock, got, err)
		}
		at := rapid.IntRange(0, len(written)-1).Draw(t, "at")
		letter := rapid.SampledFrom([]byte("ABYZaz09-_=!\n")).Draw(t, "letter")
		if written[at] == letter {
			return
		}
		changed := written[:at] + string(letter) + written[at+1:]
		if got, err := ParseContext(changed, key); err == nil {
			t.Fatalf("%q, changed at %d, is read as %v", changed, at, got)
		}
	})
}

func TestDotIsWhatTheReplyAddsToTheGiven(t *testing.T) {
	for name, c := range map[string]struct {
		given, returned Clock
		dot             Dot
		err             error
	}{
		"first write":          {nil, Clock{1: 5}, Dot{1, 5}, nil},
		"same incarnation":     {Clock{1: 5, 2: 3}, Clock{1: 9, 2: 3}, Dot{1, 9}, nil},
		"other incarnation":    {Clock{1: 5}, Clock{1: 5, 2: 3}, Dot{2, 3}, nil},
		"not told":             {Clock{1: 5}, Clock{1: 5}, Dot{}, nil},
		"two more":             {Clock{1: 5}, Clock{1: 6, 2: 3}, Dot{}, errReturned},
		"less than was given":  {Clock{1: 5}, Clock{1: 4}, Dot{}, errReturned},
		"without what was":     {Clock{1: 5, 2: 3}, Clock{2: 4}, Dot{}, errReturned},
		"only what is missing": {Clock{1: 5}, nil, Dot{}, errReturned},
	} {
		if dot, err := dotOf(c.given, c.returned); !errors.Is(err, c.err) || dot != c.dot {
			t.Errorf("%s: %v, %v", name, dot, err)
		}
	}
}

func FuzzParseContext(f *testing.F) {
	f.Add(token(Clock{1: 2, 3: 4}, key))
	f.Add("AR6a6dZJ1g9t")
	f.Fuzz(func(t *testing.T, said string) {
		if clock, err := ParseContext(said, key); err == nil && said != "" && token(clock, key) != said {
			t.Errorf("%q and %q are both %v", said, token(clock, key), clock)
		}
	})
}
