// Package faults does to a cluster of real processes what may happen to it (nodes killed with
// -9, stopped, restarted, cut off from each other, their clocks put wrong) while clients work on it,
// and records what they see for the checkers of bench/check. It judges nothing itself, and knows
// nothing of Cartwheel but its commands, its INFO and its flags.
//
// A run is, in this order:
//
//  1. nodes are started, each in a network namespace of its own where this machine allows it
//  2. availability: a steady load on the nodes that stay, while others are killed or stopped
//  3. faults one after the other, chosen by a seed, while workers of all workloads go on; the last is to lose
//     a node for good
//  4. everything else is healed; when no node holds a hint for one that is there any more, VEXPLAIN of every key,
//     before a read repairs it
//  5. INCR and SET NX at full health
//  6. every key is read on every node, again and again until the nodes say the same, and explained once more
//
// Beside it there are Zombies (stories of keys that die while nodes are away) and Churn (a ring that changes).
//
// Who owns what: Run owns its goroutines, one for each worker and one for the nemesis, and returns when
// all have ended. A worker's operations are its own until then.
package faults
