package command

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRowsAreWellFormed(t *testing.T) {
	all := Table().All()
	if len(all) != Table().Len() {
		t.Fatalf("All lists %d commands, Len says %d", len(all), Table().Len())
	}
	for i, c := range all {
		if c.ID != i {
			t.Errorf("%s: its ID is %d, its place %d", c.FullName(), c.ID, i)
		}
		if c.Parent != nil && (c.Parent.ID >= c.ID || c.FullName() != c.Parent.Name+"|"+c.Name) {
			t.Errorf("%s does not belong under %s", c.FullName(), c.Parent.Name)
		}
		if c.ArityOK(0) || c.Parent != nil && c.ArityOK(1) {
			t.Errorf("%s: arity %d does not count its own name", c.FullName(), c.Arity)
		}
		checkFlags(t, c)
		checkKeys(t, c)
		checkDocs(t, c)
	}
}

func checkFlags(t *testing.T, c *Command) {
	t.Helper()
	category := func(name string) bool { return slices.Contains(c.Categories, name) }
	switch {
	case c.Flags.Has(Write | ReadOnly):
		t.Errorf("%s both writes and reads only", c.FullName())
	case c.Flags.Has(Fast) != category("@fast") || c.Flags.Has(Fast) == category("@slow"):
		t.Errorf("%s: flags %v do not agree with categories %v", c.FullName(), c.Flags.Names(), c.Categories)
	case c.Flags.Has(Write) != category("@write"):
		t.Errorf("%s: flags %v do not agree with categories %v", c.FullName(), c.Flags.Names(), c.Categories)
	}
}

func checkKeys(t *testing.T, c *Command) {
	t.Helper()
	if (c.FirstKey != 0) != (len(c.KeySpecs) > 0) {
		t.Errorf("%s: first key %d, but %d key specs", c.FullName(), c.FirstKey, len(c.KeySpecs))
	}
	for i := range c.KeySpecs {
		variable := slices.Contains(c.KeySpecs[i].Flags, "variable_flags")
		if variable != (c.variableFlags != nil) {
			t.Errorf("%s: flags %v want a function to tell them, or have one in vain", c.FullName(), c.KeySpecs[i].Flags)
		}
	}
}

func checkDocs(t *testing.T, c *Command) {
	t.Helper()
	d := &c.Docs
	if d.Summary == "" || d.Since == "" || d.Group == "" {
		t.Errorf("%s: summary %q, since %q, group %q", c.FullName(), d.Summary, d.Since, d.Group)
	}
	var check func(arguments []Argument)
	check = func(arguments []Argument) {
		for i := range arguments {
			a := &arguments[i]
			at := fmt.Sprintf("%s: argument %q of type %q", c.FullName(), a.Name, a.Type)
			switch {
			case a.Name == "" || a.Type == "":
				t.Errorf("%s lacks one", at)
			case a.isGroup() != (len(a.Arguments) > 0):
				t.Errorf("%s has %d arguments", at, len(a.Arguments))
			case a.Type == "pure-token" && a.Token == "":
				t.Errorf("%s has no token", at)
			case a.KeySpecIndex != nil && (*a.KeySpecIndex < 0 || *a.KeySpecIndex >= len(c.KeySpecs)):
				t.Errorf("%s points at key spec %d of %d", at, *a.KeySpecIndex, len(c.KeySpecs))
			}
			check(a.Arguments)
		}
	}
	check(d.Arguments)
}

func TestOwnCommandsAreThere(t *testing.T) {
	arities := map[string]int{"vget": -2, "vset": -4, "vdel": -3, "vexplain": 2}
	for name, arity := range arities {
		c := find(name)
		if c == nil || c.Arity != arity || c.Docs.Group != "versions" {
			t.Errorf("%s is missing or its row is wrong: %+v", name, c)
		}
	}
}

func TestBrokenTablesAreRefused(t *testing.T) {
	const spec = `"begin_search":{"type":"index","spec":{"index":1}},"find_keys":{"type":"range","spec":`
	cases := []struct{ rows, want string }{
		{`{"name":"b","arity":1},{"name":"a","arity":1}`, "not sorted"},
		{`{"name":"a","arity":1},{"name":"a","arity":1}`, "twice"},
		{`{"name":"a"}`, "arity"},
		{`{"name":"","arity":1}`, "1 to 32 bytes"},
		{`{"name":"` + strings.Repeat("x", 33) + `","arity":1}`, "1 to 32 bytes"},
		{`{"name":"seventeen_letters","arity":1},{"name":"seventeen_letters","arity":1}`, "twice"},
		{`{"name":"A","arity":1}`, "lower case"},
		{`{"name":"a","arity":1,"flags":["quick"]}`, "unknown command flag"},
		{`{"name":"a","arity":1,"subcommands":[{"name":"b|c","arity":2}]}`, "does not begin with"},
		{`{"name":"a","arity":2,"key_specs":[{` + spec + `{"keystep":0}}}]}`, "steps by 0"},
		{`{"name":"a","arity":2,"key_specs":[{` + spec + `{"keystep":1,"limit":2}}}]}`, "not understood"},
		{`{"name":"a","arity":2,"key_specs":[{"begin_search":{"type":"keyword"}}]}`, "not understood"},
	}
	for _, c := range cases {
		_, err := parse([]byte(`{"commands":[` + c.rows + `]}`))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.rows, err, c.want)
		}
	}
}
