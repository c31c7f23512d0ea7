package server

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"cartwheel/server/redisvalue"
)

// settings are what CONFIG GET shows and what of it CONFIG SET changes. The
// values are read wherever they matter, without a lock.
type settings struct {
	maxClients      atomic.Int64
	timeoutS        atomic.Int64
	bulkBytesSet    atomic.Int64 // proto-max-bulk-len, where an operator has set it; 0: that is by memory
	protected       atomic.Bool
	latencyTracking atomic.Bool
	keyspaceEvents  atomic.Pointer[string] // nothing is published yet

	rows   []setting      // immutable once the server is made, like byName
	byName map[string]int // an index into rows

	mu      sync.Mutex      // held by CONFIG SET and CONFIG REWRITE
	changed map[string]bool // guarded by mu: by CONFIG SET
}

// A setting is one row of CONFIG GET.
type setting struct {
	name  string
	value func() string
	// parse returns what changes the value; it has not changed before that is
	// called. nil: the setting cannot be changed.
	parse func(value string) (apply func(), err error)
}

var errImmutable = errors.New("can't set immutable config")

// initSettings gives the settings their values and lists them.
func (s *Server) initSettings() {
	st := &s.settings
	st.maxClients.Store(int64(s.opts.MaxClients))
	st.protected.Store(!s.opts.Open)
	st.latencyTracking.Store(true)
	st.keyspaceEvents.Store(new(string))
	s.slowlog.init()
	st.byName = make(map[string]int)
	st.changed = make(map[string]bool)
	for _, rows := range [][]setting{s.settingRows(), s.limitRows(), s.staticRows()} {
		for _, row := range rows {
			i, known := st.byName[row.name]
			if !known {
				i = len(st.rows)
				st.byName[row.name] = i
				st.rows = append(st.rows, setting{})
			}
			st.rows[i] = row
		}
	}
}

// staticRows are those that whoever made the server has to say.
func (s *Server) staticRows() (rows []setting) {
	for _, pair := range s.opts.Static {
		rows = append(rows, fixed(pair[0], pair[1]))
		if pair[0] == "sync" {
			rows = append(rows, fixed("appendfsync", appendFsync(pair[1])))
		}
	}
	return rows
}

// appendFsync is the nearest that Redis has to a sync mode.
func appendFsync(sync string) string {
	switch sync {
	case "always", "no":
		return sync
	}
	return "everysec"
}

// A change is a setting with a new value.
type change struct{ name, value string }

// A changeError names the setting that cannot have a value.
type changeError struct {
	name string
	err  error // nil: there is no such setting
}

func (e *changeError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("there is no setting %q", e.name)
	}
	return fmt.Sprintf("setting %q: %v", e.name, e.err)
}

// Configure changes settings as CONFIG SET does: all of them or, with an error,
// none. It is for those that a configuration file has in its table
// SettingsTable, before Serve.
func (s *Server) Configure(values map[string]string) error {
	changes := make([]change, 0, len(values))
	for name, value := range values {
		changes = append(changes, change{name, value})
	}
	return s.configure(changes)
}

func (s *Server) configure(changes []change) error {
	st := &s.settings
	st.mu.Lock()
	defer st.mu.Unlock()
	applies := make([]func(), 0, len(changes))
	seen := make(map[string]bool)
	for _, ch := range changes {
		name := strings.ToLower(ch.name)
		i, known := st.byName[name]
		switch {
		case !known:
			return &changeError{ch.name, nil}
		case st.rows[i].parse == nil:
			return &changeError{ch.name, errImmutable}
		case seen[name]:
			return &changeError{ch.name, errors.New("duplicate parameter")}
		}
		seen[name] = true
		apply, err := st.rows[i].parse(ch.value)
		if err != nil {
			return &changeError{ch.name, err}
		}
		applies = append(applies, apply)
	}
	for _, apply := range applies {
		apply()
	}
	for name := range seen {
		st.changed[name] = true
	}
	return nil
}

// The kinds of settings.

func fixed(name, value string) setting {
	return setting{name: name, value: func() string { return value }}
}

func fixedInt(name string, value int64) setting {
	return fixed(name, strconv.FormatInt(value, 10))
}

func integerIn(name string, at *atomic.Int64, least, most int64) setting {
	return setting{
		name:  name,
		value: func() string { return strconv.FormatInt(at.Load(), 10) },
		parse: func(value string) (func(), error) {
			n, err := parseInteger(value, least, most)
			return func() { at.Store(n) }, err
		},
	}
}

func yesNo(name string, at *atomic.Bool) setting {
	return setting{
		name:  name,
		value: func() string { return yesOrNo(at.Load()) },
		parse: func(value string) (func(), error) {
			yes := strings.EqualFold(value, "yes")
			if !yes && !strings.EqualFold(value, "no") {
				return nil, errors.New("argument must be 'yes' or 'no'")
			}
			return func() { at.Store(yes) }, nil
		},
	}
}

func yesOrNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func parseInteger(value string, least, most int64) (int64, error) {
	n, ok := redisvalue.ParseInt([]byte(value))
	if !ok {
		return 0, errors.New("argument couldn't be parsed into an integer")
	}
	return n, within(n, least, most)
}

func within(n, least, most int64) error {
	if n < least || n > most {
		return fmt.Errorf("argument must be between %d and %d inclusive", least, most)
	}
	return nil
}

// parseMemory reads a number of bytes with Redis's units.
func parseMemory(value string, least, most int64) (int64, error) {
	errMemory := errors.New("argument must be a memory value")
	value = strings.ToLower(value)
	digits := strings.TrimRight(value, "bkmg")
	unit := map[string]int64{
		"": 1, "b": 1, "k": 1000, "kb": 1 << 10, "m": 1e6, "mb": 1 << 20, "g": 1e9, "gb": 1 << 30,
	}[value[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 63)
	if unit == 0 || err != nil || n > math.MaxInt64/uint64(unit) {
		return 0, errMemory
	}
	return int64(n) * unit, within(int64(n)*unit, least, most)
}
