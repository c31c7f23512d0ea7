package preload

// KeyMax bounds the number of keys: their names have twelve digits.
const KeyMax = 1_000_000_000_000

// Key is the name that redis-benchmark gives to its random number i.
func Key(i int) string { return string(AppendKey(nil, i)) }

// AppendKey appends Key(i), 16 bytes, to dst.
func AppendKey(dst []byte, i int) []byte {
	const digits = 12
	dst = append(dst, "key:000000000000"...)
	for at := len(dst) - 1; at >= len(dst)-digits && i > 0; at-- {
		dst[at] += byte(i % 10)
		i /= 10
	}
	return dst
}

// alphabet has 64 letters: a value compresses no better than redis-benchmark's own.
const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"

// AppendValue appends the value of Key(i), n bytes, to dst. Values of different keys differ.
func AppendValue(dst []byte, i, n int) []byte {
	const lettersPerWord = 64 / 6
	state := uint64(i)
	for n > 0 {
		// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
		state += 0x9e3779b97f4a7c15
		word := state
		word = (word ^ word>>30) * 0xbf58476d1ce4e5b9
		word = (word ^ word>>27) * 0x94d049bb133111eb
		word ^= word >> 31
		for range min(n, lettersPerWord) {
			dst = append(dst, alphabet[word&63])
			word >>= 6
		}
		n -= lettersPerWord
	}
	return dst
}
