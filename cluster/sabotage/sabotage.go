// Package sabotage breaks a node on purpose, in one way at a time, so that it can be shown that the
// checkers of bench/check would notice. It exists in binaries built with the tag `sabotage` only, where the
// variable CARTWHEEL_SABOTAGE names the flaw; in all others On is false at compile time, and what it
// guards is not there.
//
// It decides only whether to break something. What is broken stands where it is done right.
package sabotage

// Flaw is one way in which a node can be broken.
type Flaw string

// The flaws. cluster/sim has, for each, the checker that must find it, and bench/faults for those that real
// nodes show within seconds.
const (
	AckWithoutApply     Flaw = "ack-without-apply"      // 1 in 50: a replica acknowledges what it did not apply
	HintNotStored       Flaw = "hint-not-stored"        // a fallback acknowledges a hint that it did not keep
	HintsDropped        Flaw = "hints-dropped"          // hints are removed at replay, and go to nobody
	MergeDropsSibling   Flaw = "merge-drops-sibling"    // 1 in 10: a merge that leaves several siblings loses the oldest
	StaleWrittenBack    Flaw = "stale-written-back"     // 1 in 10: what comes replaces what is there, unmerged
	ReadRepairOff       Flaw = "read-repair-off"        // what a read found is not written to those behind
	WriteCountedTwice   Flaw = "write-counted-twice"    // a write counts its own node's acknowledgement twice
	ReadsFromOneReplica Flaw = "reads-from-one-replica" // a read is answered by one replica, whatever R is

	DotsReused           Flaw = "dots-reused"            // a node that has forgotten writes goes on under its old incarnation
	TombstonePurgedEarly Flaw = "tombstone-purged-early" // what is dead is purged after a grace of 2 s, whoever has seen it
	HintsNotFenced       Flaw = "hints-not-fenced"       // the watermark passes writes that are only in hints
	HintAfterPurge       Flaw = "hint-after-purge"       // that, and a replayed hint counts as vouched for
	StaleReadRepair      Flaw = "stale-read-repair"      // a read takes each replica's object as vouched for, and writes it back so
	FallbackAsOwner      Flaw = "fallback-as-owner"      // a strict operation counts a fallback
	AckUnsynced          Flaw = "ack-unsynced"           // --sync always acknowledges before it has synced
	VoteForgotten        Flaw = "vote-forgotten"         // votes on the ring are not stored
	DroppedEarly         Flaw = "dropped-early"          // an old owner drops a partition without bringing the owners what they lack
	TreeNotUpdated       Flaw = "tree-not-updated"       // 1 in 3: a purge leaves the hash tree as it was
	StampAnewLost        Flaw = "stamp-anew-lost"        // a write that loses against a sibling written later counts as done
	ClockPrunedEarly     Flaw = "clock-pruned-early"     // clocks are pruned at once
	FlushMarkLate        Flaw = "flush-mark-late"        // flush marks come with the next ping, after data
	LateFrameApplied     Flaw = "late-frame-applied"     // a request past its deadline is carried out
	ContextOfAnotherKey  Flaw = "context-of-another-key" // a context is accepted with any key
	TouchStamped         Flaw = "touch-stamped"          // EXPIRE and the like make a value be written anew
	DriftAccepted        Flaw = "drift-accepted"         // an HLC from the future is taken for the time
	TreesNotRebuilt      Flaw = "trees-not-rebuilt"      // after an unclean stop the hash trees begin empty
	NextNotRead          Flaw = "next-not-read"          // a strict read asks owners only, and not those to be
)

// Flaws are all of them.
func Flaws() []Flaw {
	return []Flaw{
		AckWithoutApply, HintNotStored, HintsDropped, MergeDropsSibling, StaleWrittenBack,
		ReadRepairOff, WriteCountedTwice, ReadsFromOneReplica,
		DotsReused, TombstonePurgedEarly, HintsNotFenced, HintAfterPurge, StaleReadRepair, FallbackAsOwner, AckUnsynced,
		VoteForgotten, DroppedEarly, TreeNotUpdated, StampAnewLost, ClockPrunedEarly, FlushMarkLate, LateFrameApplied,
		ContextOfAnotherKey, TouchStamped, DriftAccepted, TreesNotRebuilt, NextNotRead,
	}
}

// Variable names the flaw to a node built with the tag.
const Variable = "CARTWHEEL_SABOTAGE"
