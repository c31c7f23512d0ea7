// Package cluster coordinates reads and writes over the replicas of a key, and
// is what a server sees as the key space. For now the ring is of one node, and
// every replica is the local store.
//
// It does not know commands, connections or RESP (package server does), nor how
// objects are kept on disk (package store does).
package cluster
