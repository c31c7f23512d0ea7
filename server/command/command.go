package command

// Command is one row of the table: a command, a container of subcommands, or a subcommand. Rows are
// read only once the table is built, and safe for concurrent use.
type Command struct {
	// Name is in lower case and, for a subcommand, without its container: "kill".
	Name string `json:"name"`
	// Arity counts the name too, and a subcommand's container. Below zero it is the least count.
	Arity int   `json:"arity"`
	Flags Flags `json:"flags"`
	// FirstKey, LastKey and KeyStep are positions in the arguments, 0 being the name. LastKey
	// counts from the end when below zero. All are 0 where there are no keys.
	FirstKey int `json:"first_key"`
	LastKey  int `json:"last_key"`
	KeyStep  int `json:"key_step"`
	// Categories are ACL categories with their @.
	Categories  []string   `json:"acl_categories"`
	Tips        []string   `json:"tips"`
	KeySpecs    []KeySpec  `json:"key_specs"`
	Docs        Docs       `json:"docs"`
	Subcommands []*Command `json:"subcommands"` // sorted by name

	// Parent is the container of a subcommand, nil for all others.
	Parent *Command `json:"-"`
	// ID is dense, 0..Len()-1 over all commands and subcommands: an index into arrays of handlers
	// and statistics. It means nothing outside this process: a new command shifts those after it.
	ID int `json:"-"`

	fullName      string
	bySubcommand  nameIndex
	variableFlags func(args [][]byte) []string // what keys' flags depend on, or nil
}

// FullName is the name that COMMAND, ACLs and error texts use: "get", "client|kill".
func (c *Command) FullName() string { return c.fullName }

// Subcommand finds a container's subcommand by its name in any letter case, or nil. It does not
// allocate.
func (c *Command) Subcommand(name []byte) *Command { return c.bySubcommand.find(name) }

// ArityOK reports whether n arguments, the name included, are a count that the command takes.
func (c *Command) ArityOK(n int) bool {
	if c.Arity < 0 {
		return n >= -c.Arity
	}
	return n == c.Arity
}
