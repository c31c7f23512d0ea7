package redisvalue

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
)

var (
	// ErrDumpPayload says that RESTORE's payload is damaged, or of a later Redis.
	ErrDumpPayload = errors.New("DUMP payload version or checksum are wrong")
	// ErrBadData says that RESTORE's payload is intact but makes no sense, or is too long.
	ErrBadData = errors.New("Bad data format") //lint:ignore ST1005 Redis's words
	// ErrNotString says that RESTORE's payload is a list, hash or other value that is no string.
	ErrNotString = errors.New("DUMP payload is not a string")
)

// A payload is the type of the value, the value as in an RDB file, and a footer: the version of the
// format in two bytes and a checksum of all before it in eight, both little-endian.
const (
	dumpVersion    = 10 // Redis 7.0: what we write, so that 7.0 and later read it
	dumpVersionMax = 11 // Redis 7.2: what we read
	dumpFooterLen  = 2 + 8

	dumpTypeString = 0
	dumpTypeMax    = 21 // a stream; type 8 was never used
	dumpTypeUnused = 8
)

// A length begins with a byte of these kinds. The first two hold its upper bits, too; the last
// says that no length follows, but a value in the encoding that the other bits name.
const (
	lenKindMask = 0xc0
	len6Bits    = 0x00
	len14Bits   = 0x40
	len32Bits   = 0x80
	len64Bits   = 0x81
	lenEncoded  = 0xc0

	encodedInt8  = lenEncoded
	encodedInt16 = lenEncoded | 1
	encodedInt32 = lenEncoded | 2
	encodedLZF   = lenEncoded | 3
)

// Redis saves strings of up to 11 bytes as integers where it can, and tries to compress those of
// more than 20.
const (
	intTextMax   = 11
	compressFrom = 21
)

// AppendDump appends DUMP of a string to dst: the payload that Redis 7.0 writes, byte for byte, with
// rdbcompression on as it is by default. Besides dst it uses a pooled table of 256 KiB.
func AppendDump(dst, value []byte) []byte {
	start := len(dst)
	dst = append(dst, dumpTypeString)
	dst = appendDumpString(dst, value)
	dst = binary.LittleEndian.AppendUint16(dst, dumpVersion)
	return binary.LittleEndian.AppendUint64(dst, checksum(dst[start:]))
}

func appendDumpString(dst, value []byte) []byte {
	if len(value) <= intTextMax {
		if n, ok := ParseInt(value); ok && n == int64(int32(n)) {
			return appendDumpInt(dst, int32(n))
		}
	}
	if len(value) >= compressFrom {
		if packed, ok := lzfCompress(nil, value); ok {
			dst = append(dst, encodedLZF)
			dst = appendDumpLen(dst, len(packed))
			dst = appendDumpLen(dst, len(value))
			return append(dst, packed...)
		}
	}
	dst = appendDumpLen(dst, len(value))
	return append(dst, value...)
}

func appendDumpInt(dst []byte, n int32) []byte {
	switch {
	case n == int32(int8(n)):
		return append(dst, encodedInt8, byte(n))
	case n == int32(int16(n)):
		return binary.LittleEndian.AppendUint16(append(dst, encodedInt16), uint16(n))
	}
	return binary.LittleEndian.AppendUint32(append(dst, encodedInt32), uint32(n))
}

func appendDumpLen(dst []byte, n int) []byte {
	switch {
	case n < 1<<6:
		return append(dst, len6Bits|byte(n))
	case n < 1<<14:
		return append(dst, len14Bits|byte(n>>8), byte(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, len32Bits), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, len64Bits), uint64(n))
}

// ParseDump returns the string in a payload of Redis 7.2 or earlier. The checksum is always
// checked, as verifyDumpPayload does: a zero one has no special meaning. Errors are ErrDumpPayload,
// ErrNotString and ErrBadData, the last also for a value of more than valueBytesMax bytes. What it
// returns is a copy, and all that it allocates. As in Redis, bytes behind the value are ignored.
func ParseDump(b []byte, valueBytesMax int) (value []byte, err error) {
	if len(b) < dumpFooterLen {
		return nil, ErrDumpPayload
	}
	body, footer := b[:len(b)-dumpFooterLen], b[len(b)-dumpFooterLen:]
	if binary.LittleEndian.Uint16(footer) > dumpVersionMax {
		return nil, ErrDumpPayload
	}
	if binary.LittleEndian.Uint64(footer[2:]) != checksum(b[:len(b)-8]) {
		return nil, ErrDumpPayload
	}
	if len(body) == 0 || body[0] > dumpTypeMax || body[0] == dumpTypeUnused {
		return nil, ErrBadData
	}
	if body[0] != dumpTypeString {
		return nil, ErrNotString
	}
	value, ok := parseDumpString(body[1:], valueBytesMax)
	if !ok || len(value) > valueBytesMax {
		return nil, ErrBadData
	}
	return value, nil
}

func parseDumpString(b []byte, valueBytesMax int) ([]byte, bool) {
	if len(b) == 0 {
		return nil, false
	}
	switch kind, rest := b[0], b[1:]; {
	case kind == encodedInt8 && len(rest) >= 1:
		return AppendInt(nil, int64(int8(rest[0]))), true
	case kind == encodedInt16 && len(rest) >= 2:
		return AppendInt(nil, int64(int16(binary.LittleEndian.Uint16(rest)))), true
	case kind == encodedInt32 && len(rest) >= 4:
		return AppendInt(nil, int64(int32(binary.LittleEndian.Uint32(rest)))), true
	case kind == encodedLZF:
		return parseDumpLZF(rest, valueBytesMax)
	}
	size, rest, ok := parseDumpLen(b)
	if !ok || size > uint64(len(rest)) || size > uint64(valueBytesMax) {
		return nil, false
	}
	return bytes.Clone(rest[:size]), true
}

func parseDumpLZF(b []byte, valueBytesMax int) ([]byte, bool) {
	packed, b, ok := parseDumpLen(b)
	if !ok {
		return nil, false
	}
	size, b, ok := parseDumpLen(b)
	if !ok || packed > uint64(len(b)) || size == 0 || size > uint64(valueBytesMax) {
		return nil, false
	}
	return lzfDecompress(b[:packed], int(size))
}

// parseDumpLen reads a length and returns what is behind it.
func parseDumpLen(b []byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, nil, false
	}
	switch kind, rest := b[0], b[1:]; {
	case kind&lenKindMask == len6Bits:
		return uint64(kind), rest, true
	case kind&lenKindMask == len14Bits && len(rest) >= 1:
		return uint64(kind&^lenKindMask)<<8 | uint64(rest[0]), rest[1:], true
	case kind == len32Bits && len(rest) >= 4:
		return uint64(binary.BigEndian.Uint32(rest)), rest[4:], true
	case kind == len64Bits && len(rest) >= 8:
		return binary.BigEndian.Uint64(rest), rest[8:], true
	}
	return 0, nil, false
}
