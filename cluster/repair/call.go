package repair

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"cartwheel/cluster/ring"
)

// call sends a message and returns what the reply shows. Where the flush marks
// differ, it first sees to it that they no longer do: what one side has flushed
// must not come back from the other.
func (r *Repair) call(ctx context.Context, to ring.NodeID, kind byte, body func(dst []byte) []byte) (*reader, error) {
	in, err := r.callOnce(ctx, to, kind, body)
	if errors.Is(err, errMarks) {
		if err := r.agreeOnMarks(ctx, to); err != nil {
			return nil, err
		}
		in, err = r.callOnce(ctx, to, kind, body)
	}
	return in, err
}

func (r *Repair) callOnce(ctx context.Context, to ring.NodeID, kind byte, body func(dst []byte) []byte) (*reader, error) {
	msg := binary.BigEndian.AppendUint64([]byte{kind}, marksHash(r.opts.Store.FlushMarks()))
	msg = body(msg)
	reply, err := r.send(ctx, to, msg)
	if err != nil {
		return nil, err
	}
	in := &reader{rest: reply}
	status := in.byte()
	pause := time.Duration(in.uvarint()) * time.Millisecond
	if in.bad || pause > pauseMSMax*time.Millisecond {
		return nil, fmt.Errorf("the reply of %s: %w", to, errMessage)
	}
	if !urgent(kind) {
		if err := r.sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
	switch status {
	case statusOK:
		return in, nil
	case statusNotReady:
		return nil, errNotReady
	case statusMarks:
		return nil, errMarks
	case statusBusy:
		return nil, errBusy
	case statusNotOwner:
		return nil, errNotOwner
	}
	return nil, fmt.Errorf("the reply of %s: %w", to, errMessage)
}

// urgent says whether a message waits for no other work: clients wait for what it brings.
func urgent(kind byte) bool { return kind == askMarks || kind == askPurges }

// send passes a message under admission control.
func (r *Repair) send(ctx context.Context, to ring.NodeID, msg []byte) (reply []byte, err error) {
	if urgent(msg[0]) {
		r.admission.spend(messageCost + len(msg))
	} else {
		if err := r.admission.enter(ctx, messageCost+len(msg)); err != nil {
			return nil, err
		}
		defer r.admission.leave()
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.CallTimeout)
	defer cancel()
	r.counters.sent.Add(uint64(len(msg)))
	reply, err = r.opts.Peers.Call(ctx, to, msg)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", to, err)
	}
	r.counters.received.Add(uint64(len(reply)))
	r.admission.spend(len(reply))
	return reply, nil
}

// agreeOnMarks raises the flush marks of both to the higher ones.
func (r *Repair) agreeOnMarks(ctx context.Context, to ring.NodeID) error {
	own := r.opts.Store.FlushMarks()
	in, err := r.callOnce(ctx, to, askMarks, func(dst []byte) []byte { return appendMarks(dst, own) })
	if err != nil {
		return err
	}
	theirs := in.marks()
	if err := in.end(); err != nil {
		return fmt.Errorf("the flush marks of %s: %w", to, err)
	}
	return r.opts.Store.RaiseMarks(theirs)
}
