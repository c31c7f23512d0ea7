package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func drawFrame(t *rapid.T) frame {
	return frame{
		id: rapid.Uint64().Draw(t, "id"), op: Op(rapid.Byte().Draw(t, "op")), flags: rapid.Byte().Draw(t, "flags"),
		epoch: rapid.Uint64().Draw(t, "epoch"), hlc: rapid.Uint64().Draw(t, "hlc"), last: rapid.Uint32().Draw(t, "last"),
		payload: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload"),
	}
}

// readFrames reads all frames of a stream, with copies of their payloads.
func readFrames(src io.Reader, frameBytesMax int) (frames []frame, reader *frameReader, err error) {
	reader = &frameReader{frameBytesMax: frameBytesMax}
	for {
		var f frame
		ok, err := reader.next(&f)
		if err != nil {
			return frames, reader, err
		}
		if ok {
			f.payload = append([]byte{}, f.payload...)
			frames = append(frames, f)
			continue
		}
		if _, err := reader.fill(src); err != nil {
			return frames, reader, err
		}
	}
}

func TestFramesComeOutAsTheyWentInHoweverTheStreamIsCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want []frame
		for range rapid.IntRange(0, 20).Draw(t, "frames") {
			f := drawFrame(t)
			cut := rapid.IntRange(0, len(f.payload)).Draw(t, "cut")
			stream = appendFrame(stream, &f, [][]byte{f.payload[:cut], f.payload[cut:]})
			f.payload = append([]byte{}, f.payload...)
			want = append(want, f)
		}
		sizes := rapid.SliceOfN(rapid.IntRange(1, 500), 1, 10).Draw(t, "reads")
		got, _, err := readFrames(&cutReader{rest: stream, sizes: sizes}, frameBytesLeast)
		if err != io.EOF {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(frame{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A cutReader reads as many bytes at a time as sizes says, in turn.
type cutReader struct {
	rest  []byte
	sizes []int
	turn  int
}

func (r *cutReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.sizes[r.turn%len(r.sizes)])], r.rest)
	r.rest = r.rest[n:]
	r.turn++
	return n, nil
}

func TestEveryPrefixOfAStreamGivesItsWholeFrames(t *testing.T) {
	var stream []byte
	var ends []int
	for i := range 4 {
		stream = appendFrame(stream, &frame{id: uint64(i)}, [][]byte{make([]byte, 10*i)})
		ends = append(ends, len(stream))
	}
	for cut := range len(stream) + 1 {
		whole := 0
		for whole < len(ends) && ends[whole] <= cut {
			whole++
		}
		got, _, err := readFrames(iotest.OneByteReader(bytes.NewReader(stream[:cut])), frameBytesLeast)
		if len(got) != whole || err != io.EOF {
			t.Fatalf("cut at %d: %d frames, want %d; %v", cut, len(got), whole, err)
		}
	}
}

func TestHostileLengthsAreRefusedBeforeAnythingIsAllocated(t *testing.T) {
	const frameBytesMax = 1 << 20
	for _, length := range []uint32{0, 1, HeaderBytes - lengthBytes - 1, frameBytesMax - lengthBytes + 1, 1 << 31, 1<<32 - 1} {
		stream := binary.BigEndian.AppendUint32(nil, length)
		_, reader, err := readFrames(bytes.NewReader(stream), frameBytesMax)
		if !errors.Is(err, errFrameLength) || len(reader.buf) > readBytesMin {
			t.Errorf("length %d: %v, and a buffer of %d", length, err, len(reader.buf))
		}
	}
	for _, length := range []uint32{HeaderBytes - lengthBytes, frameBytesMax - lengthBytes} {
		stream := append(binary.BigEndian.AppendUint32(nil, length), make([]byte, length)...)
		if frames, _, err := readFrames(bytes.NewReader(stream), frameBytesMax); len(frames) != 1 || err != io.EOF {
			t.Errorf("length %d: %d frames, %v", length, len(frames), err)
		}
	}
}

