package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A byteSize is a number of bytes, written as Redis writes it: 256MB is
// 256*2^20, as is 256m with a b; without it, k, m and g are powers of 1000.
type byteSize int64

// UnmarshalText reads a size.
func (b *byteSize) UnmarshalText(text []byte) error {
	units := []struct {
		suffix string
		bytes  int64
	}{
		{"gib", 1 << 30},
		{"mib", 1 << 20},
		{"kib", 1 << 10},
		{"gb", 1 << 30},
		{"mb", 1 << 20},
		{"kb", 1 << 10},
		{"g", 1e9},
		{"m", 1e6},
		{"k", 1e3},
		{"b", 1},
		{"", 1},
	}
	s := strings.ToLower(strings.TrimSpace(string(text)))
	for _, unit := range units {
		digits, found := strings.CutSuffix(s, unit.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/unit.bytes {
			break
		}
		*b = byteSize(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("must be a size such as 256MB, but is %q", text)
}
