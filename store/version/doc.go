// Package version is the vocabulary of Cartwheel's data model: hybrid logical clocks, dots, vector
// clocks, siblings and objects, the two ways in which objects change (Put and Merge), and their
// form on disk, on the wire and in the hands of a client.
//
// It is pure: it has no wall clock, goroutine, disk, socket or log. Time is an argument, and the
// same calls give the same results for ever, so that a simulator can drive it.
//
// It does not decide when to write, whom to ask, what a plain command means or when a dead object
// may be purged; it takes no locks, so an Object belongs to one goroutine at a time; and it does
// not judge whether an HLC that it decodes is believable: Generator.Observe does, for whoever asks.
//
// The model is that of dotted version vectors (Preguiça, Baquero et al., "Dotted Version Vectors:
// Logical Clocks for Optimistic Replication", 2010), held as an optimized observed-remove set
// (Bieniusa et al., 2012), with hybrid logical clocks (Kulkarni et al., "Logical Physical Clocks",
// 2014) in the place of counters.
package version
