package command

// Docs is what COMMAND DOCS says of a command. Empty fields are left out of the reply.
type Docs struct {
	Summary    string   `json:"summary"`
	Since      string   `json:"since"` // the version of Redis, or of Cartwheel for our own
	Group      string   `json:"group"`
	Complexity string   `json:"complexity"`
	DocFlags   []string `json:"doc_flags"` // "deprecated", "syscmd"

	DeprecatedSince string `json:"deprecated_since"`
	ReplacedBy      string `json:"replaced_by"`

	History   []Change   `json:"history"`
	Arguments []Argument `json:"arguments"`
}

// Change is a version and what it changed.
type Change [2]string

// Argument is one argument, or a group of them: Type "block" is all of Arguments in order, "oneof"
// is one of them.
type Argument struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	DisplayText string `json:"display_text"` // what redis-cli shows, if not the name

	// KeySpecIndex is the place in KeySpecs of the spec that finds this key; nil unless a key.
	KeySpecIndex *int `json:"key_spec_index"`

	Token           string     `json:"token"`
	Summary         string     `json:"summary"`
	Since           string     `json:"since"`
	DeprecatedSince string     `json:"deprecated_since"`
	Flags           []string   `json:"flags"` // "optional", "multiple", "multiple_token"
	Arguments       []Argument `json:"arguments"`
}

// isGroup reports whether the argument stands for its Arguments and not for a word of its own.
func (a *Argument) isGroup() bool { return a.Type == "oneof" || a.Type == "block" }
