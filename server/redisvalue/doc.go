// Package redisvalue knows what Redis does to string values and to patterns: integers and long
// doubles as text, bits and bitfields, the longest common subsequence, globs, and the serialized
// form of DUMP. Everything in it is a pure function of its arguments and safe for concurrent use.
//
// It knows no replies, no keys and no commands, and does no I/O: argument counts, options, wire
// text and what a missing key means are its callers' business. Its errors carry Redis's words
// without the "ERR " prefix, so that a caller can map them by identity.
//
// Behaviour follows Redis 7.2 and is checked against a running redis-server by the tests.
package redisvalue
