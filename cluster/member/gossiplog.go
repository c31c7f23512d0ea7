package member

import (
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	bucketMax    = 30 // lines in a burst
	bucketRefill = time.Second / 2
)

// A gossipLog takes memberlist's log lines, keeps their levels, and bounds how
// many there are: strangers cause them.
type gossipLog struct {
	out zerolog.Logger

	mu         sync.Mutex // guards what follows
	bucket     int        // lines that may be written now
	filled     time.Time
	suppressed int
}

// prefixes of memberlist's lines.
var logLevels = []struct {
	prefix string
	level  zerolog.Level
}{
	{"[DEBUG] ", zerolog.DebugLevel},
	{"[INFO] ", zerolog.InfoLevel},
	{"[WARN] ", zerolog.WarnLevel},
	{"[ERR] ", zerolog.ErrorLevel},
	{"[ERROR] ", zerolog.ErrorLevel},
	{"Err: ", zerolog.ErrorLevel},
}

// Write takes one line.
func (l *gossipLog) Write(line []byte) (int, error) {
	text, level := strings.TrimSpace(string(line)), zerolog.InfoLevel
	for _, known := range logLevels {
		if rest, found := strings.CutPrefix(text, known.prefix); found {
			text, level = rest, known.level
			break
		}
	}
	if level < l.out.GetLevel() || level < zerolog.GlobalLevel() {
		return len(line), nil
	}
	allowed, suppressed := l.allow(time.Now())
	if !allowed {
		return len(line), nil
	}
	event := l.out.WithLevel(level)
	if suppressed > 0 {
		event = event.Int("suppressed", suppressed)
	}
	if strings.Contains(text, "unacceptable label") {
		event = event.Str("because", "it comes from another cluster, or from no Cartwheel node")
	} else if strings.Contains(text, "nstalled keys could decrypt") || strings.Contains(text, "state is not encrypted") {
		event = event.Str("because", "it comes from a node with another cluster secret, or with none")
	}
	event.Msg(strings.TrimPrefix(text, "memberlist: "))
	return len(line), nil
}

// allow says whether one more line may be written, and how many were suppressed
// since the last.
func (l *gossipLog) allow(now time.Time) (allowed bool, suppressed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if refill := int(now.Sub(l.filled) / bucketRefill); refill > 0 {
		l.bucket, l.filled = min(l.bucket+refill, bucketMax), now
	}
	if l.bucket == 0 {
		l.suppressed++
		return false, 0
	}
	l.bucket--
	suppressed, l.suppressed = l.suppressed, 0
	return true, suppressed
}
