package member

import (
	"bytes"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memStorage is a Storage in memory.
type memStorage struct {
	mu                 sync.Mutex
	document, acceptor []byte
	fail               error // of every Save from now on
}

func (s *memStorage) Load() (document, acceptor []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.document), bytes.Clone(s.acceptor), nil
}

func (s *memStorage) SaveDocument(b []byte) error { return s.save(&s.document, b) }
func (s *memStorage) SaveAcceptor(b []byte) error { return s.save(&s.acceptor, b) }

func (s *memStorage) save(to *[]byte, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	*to = bytes.Clone(b)
	return nil
}
