package server

import (
	"crypto/rand"
	"encoding/hex"
)

// newRunID names one run of the server, as in Redis by 40 hexadecimal digits.
func newRunID() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
