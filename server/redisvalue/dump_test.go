package redisvalue_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc64"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"cartwheel/server/redisvalue"
)

const valueMax = 1 << 20

// seal adds the footer of a version to a payload, right as to its checksum.
func seal(version uint16, body ...byte) []byte {
	b := binary.LittleEndian.AppendUint16(body, version)
	table := crc64.MakeTable(0x95ac9329ac4bc9b5)
	return binary.LittleEndian.AppendUint64(b, ^crc64.Update(^uint64(0), table, b))
}

func TestDumpIsWhatRedisWrites(t *testing.T) {
	// As redis-server 7.0.15 printed them.
	for value, want := range map[string]string{
		"10":    "\x00\xc0\n\n\x00n\x9fWE\x0e\xaec\xbb",
		"hello": "\x00\x05hello\n\x00cr\xdfve4 \n",
	} {
		if got := redisvalue.AppendDump([]byte("x"), []byte(value)); string(got) != "x"+want {
			t.Errorf("DUMP of %q: %q, want %q", value, got[1:], want)
		}
	}
}

func TestParseDumpTakesEveryEncoding(t *testing.T) {
	long := strings.Repeat("v", 300)
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"empty":            {[]byte{0, 0}, ""},
		"6 bits":           {[]byte{0, 2, 'a', 'b'}, "ab"},
		"14 bits":          {append([]byte{0, 0x41, 300 - 256}, long...), long},
		"32 bits":          {append([]byte{0, 0x80, 0, 0, 1, 300 - 256}, long...), long},
		"64 bits":          {append([]byte{0, 0x81, 0, 0, 0, 0, 0, 0, 1, 300 - 256}, long...), long},
		"int8":             {[]byte{0, 0xc0, 0x80}, "-128"},
		"int16":            {[]byte{0, 0xc1, 0xff, 0x7f}, "32767"},
		"int32":            {[]byte{0, 0xc2, 0, 0, 0, 0x80}, "-2147483648"},
		"lzf":              {[]byte{0, 0xc3, 5, 10, 0, 'a', 0xe0, 0, 0}, strings.Repeat("a", 10)},
		"more than needed": {[]byte{0, 1, 'a', 'b', 'c'}, "a"},
	} {
		for _, version := range []uint16{0, 6, 9, 10, 11} {
			got, err := redisvalue.ParseDump(seal(version, bytes.Clone(c.body)...), valueMax)
			if err != nil || string(got) != c.want {
				t.Errorf("%s, version %d: %q, %v; want %q", name, version, got, err, c.want)
			}
		}
	}
}

func TestParseDumpRefuses(t *testing.T) {
	zeroChecksum := seal(10, 0, 1, 'a')
	clear(zeroChecksum[len(zeroChecksum)-8:])
	for name, c := range map[string]struct {
		payload []byte
		want    error
	}{
		"nothing":               {nil, redisvalue.ErrDumpPayload},
		"less than a footer":    {make([]byte, 9), redisvalue.ErrDumpPayload},
		"a later version":       {seal(12, 0, 1, 'a'), redisvalue.ErrDumpPayload},
		"no checksum":           {zeroChecksum, redisvalue.ErrDumpPayload},
		"a footer alone":        {seal(10), redisvalue.ErrBadData},
		"no value":              {seal(10, 0), redisvalue.ErrBadData},
		"an unknown type":       {seal(10, 22), redisvalue.ErrBadData},
		"the unused type":       {seal(10, 8), redisvalue.ErrBadData},
		"a list":                {seal(10, 1, 1, 1, 'a'), redisvalue.ErrNotString},
		"a stream":              {seal(11, 21), redisvalue.ErrNotString},
		"a cut string":          {seal(10, 0, 2, 'a'), redisvalue.ErrBadData},
		"a cut integer":         {seal(10, 0, 0xc2, 1, 2, 3), redisvalue.ErrBadData},
		"a cut length":          {seal(10, 0, 0x40), redisvalue.ErrBadData},
		"an unknown length":     {seal(10, 0, 0x82, 0), redisvalue.ErrBadData},
		"an unknown encoding":   {seal(10, 0, 0xc4, 0), redisvalue.ErrBadData},
		"a huge length":         {seal(10, 0, 0x81, 255, 255, 255, 255, 255, 255, 255, 255), redisvalue.ErrBadData},
		"too long":              {seal(10, append([]byte{0, 0x80, 0, 0x10, 0, 1}, make([]byte, valueMax+1)...)...), redisvalue.ErrBadData},
		"lzf of nothing":        {seal(10, 0, 0xc3, 0, 0), redisvalue.ErrBadData},
		"lzf shorter than said": {seal(10, 0, 0xc3, 5, 11, 0, 'a', 0xe0, 0, 0), redisvalue.ErrBadData},
		"lzf longer than said":  {seal(10, 0, 0xc3, 5, 9, 0, 'a', 0xe0, 0, 0), redisvalue.ErrBadData},
		"lzf from before":       {seal(10, 0, 0xc3, 5, 10, 0, 'a', 0xe0, 0, 1), redisvalue.ErrBadData},
		"lzf cut":               {seal(10, 0, 0xc3, 4, 10, 0, 'a', 0xe0, 0), redisvalue.ErrBadData},
	} {
		if got, err := redisvalue.ParseDump(c.payload, valueMax); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %d bytes, %v; want %v", name, len(got), err, c.want)
		}
	}
}

