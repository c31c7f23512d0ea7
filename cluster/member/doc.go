// Package member keeps the nodes of a cluster of one mind: which ring document is
// committed (agreement), who there is and at what address (gossip), and who
// answers at this moment (liveness).
//
// It does not compute a document (package ring does), carry requests between
// nodes (package wire does) or decide who serves one (package cluster does). Who
// is up never changes who owns what.
package member
