package redisvalue

import "bytes"

// Glob reports whether s matches pattern as Redis's stringmatchlen has it: '*', '?', classes like
// [a-c] and [^x], and backslash escapes, over bytes. With nocase, ASCII letters match in either
// case, except those escaped inside a class.
//
// As in Redis the empty string matches only the empty pattern, not "*"; KEYS and SCAN do not ask
// for a pattern of just "*".
//
// It neither recurses nor allocates. When the part behind a '*' cannot match, only that '*' is
// stretched: every element but '*' takes exactly one byte, so stretching an earlier one could not
// help. The time is at most len(pattern)*len(s), never exponential; callers bound both.
func Glob(pattern, s []byte, nocase bool) bool {
	p, i := 0, 0
	star, starAt := -1, 0 // what follows the last '*' seen, and where in s it is being tried
	for p < len(pattern) && i < len(s) {
		if pattern[p] == '*' {
			p = skipStars(pattern, p)
			if p == len(pattern) {
				return true
			}
			star, starAt = p, i
		}
		next, ok := matchElement(pattern, p, s[i], nocase)
		if ok {
			p, i = next, i+1
			if i == len(s) {
				// Trying again from further on would run out of bytes even sooner.
				return skipStars(pattern, p) == len(pattern)
			}
			if p < len(pattern) {
				continue
			}
		}
		if star < 0 {
			return false
		}
		if starAt = nextStart(pattern[star], s, starAt+1, nocase); starAt < 0 {
			return false
		}
		p, i = star, starAt
	}
	return p == len(pattern) && i == len(s)
}

func skipStars(pattern []byte, p int) int {
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p
}

// nextStart returns the first place in s, from at on, where an element beginning with c can
// match, or -1: a search for the byte where the element is a plain one.
func nextStart(c byte, s []byte, at int, nocase bool) int {
	if at >= len(s) {
		return -1
	}
	if nocase || c == '?' || c == '[' || c == '\\' {
		return at
	}
	skip := bytes.IndexByte(s[at:], c)
	if skip < 0 {
		return -1
	}
	return at + skip
}

// matchElement matches c against the one element of pattern that begins at p, which is not a '*',
// and returns where the next element begins.
func matchElement(pattern []byte, p int, c byte, nocase bool) (next int, ok bool) {
	switch pattern[p] {
	case '?':
		return p + 1, true
	case '[':
		return matchClass(pattern, p+1, c, nocase)
	case '\\':
		if p+1 < len(pattern) {
			p++
		}
	}
	return p + 1, equalByte(pattern[p], c, nocase)
}

// matchClass matches c against the class whose first byte behind the '[' is at p. The end of the
// pattern closes a class that nothing else does. A ']' that ends a range belongs to the range.
func matchClass(pattern []byte, p int, c byte, nocase bool) (next int, ok bool) {
	negated := p < len(pattern) && pattern[p] == '^'
	if negated {
		p++
	}
	found := false
	for p < len(pattern) && pattern[p] != ']' {
		switch rest := pattern[p:]; {
		case rest[0] == '\\' && len(rest) >= 2:
			found = found || rest[1] == c
			p += 2
		case len(rest) >= 3 && rest[1] == '-':
			found = found || inRange(rest[0], rest[2], c, nocase)
			p += 3
		default:
			found = found || equalByte(rest[0], c, nocase)
			p++
		}
	}
	if p < len(pattern) {
		p++
	}
	return p, found != negated
}

// inRange compares as C's signed char does: bytes from 0x80 on lie below the ASCII ones. The ends
// are put in order before their case is folded, as Redis does.
func inRange(from, to, c byte, nocase bool) bool {
	if int8(from) > int8(to) {
		from, to = to, from
	}
	if nocase {
		from, to, c = lower(from), lower(to), lower(c)
	}
	return int8(c) >= int8(from) && int8(c) <= int8(to)
}

func equalByte(a, b byte, nocase bool) bool {
	return a == b || nocase && lower(a) == lower(b)
}
