package command

// ReplyWriter is what the replies of COMMAND are written to. In RESP2 a set is an array, and a map
// of n pairs an array of 2n.
type ReplyWriter interface {
	Array(n int)
	Map(n int)
	Set(n int)
	BulkString(s string)
	Simple(s string)
	Int(n int64)
	Null()
}

// WriteInfo writes the command's element of COMMAND INFO, in the shape of Redis 7. A nil command,
// one that was not found, is a null.
func (c *Command) WriteInfo(w ReplyWriter) {
	if c == nil {
		w.Null()
		return
	}
	w.Array(10)
	w.BulkString(c.fullName)
	w.Int(int64(c.Arity))
	writeSimpleSet(w, c.Flags.Names())
	w.Int(int64(c.FirstKey))
	w.Int(int64(c.LastKey))
	w.Int(int64(c.KeyStep))
	writeSimpleSet(w, c.Categories)
	w.Set(len(c.Tips))
	for _, tip := range c.Tips {
		w.BulkString(tip)
	}
	w.Set(len(c.KeySpecs))
	for i := range c.KeySpecs {
		c.KeySpecs[i].write(w)
	}
	if len(c.Subcommands) == 0 {
		w.Set(0) // not an array: Redis's own inconsistency
		return
	}
	w.Array(len(c.Subcommands))
	for _, sub := range c.Subcommands {
		sub.WriteInfo(w)
	}
}

func (s *KeySpec) write(w ReplyWriter) {
	if s.Notes == "" {
		w.Map(3)
	} else {
		w.Map(4)
		writePair(w, "notes", s.Notes)
	}
	w.BulkString("flags")
	writeSimpleSet(w, s.Flags)

	w.BulkString("begin_search")
	w.Map(2)
	writePair(w, "type", s.BeginSearch.Type)
	w.BulkString("spec")
	w.Map(1)
	writeNumber(w, "index", s.BeginSearch.Spec.Index)

	w.BulkString("find_keys")
	w.Map(2)
	writePair(w, "type", s.FindKeys.Type)
	w.BulkString("spec")
	w.Map(3)
	writeNumber(w, "lastkey", s.FindKeys.Spec.LastKey)
	writeNumber(w, "keystep", s.FindKeys.Spec.KeyStep)
	writeNumber(w, "limit", s.FindKeys.Spec.Limit)
}

// WriteDocs writes the command's docs in the shape of Redis 7.2: the value that COMMAND DOCS puts
// after the command's full name.
func (c *Command) WriteDocs(w ReplyWriter) {
	d := &c.Docs
	texts := []pair{
		{"summary", d.Summary},
		{"since", d.Since},
		{"group", d.Group},
		{"complexity", d.Complexity},
	}
	deprecation := []pair{
		{"deprecated_since", d.DeprecatedSince},
		{"replaced_by", d.ReplacedBy},
	}
	w.Map(present(texts) + one(d.DocFlags) + present(deprecation) +
		one(d.History) + one(d.Arguments) + one(c.Subcommands))
	writePresent(w, texts)
	if len(d.DocFlags) > 0 {
		w.BulkString("doc_flags")
		writeSimpleSet(w, d.DocFlags)
	}
	writePresent(w, deprecation)
	if len(d.History) > 0 {
		w.BulkString("history")
		w.Set(len(d.History))
		for _, change := range d.History {
			w.Array(2)
			w.BulkString(change[0])
			w.BulkString(change[1])
		}
	}
	if len(d.Arguments) > 0 {
		w.BulkString("arguments")
		writeArguments(w, d.Arguments)
	}
	if len(c.Subcommands) > 0 {
		w.BulkString("subcommands")
		w.Map(len(c.Subcommands))
		for _, sub := range c.Subcommands {
			w.BulkString(sub.fullName)
			sub.WriteDocs(w)
		}
	}
}

func writeArguments(w ReplyWriter, arguments []Argument) {
	w.Array(len(arguments))
	for i := range arguments {
		arguments[i].write(w)
	}
}

func (a *Argument) write(w ReplyWriter) {
	naming := []pair{{"name", a.Name}, {"type", a.Type}}
	switch {
	case a.isGroup():
	case a.DisplayText != "":
		naming = append(naming, pair{"display_text", a.DisplayText})
	default:
		naming = append(naming, pair{"display_text", a.Name})
	}
	texts := []pair{
		{"token", a.Token},
		{"summary", a.Summary},
		{"since", a.Since},
		{"deprecated_since", a.DeprecatedSince},
	}
	n := present(naming) + present(texts) + one(a.Flags)
	if a.KeySpecIndex != nil {
		n++
	}
	if a.isGroup() {
		n++
	}
	w.Map(n)
	writePresent(w, naming)
	if a.KeySpecIndex != nil {
		writeNumber(w, "key_spec_index", *a.KeySpecIndex)
	}
	writePresent(w, texts)
	if len(a.Flags) > 0 {
		w.BulkString("flags")
		writeSimpleSet(w, a.Flags)
	}
	if a.isGroup() {
		w.BulkString("arguments")
		writeArguments(w, a.Arguments)
	}
}

// pair is a field of a map. One without a value is not written.
type pair struct{ name, value string }

func present(pairs []pair) (n int) {
	for _, p := range pairs {
		if p.value != "" {
			n++
		}
	}
	return n
}

// one is 1 if the list has elements, and so is written as one field.
func one[T any](list []T) int { return min(len(list), 1) }

func writePresent(w ReplyWriter, pairs []pair) {
	for _, p := range pairs {
		if p.value != "" {
			writePair(w, p.name, p.value)
		}
	}
}

func writePair(w ReplyWriter, name, value string) {
	w.BulkString(name)
	w.BulkString(value)
}

func writeNumber(w ReplyWriter, name string, value int) {
	w.BulkString(name)
	w.Int(int64(value))
}

func writeSimpleSet(w ReplyWriter, words []string) {
	w.Set(len(words))
	for _, word := range words {
		w.Simple(word)
	}
}
