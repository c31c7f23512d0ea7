package check

import (
	"slices"
	"testing"
)

// basket is a history in which a and b were acknowledged, c is unknown, d was refused.
func basket() *History {
	vset := func(n int, element, value string, outcome Outcome) Operation {
		return Operation{Worker: n, Command: VSet, Key: key, Element: element, Value: value, Call: at(n), Return: at(n) + 1, Outcome: outcome}
	}
	final := func(node int, values ...string) Operation {
		return Operation{Node: node, Command: VGet, Key: key, Values: values, Call: at(20), Return: at(21), Outcome: Acknowledged}
	}
	return &History{
		Nodes: 2,
		Operations: []Operation{
			vset(1, "a", "a", Acknowledged), vset(2, "b", "b", Acknowledged), vset(3, "c", "a,b,c", Unknown), vset(4, "d", "a,b,d", Refused),
			{Command: VGet, Key: key, Values: []string{"a", "b"}, Call: at(5), Return: at(6), Outcome: Acknowledged},
		},
		Finals: []Operation{final(0, "a", "b"), final(1, "a", "b")},
	}
}

func TestSetAddAcceptsTheUnknownEitherWay(t *testing.T) {
	h := basket()
	clean(t, SetAdd(h))
	h.Finals[0].Values, h.Finals[1].Values = []string{"a,b,c"}, []string{"a,b,c"}
	clean(t, SetAdd(h))
}

func TestSetAddFinds(t *testing.T) {
	for name, c := range map[string]struct {
		values []string
		saying string
	}{
		"a lost element":    {[]string{"a"}, `element "b", acknowledged by node 0 at 2.000000001s, is not on node 1`},
		"everything lost":   {nil, `"a", acknowledged`},
		"one from nowhere":  {[]string{"a,b,x"}, `"x" at 21s, which nobody had sent`},
		"a refused element": {[]string{"a,b,d"}, "was refused"},
	} {
		t.Run(name, func(t *testing.T) {
			h := basket()
			h.Finals[1].Values = c.values
			finds(t, SetAdd(h), c.saying)
		})
	}
	t.Run("one from the future", func(t *testing.T) {
		h := basket()
		h.Operations[4].Call, h.Operations[4].Return = 0, at(1)+1
		h.Operations = slices.Concat(h.Operations[4:], h.Operations[:4])
		finds(t, SetAdd(h), "nobody had sent")
	})
	t.Run("a silent node", func(t *testing.T) {
		h := basket()
		h.Finals = h.Finals[:1]
		finds(t, SetAdd(h), "1 nodes of 2")
	})
}
