package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

const loadTitles = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"`

func TestParseLoadReadsWhatRedisBenchmarkSays(t *testing.T) {
	want := throughput{PerSecond: 103626.95, P50MS: 0.247, P99MS: 0.679}
	for name, said := range map[string]string{
		"as Redis 7 prints it": loadTitles + "\n" + `"SET","103626.95","0.263","0.056","0.247","0.351","0.679","4.471"` + "\n",
		"behind a warning":     "WARNING: no CONFIG\n" + loadTitles + "\n" + `"SET","103626.95","0.263","0.056","0.247","0.351","0.679","4.471"` + "\n",
		"in another order":     `"test","p99_latency_ms","p50_latency_ms","rps"` + "\n" + `"SET","0.679","0.247","103626.95"` + "\n",
	} {
		if got, err := parseLoad([]byte(said)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestParseLoadRefusesWhatIsNoFigure(t *testing.T) {
	for name, said := range map[string]string{
		"nothing":        "",
		"no titles":      `"SET","103626.95"` + "\n",
		"no line":        loadTitles + "\n",
		"two tests":      loadTitles + strings.Repeat("\n"+`"GET","1","1","1","1","1","1","1"`, 2) + "\n",
		"a short line":   loadTitles + "\n" + `"GET","1"` + "\n",
		"infinite":       loadTitles + "\n" + `"GET","inf","1","1","1","1","1","1"` + "\n",
		"not a number":   loadTitles + "\n" + `"GET","-nan","1","1","1","1","1","1"` + "\n",
		"zero":           loadTitles + "\n" + `"GET","0.00","1","1","1","1","1","1"` + "\n",
		"missing column": `"test","rps"` + "\n" + `"GET","1"` + "\n",
	} {
		if got, err := parseLoad([]byte(said)); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestRequestsForFillsAllConnectionsAndFitsAnInt(t *testing.T) {
	for _, c := range []struct {
		perSecond float64
		pipeline  int
		want      int
	}{{1, 1, 50}, {1000, 1, 2500}, {1001, 1, 2550}, {1000, 16, 3200}, {math.MaxFloat64, 1, math.MaxInt32 / 50 * 50}} {
		if got := requestsFor(c.perSecond, 2500*time.Millisecond, c.pipeline); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func FuzzParseLoad(f *testing.F) {
	f.Add([]byte(loadTitles + "\n" + `"SET","103626.95","0.263","0.056","0.247","0.351","0.679","4.471"` + "\n"))
	f.Fuzz(func(t *testing.T, said []byte) {
		if got, err := parseLoad(said); err == nil && !(got.PerSecond > 0 && got.P50MS > 0 && got.P99MS > 0) {
			t.Errorf("accepted %+v", got)
		}
	})
}
