package main

// clusterRow is one line of the cluster's comparison: a load on each side, and what the ratio must be.
type clusterRow struct {
	name           string
	redis, subject clusterLoad
	floor          float64
	// tail: both get half of the rate that Redis reached with its load, open loop, and the ratio is that of
	// the p99.9, Redis's to the subject's, so that more is better there too.
	tail bool
}

var (
	setWait   = clusterLoad{command: "set", pipeline: 1, wait: true}
	setWait16 = clusterLoad{command: "set", pipeline: 16, wait: true}
)

// clusterRows are in the order in which they run. What W=2 promises is what Redis promises with WAIT 1, so
// that every SET is held against that. GETs of two replicas are what that promise costs a reader, which
// Redis has nothing like: they are held against its SETs too, as issue 3 does.
var clusterRows = []clusterRow{
	{name: "GET R=1 P1", redis: clusterLoad{command: "get", pipeline: 1}, subject: clusterLoad{command: "get", pipeline: 1, prelude: "QUORUM R 1"}, floor: 0.7},
	{name: "GET R=1 P16", redis: clusterLoad{command: "get", pipeline: 16}, subject: clusterLoad{command: "get", pipeline: 16, prelude: "QUORUM R 1"}, floor: 0.9},
	{name: "GET R=2 P1", redis: setWait, subject: clusterLoad{command: "get", pipeline: 1}, floor: 0.95},
	{name: "GET R=2 P16", redis: setWait, subject: clusterLoad{command: "get", pipeline: 16}, floor: 3.5},
	{name: "SET W=2 P1", redis: setWait, subject: clusterLoad{command: "set", pipeline: 1}, floor: 0.9},
	{name: "SET W=2 P16", redis: setWait16, subject: clusterLoad{command: "set", pipeline: 16}, floor: 1.0},
	{name: "SET W=2 p99.9", redis: setWait, subject: clusterLoad{command: "set", pipeline: 1}, floor: 1.0, tail: true},
}

// loads are what both sides get; of the tail the rate is known only when it is measured. Redis as the
// subject, which checks the measurement, gets Redis's.
func (r clusterRow) loads(subjectName string) (redis, subject clusterLoad) {
	if subjectName == nameRedis {
		return r.redis, r.redis
	}
	return r.redis, r.subject
}