func TestALongFrameTakesMemoryAsItArrivesAndGivesItBack(t *testing.T) {
	const long = 8 << 20
	stream := appendFrame(nil, &frame{}, [][]byte{make([]byte, long)})
	stream = appendFrame(stream, &frame{}, nil)
	src := &cutReader{rest: stream, sizes: []int{5000, 1, 20_000}}
	reader := &frameReader{frameBytesMax: 2 * long}
	var f frame
	arrived, frames := 0, 0
	for {
		n, err := reader.fill(src)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		arrived += n
		if limit := 2*arrived + readBytesMin; len(reader.buf) > limit {
			t.Fatalf("a buffer of %d for %d bytes that have arrived", len(reader.buf), arrived)
		}
		for {
			ok, err := reader.next(&f)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			frames++
		}
	}
	if frames != 2 || len(reader.buf) > readBytesKeep {
		t.Errorf("%d frames; the buffer keeps %d bytes", frames, len(reader.buf))
	}
}

func TestAReaderThatGetsNothingGivesUp(t *testing.T) {
	reader := &frameReader{frameBytesMax: frameBytesLeast}
	if _, err := reader.fill(emptyReader{}); err != io.ErrNoProgress {
		t.Error(err)
	}
}

type emptyReader struct{}

func (emptyReader) Read([]byte) (int, error) { return 0, nil }

func TestStampTurnsPointsInTimeIntoWhatIsLeft(t *testing.T) {
	const now = 1<<33 - 100 // the low half overflows in 100 ms
	cases := []struct {
		deadline int64
		left     uint32
	}{{now + 1, 1}, {now + 5000, 5000}, {now, 0}, {now - 1, 0}, {now - 1e7, 0}}
	buf := appendFrame(nil, &frame{flags: flagClock}, nil)
	for _, c := range cases {
		buf = appendFrame(buf, &frame{hlc: 7, last: uint32(c.deadline)}, [][]byte{make([]byte, 13)})
	}
	stamp(buf, now)
	frames, _, _ := readFrames(bytes.NewReader(buf), frameBytesLeast)
	if frames[0].hlc != now {
		t.Errorf("the clock is %d", frames[0].hlc)
	}
	for i, c := range cases {
		if f := frames[i+1]; f.last != c.left || f.hlc != 7 {
			t.Errorf("deadline %d: %d ms left, HLC %d", c.deadline, f.last, f.hlc)
		}
	}
}

// FuzzFrames reads arbitrary bytes in two ways: the frames are the same, and
// what comes out would be written as it was read.
func FuzzFrames(f *testing.F) {
	f.Add(appendFrame(nil, &frame{id: 1, op: 2, flags: flagReply, payload: nil}, [][]byte{[]byte("payload")}), uint8(3))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0}, uint8(1))
	f.Add([]byte{0, 0, 0, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, size uint8) {
		whole, _, errWhole := readFrames(bytes.NewReader(stream), frameBytesLeast)
		parts, reader, errParts := readFrames(&cutReader{rest: stream, sizes: []int{int(size) + 1}}, frameBytesLeast)
		if !errors.Is(errWhole, errParts) {
			t.Fatalf("%v, in parts %v", errWhole, errParts)
		}
		if diff := cmp.Diff(whole, parts, cmp.AllowUnexported(frame{})); diff != "" {
			t.Fatal(diff)
		}
		if len(reader.buf) > readBytesFull {
			t.Fatalf("a buffer of %d bytes", len(reader.buf))
		}
		var again []byte
		for i := range whole {
			again = appendFrame(again, &whole[i], [][]byte{whole[i].payload})
		}
		if !bytes.HasPrefix(stream, again) {
			t.Fatal("written again the frames are others")
		}
	})
}

func TestFields(t *testing.T) {
	payload := AppendBytes([]byte{9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7}, []byte("abc"))
	payload = binary.AppendUvarint(payload, 300)
	take := func(b []byte) (f Fields) {
		f = FieldsOf(b)
		if f.Uint8() != 9 || f.Uint32() != 8 || f.Uint64() != 7 || string(f.Bytes()) != "abc" || f.Uvarint() != 300 {
			f.bad = true
		}
		return f
	}
	f := take(payload)
	if f.Err() != nil || f.Rest() != 0 {
		t.Errorf("%v, %d bytes left", f.Err(), f.Rest())
	}
	for cut := range payload {
		f := take(payload[:cut:cut])
		if !errors.Is(f.Err(), ErrFields) {
			t.Errorf("cut at %d: no error", cut)
		}
	}
	long := FieldsOf([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2})
	if long.Bytes() != nil || long.Err() == nil || long.Uint8() != 0 {
		t.Error("a length beyond the payload is taken")
	}
}
