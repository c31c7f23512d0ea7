package server

import (
	"crypto/rand"
	"encoding/hex"
	"sync/atomic"
	"time"
)

func newRunID() string {
	var b [20]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

type settings struct {
	maxClients atomic.Int64
	protected  atomic.Bool
	timeoutS   atomic.Int64
}

type slowlog struct{ thresholdNS atomic.Int64 }

func (l *slowlog) add(s *session, took time.Duration) {}

type latency struct{}

var connectionHandlers, clientHandlers, serverHandlers, configHandlers, commandHandlers,
	introspectionHandlers map[string]handler
