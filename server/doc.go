// Package server serves Redis clients: it accepts their connections, frames
// what they send, runs each command against a key space and sends the replies,
// holding those back that are not durable yet.
//
// It does not know where keys live, how many replicas there are or how they are
// stored: that is behind the interface Keyspace, which package cluster
// satisfies.
//
// A file is a family of commands (strings.go, expire.go, scan.go, ...) or one
// part of the path that a request takes:
//
//	listen.go    accepts connections
//	loop_*.go    serve plain connections of Linux, many by one goroutine
//	stream.go    serves all others, each by a goroutine
//	session.go   one connection: takes commands out of its input, in order
//	dispatch.go  finds a command's handler and runs it
//	handlers.go  the table of handlers
//	view.go      what a handler sees of a key, and how it changes it
package server
