package command

import (
	"encoding/json"
	"fmt"
)

// Flags is the set of properties of a command that COMMAND INFO reports.
type Flags uint32

// The flags of Redis 7.2 that a server without modules reports, in the order it reports them.
const (
	Write           Flags = 1 << iota // changes keys, or may
	ReadOnly                          // reads keys and changes none
	Denyoom                           // refused when memory or disk is short
	Admin                             // for operators
	Pubsub                            // belongs to publish and subscribe
	Noscript                          // refused inside scripts
	Blocking                          // may make its connection wait
	Loading                           // served while the data is being loaded
	Stale                             // served while the data may be old
	SkipMonitor                       // not shown by MONITOR
	SkipSlowlog                       // not kept by SLOWLOG
	Asking                            // accepted on a slot that is being imported
	Fast                              // O(1) or O(log N)
	NoAuth                            // served before authentication
	NoMandatoryKeys                   // its key arguments may be absent
	NoAsyncLoading                    // refused during a replica's asynchronous load
	NoMulti                           // refused inside MULTI
	MovableKeys                       // first, last and step do not tell where the keys are
	AllowBusy                         // served while a script blocks the server
)

var flagNames = [...]string{
	"write", "readonly", "denyoom", "admin", "pubsub", "noscript", "blocking", "loading", "stale",
	"skip_monitor", "skip_slowlog", "asking", "fast", "no_auth", "no_mandatory_keys",
	"no_async_loading", "no_multi", "movablekeys", "allow_busy",
}

// Has reports whether all of the given flags are set.
func (f Flags) Has(all Flags) bool { return f&all == all }

// Names lists the flags that are set, in Redis's order.
func (f Flags) Names() []string {
	names := make([]string, 0, len(flagNames))
	for i, name := range flagNames {
		if f.Has(1 << i) {
			names = append(names, name)
		}
	}
	return names
}

// UnmarshalJSON reads a list of names and refuses those that are not known.
func (f *Flags) UnmarshalJSON(text []byte) error {
	var names []string
	if err := json.Unmarshal(text, &names); err != nil {
		return err
	}
	*f = 0
	for _, name := range names {
		flag, ok := flagNamed(name)
		if !ok {
			return fmt.Errorf("unknown command flag %q", name)
		}
		*f |= flag
	}
	return nil
}

func flagNamed(name string) (Flags, bool) {
	for i, known := range flagNames {
		if known == name {
			return 1 << i, true
		}
	}
	return 0, false
}
