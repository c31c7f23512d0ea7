// Package cluster is one node of a ring: it coordinates reads and writes over the
// replicas of a key, serves other nodes as a replica, and is what a server sees as
// the key space.
//
// Its parts decide or carry: package ring who owns what, quorum who must answer,
// member who is there, wire what nodes say to each other, repair what was missed. It
// does not know commands, connections or RESP (package server does), nor how
// objects are kept on disk (package store does).
//
// The ways through it: Coordinator.Read in read.go, Coordinator.Update in write.go,
// Coordinator.Forward in forward.go, and for other nodes Coordinator.handle in
// replica.go. What waits for others is an operation (operation.go), which moves on
// as replies are delivered (deliver.go).
package cluster
