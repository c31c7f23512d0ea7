package check

import "testing"

func got(o Operation, values ...string) Operation { o.Values = values; return o }

func TestCounters(t *testing.T) {
	one, two := got(op(Incr, "", 1), "1"), got(op(Incr, "", 2), "2")
	for name, c := range map[string]struct {
		operations []Operation
		final      string
		saying     string
	}{
		"exact":                {[]Operation{one, two}, "2", ""},
		"one lost":             {[]Operation{one, two}, "1", `ends at ["1"], after 2`},
		"one twice":            {[]Operation{one, two}, "3", `ends at ["3"], after 2`},
		"all lost":             {[]Operation{one}, "", "after 1"},
		"a number twice":       {[]Operation{one, got(op(Incr, "", 2), "1")}, "2", "both got 1"},
		"backwards":            {[]Operation{got(op(Incr, "", 1), "2"), got(op(Incr, "", 2), "1")}, "2", "after another had got 2"},
		"at once, any order":   {[]Operation{got(op(Incr, "", 1), "2"), got(op(Incr, "", 1), "1")}, "2", ""},
		"unknown, applied":     {[]Operation{one, unknown(op(Incr, "", 2))}, "2", ""},
		"unknown, not applied": {[]Operation{one, unknown(op(Incr, "", 2))}, "1", ""},
		"unknown, twice":       {[]Operation{one, unknown(op(Incr, "", 2))}, "3", "and 1 of unknown"},
		"no number":            {[]Operation{one}, "x", "ends at"},
		"never counted":        {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := &History{Nodes: 1, Operations: c.operations, Finals: []Operation{op(Get, c.final, 100)}}
			if c.saying == "" {
				clean(t, Counters(h))
			} else {
				finds(t, Counters(h), c.saying)
			}
		})
	}
}

func TestCountersFindsNodesThatDiffer(t *testing.T) {
	h := &History{Nodes: 2, Operations: []Operation{unknown(op(Incr, "", 1))}, Finals: []Operation{op(Get, "1", 100), op(Get, "", 100)}}
	h.Finals[1].Node = 1
	finds(t, Counters(h), "node 0 at")
}

func TestLocks(t *testing.T) {
	won := func(value string, second int) Operation { return got(op(SetNX, value, second), value) }
	lost := func(value string, second int) Operation { return op(SetNX, value, second) }
	for name, c := range map[string]struct {
		operations []Operation
		final      string
		saying     string
	}{
		"one winner":               {[]Operation{won("a", 1), lost("b", 1), lost("c", 2)}, "a", ""},
		"two winners":              {[]Operation{won("a", 1), won("b", 1)}, "a", "have both won"},
		"the loser's value":        {[]Operation{won("a", 1), lost("b", 1)}, "b", "not the winner's"},
		"the winner's lost":        {[]Operation{won("a", 1), lost("b", 1)}, "", "not the winner's"},
		"lost to nobody":           {[]Operation{lost("a", 1)}, "", "nobody had won"},
		"lost to a later one":      {[]Operation{lost("a", 1), won("b", 5)}, "b", "nobody had won"},
		"lost to an unknown":       {[]Operation{unknown(lost("a", 1)), lost("b", 2)}, "a", ""},
		"unknown, and nobody else": {[]Operation{unknown(lost("a", 1))}, "", ""},
		"from nowhere":             {[]Operation{unknown(lost("a", 1))}, "x", "not the winner's"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &History{Nodes: 1, Operations: c.operations, Finals: []Operation{op(Get, c.final, 100)}}
			if c.saying == "" {
				clean(t, Locks(h))
			} else {
				finds(t, Locks(h), c.saying)
			}
		})
	}
}

func TestEveryWorkloadHasItsChecker(t *testing.T) {
	for name, judge := range Workloads {
		clean(t, judge(&History{Workload: name}))
	}
}
