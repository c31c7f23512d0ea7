package server

import (
	"errors"
	"strings"
)

// keyspaceEventsRow accepts the flags of Redis. Nothing is published yet, for
// there is no publish and subscribe.
func (s *Server) keyspaceEventsRow() setting {
	at := &s.settings.keyspaceEvents
	return setting{
		name:  "notify-keyspace-events",
		value: func() string { return *at.Load() },
		parse: func(value string) (func(), error) {
			flags, err := canonicalEvents(value)
			return func() { at.Store(&flags) }, err
		},
	}
}

const (
	eventClasses = "g$lshzxetd" // what A stands for
	eventFlags   = "AKEmn" + eventClasses
)

// canonicalEvents puts flags in the order in which Redis shows them.
func canonicalEvents(value string) (string, error) {
	for _, flag := range value {
		if !strings.ContainsRune(eventFlags, flag) {
			//lint:ignore ST1005 The words are Redis's.
			return "", errors.New("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
		}
	}
	has := func(flag rune) bool {
		return strings.ContainsRune(value, flag) || strings.ContainsRune(value, 'A') && strings.ContainsRune(eventClasses, flag)
	}
	var classes strings.Builder
	for _, flag := range eventClasses {
		if has(flag) {
			classes.WriteRune(flag)
		}
	}
	canonical := classes.String()
	switch {
	case canonical == eventClasses:
		canonical = "A"
	case has('n'):
		canonical += "n"
	}
	for _, flag := range "KEm" {
		if has(flag) {
			canonical += string(flag)
		}
	}
	return canonical, nil
}
