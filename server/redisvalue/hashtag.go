package redisvalue

import "bytes"

// HashTagOf returns the bytes that decide the slot of every key that pattern can match, as
// Redis's patternHashSlot finds them: the inside of the first {tag}, or the whole pattern where it
// is a plain key. It reports false where a wildcard or an escape comes first: keys of any slot may
// match.
func HashTagOf(pattern []byte) (tag []byte, ok bool) {
	plain := pattern
	if special := bytes.IndexAny(pattern, `*?[\`); special >= 0 {
		plain = pattern[:special]
	}
	if _, inside, found := bytes.Cut(plain, []byte("{")); found {
		if tag, _, found = bytes.Cut(inside, []byte("}")); found && len(tag) > 0 {
			return tag, true
		}
	}
	if len(plain) < len(pattern) {
		return nil, false
	}
	return pattern, true
}
