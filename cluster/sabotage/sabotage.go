// Package sabotage breaks a node on purpose, in one way at a time, so that it can be shown that the
// checkers of bench/check would notice. It exists in binaries built with the tag `sabotage` only, where the
// variable CARTWHEEL_SABOTAGE names the flaw; in all others On is false at compile time, and what it
// guards is not there.
//
// It decides only whether to break something. What is broken stands where it is done right.
package sabotage

// Flaw is one way in which a node can be broken.
type Flaw string

// The flaws. bench/faults has, for each, the checker that must find it.
const (
	AckWithoutApply     Flaw = "ack-without-apply"      // 1 in 50: a replica acknowledges what it did not apply
	HintNotStored       Flaw = "hint-not-stored"        // a fallback acknowledges a hint that it did not keep
	HintsDropped        Flaw = "hints-dropped"          // hints are removed at replay, and go to nobody
	MergeDropsSibling   Flaw = "merge-drops-sibling"    // 1 in 10: a merge that leaves several siblings loses the oldest
	StaleWrittenBack    Flaw = "stale-written-back"     // 1 in 10: what comes replaces what is there, unmerged
	ReadRepairOff       Flaw = "read-repair-off"        // what a read found is not written to those behind
	WriteCountedTwice   Flaw = "write-counted-twice"    // a write counts its own node's acknowledgement twice
	ReadsFromOneReplica Flaw = "reads-from-one-replica" // a read is answered by one replica, whatever R is
)

// Flaws are all of them.
func Flaws() []Flaw {
	return []Flaw{
		AckWithoutApply, HintNotStored, HintsDropped, MergeDropsSibling, StaleWrittenBack,
		ReadRepairOff, WriteCountedTwice, ReadsFromOneReplica,
	}
}

// Variable names the flaw to a node built with the tag.
const Variable = "CARTWHEEL_SABOTAGE"