func TestParseDumpDoesNotAllocateForALie(t *testing.T) {
	lie := seal(10, 0, 0xc3, 3, 0x80, 0, 0x0f, 0, 0, 0xe0, 0xff, 0) // 3 bytes said to be 960 KiB
	if n := testing.AllocsPerRun(10, func() { _, _ = redisvalue.ParseDump(lie, valueMax) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// dumpSample returns a value of one of the kinds that DUMP treats differently.
func dumpSample(r *rand.Rand) []byte {
	switch r.IntN(6) {
	case 0:
		bits := r.IntN(64)
		return redisvalue.AppendInt(nil, int64(r.Uint64())>>bits)
	case 1:
		edges := []int64{math.MinInt8, math.MaxInt8, math.MinInt16, math.MaxInt16, math.MinInt32, math.MaxInt32}
		return redisvalue.AppendInt(nil, edges[r.IntN(len(edges))]+int64(r.IntN(3)-1))
	case 2:
		return randomBytes(r, 70, 2)
	case 3:
		return randomBytes(r, 400, 3)
	case 4:
		return randomBytes(r, 20000, 256)
	}
	// Repetitions of a few random pieces, at all distances.
	var b []byte
	pieces := [][]byte{randomBytes(r, 20, 256), randomBytes(r, 400, 256), randomBytes(r, 9000, 256), bytes.Repeat([]byte{7}, r.IntN(300))}
	for range r.IntN(12) {
		b = append(b, pieces[r.IntN(len(pieces))]...)
		b = append(b, randomBytes(r, 4, 256)...)
	}
	return b
}

func TestDumpAgreesWithRedis(t *testing.T) {
	client := startRedis(t)
	ctx := context.Background()
	r := newRand(t)
	for range 4000 {
		value := dumpSample(r)
		if err := client.Set(ctx, "k", value, 0).Err(); err != nil {
			t.Fatal(err)
		}
		want, err := client.Dump(ctx, "k").Result()
		if err != nil {
			t.Fatal(err)
		}
		got := redisvalue.AppendDump(nil, value)
		if string(got) != want {
			t.Fatalf("DUMP of %q differs:\n got %x\nwant %x", value, got, want)
		}
		back, err := redisvalue.ParseDump(got, len(value))
		if err != nil || !bytes.Equal(back, value) {
			t.Fatalf("ParseDump of %x: %x, %v", got, back, err)
		}
	}
}

// What Redis refuses we refuse, and what we restore from a damaged payload Redis restores the same.
// Redis restores a little more: a value may reach into the footer, and 7.0 takes odd lengths of LZF.
func TestParseDumpAgreesWithRestore(t *testing.T) {
	client := startRedis(t)
	ctx := context.Background()
	r := newRand(t)
	for i := range 4000 {
		sample := dumpSample(r)
		payload := redisvalue.AppendDump(nil, sample[:min(len(sample), 500)])
		body := payload[:len(payload)-10]
		for range r.IntN(3) {
			body[1+r.IntN(min(len(body)-1, 8))] = byte(r.IntN(256))
		}
		payload = seal(uint16(r.IntN(11)), body...)
		got, err := redisvalue.ParseDump(payload, valueMax)
		if err != nil {
			continue
		}
		key := strconv.Itoa(i)
		if err := client.Restore(ctx, key, 0, string(payload)).Err(); err != nil {
			fail(t, got, err, "RESTORE %x", payload)
		}
		if want := client.Get(ctx, key).Val(); string(got) != want {
			fail(t, got, []byte(want), "RESTORE %x", payload)
		}
	}
}

func FuzzParseDump(f *testing.F) {
	for _, value := range []string{"", "12", "-70000", "hello", strings.Repeat("ab", 300)} {
		f.Add(redisvalue.AppendDump(nil, []byte(value)), 1000)
	}
	f.Fuzz(func(t *testing.T, b []byte, valueBytesMax int) {
		if len(b) < 11 || valueBytesMax < 0 {
			return
		}
		valueBytesMax %= valueMax
		for _, payload := range [][]byte{b, seal(10, bytes.Clone(b[:len(b)-10])...)} {
			value, err := redisvalue.ParseDump(payload, valueBytesMax)
			if err != nil {
				continue
			}
			if len(value) > valueBytesMax {
				t.Fatalf("%d bytes, allowed %d", len(value), valueBytesMax)
			}
			again, err := redisvalue.ParseDump(redisvalue.AppendDump(nil, value), valueBytesMax)
			if err != nil || !bytes.Equal(again, value) {
				t.Fatalf("%q became %q, %v", value, again, err)
			}
		}
	})
}
