package check

import (
	"testing"
	"time"
)

func at(seconds int) time.Duration { return time.Duration(seconds) * time.Second }

// op is a plain command that takes a tenth of a second.
func op(command Command, value string, second int) Operation {
	o := Operation{Command: command, Key: key, Call: at(second), Return: at(second) + 100*time.Millisecond, Outcome: Acknowledged}
	if command == Get {
		if value != "" {
			o.Values = []string{value}
		}
		return o
	}
	o.Value = value
	return o
}

func unknown(o Operation) Operation { o.Outcome = Unknown; return o }

func living(o Operation, life time.Duration) Operation { o.Life = life; return o }

func TestSessions(t *testing.T) {
	setA, setB, del := op(Set, "a", 1), op(Set, "b", 10), op(Del, "", 20)
	refusedC := op(Set, "c", 30)
	refusedC.Outcome = Refused
	for name, c := range map[string]struct {
		operations []Operation
		final      string
		saying     string // "" where all is well
	}{
		"the newest":                     {[]Operation{setA, setB}, "b", ""},
		"the older survives":             {[]Operation{setA, setB}, "a", "older than SET"},
		"the order of arrival is none":   {[]Operation{setB, setA}, "a", "older than SET"},
		"deleted":                        {[]Operation{setA, setB, del}, "", ""},
		"deleted returns":                {[]Operation{setA, setB, del}, "b", "older than DEL"},
		"lost":                           {[]Operation{setA, setB}, "", "no delete or expiry"},
		"an older delete explains none":  {[]Operation{setA, del, op(Set, "d", 30)}, "", "no delete or expiry"},
		"nothing was ever written":       {nil, "", ""},
		"from nowhere":                   {[]Operation{setA}, "x", "nobody had written"},
		"refused":                        {[]Operation{setA, refusedC}, "c", "refused"},
		"overlapping, the one":           {[]Operation{setA, living(op(Set, "d", 1), 0)}, "a", ""},
		"overlapping, the other":         {[]Operation{setA, op(Set, "d", 1)}, "d", ""},
		"unknown, applied":               {[]Operation{setA, unknown(setB)}, "b", ""},
		"unknown, not applied":           {[]Operation{setA, unknown(setB)}, "a", ""},
		"unknown, long over":             {[]Operation{unknown(setA), op(Set, "d", 90)}, "a", "older than"},
		"unknown delete":                 {[]Operation{setA, unknown(del)}, "", ""},
		"expired":                        {[]Operation{setA, living(setB, at(5))}, "", ""},
		"expired, and still there":       {[]Operation{setA, living(setB, at(5))}, "b", "had expired"},
		"the older behind an expired":    {[]Operation{setA, living(setB, at(5))}, "a", "older than SET"},
		"not expired yet":                {[]Operation{living(setA, at(3600))}, "", "no delete or expiry"},
		"expiry made longer":             {[]Operation{living(setA, at(5)), living(op(Expire, "", 2), at(3600))}, "a", ""},
		"expiry made longer too late":    {[]Operation{living(setA, at(5)), living(op(Expire, "", 9), at(3600))}, "a", "had expired"},
		"a touch that found nothing":     {[]Operation{living(setA, at(5)), got(living(op(Expire, "", 2), at(3600)), "0")}, "a", "had expired"},
		"a touch that found it":          {[]Operation{living(setA, at(5)), got(living(op(Expire, "", 2), at(3600)), "1")}, "a", ""},
		"expiry made shorter":            {[]Operation{living(setA, at(3600)), living(op(Expire, "", 2), at(5))}, "", ""},
		"expiry of something else later": {[]Operation{living(op(Expire, "", 0), at(5)), setA}, "", "no delete or expiry"},
		"unknown touch, not applied":     {[]Operation{living(setA, at(5)), unknown(living(op(Expire, "", 2), at(3600)))}, "", ""},
		"expired read on the way":        {[]Operation{living(setA, at(5)), op(Get, "a", 9)}, "", "had expired"},
		"read on the way in time":        {[]Operation{living(setA, at(5)), op(Get, "a", 4)}, "", ""},
		"from the future on the way":     {[]Operation{op(Get, "a", 0), setA}, "a", "nobody had written"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &History{Nodes: 1, Operations: c.operations, Finals: []Operation{op(Get, c.final, 100)}}
			if c.saying == "" {
				clean(t, Sessions(h))
			} else {
				finds(t, Sessions(h), c.saying)
			}
		})
	}
}

func TestSessionsFindsNodesThatDiffer(t *testing.T) {
	a, d := op(Set, "a", 1), op(Set, "d", 1)
	h := &History{Nodes: 2, Operations: []Operation{a, d}, Finals: []Operation{op(Get, "a", 100), op(Get, "d", 100)}}
	h.Finals[1].Node = 1
	finds(t, Sessions(h), "2 different values")
	h.Finals[1].Values = h.Finals[0].Values
	clean(t, Sessions(h))
}

// TestSessionsKnowsWhatStampsCannotOrder: halves that were cut off from each other cannot order writes
// that are closer together than the clocks may differ.
func TestSessionsKnowsWhatStampsCannotOrder(t *testing.T) {
	h := &History{Nodes: 1, Operations: []Operation{op(Set, "a", 1), op(Set, "b", 1)}, Finals: []Operation{op(Get, "a", 100)}}
	h.Operations[1].Call += 300 * time.Millisecond
	h.Operations[1].Return += 300 * time.Millisecond
	finds(t, Sessions(h), "older than")
	h.Faults = []Fault{{Kind: "cut", Begin: 0, End: at(1)}}
	clean(t, Sessions(h))
	h.Faults[0].Begin, h.Faults[0].End = at(50), at(60)
	finds(t, Sessions(h), "older than")
	h.Faults[0].Begin = 0
	h.Operations[1].Call += at(1)
	finds(t, Sessions(h), "older than")
}
