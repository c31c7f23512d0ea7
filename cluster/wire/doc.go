// Package wire is the peer stream: it carries requests from one node to another
// and the replies back, framed, many at once over few connections.
//
// It does not know what a request means, which node to ask, who is alive, what
// a cluster or its ring is, or how to listen; and where it is not run over TLS
// it neither hides what it carries nor protects it from who sits in between.
//
// # Outline
//
//  1. A Link leads to one peer. For each lane it keeps one connection, which it
//     dials again for ever when it breaks (lane.go). Both sides shake hands
//     before any frame is taken (handshake.go).
//  2. Send appends a frame to the lane's outbox and a slot to its table of
//     requests in flight (inflight.go). Flush writes all that was appended, by
//     one write of the caller where the socket takes it at once (outbox.go). A
//     connection that a poller reads is out of Go's own (polled.go, bare_linux.go).
//  3. On the other side Serve reads once, and gives all the requests that were
//     in it to a Handler as one Batch. The replies go out by one write after
//     Handle has returned. What takes longer is deferred (responder.go).
//  4. The lane's reader matches replies with slots and delivers all those of
//     one read together. A sweep delivers the slots whose time is up (sweep.go),
//     the end of the connection those that are left. Whoever takes the slot
//     from the table, under the lane's lock, delivers its token; so each is
//     delivered exactly once.
//
// # Time
//
// A request bears how long its sender still gives it, put in when it is
// written. Every few milliseconds the sender's clock goes along, so that the
// receiver knows how long what it reads was under way, in the buffers of either
// system, without comparing clocks (transit.go). What is past its deadline is
// not handed over: a node that was stopped does not carry out, when it goes on,
// what nobody waits for any more.
package wire
