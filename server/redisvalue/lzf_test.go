package redisvalue

import (
	"bytes"
	"strings"
	"testing"
)

func TestChecksumIsRedisCRC64(t *testing.T) {
	if got := checksum([]byte("123456789")); got != 0xe9c6d914c4b8d9ca {
		t.Errorf("%x", got)
	}
}

func TestLZFKeepsWhatItsBoundAllows(t *testing.T) {
	in := bytes.Repeat([]byte{0}, 1<<20)
	packed, ok := lzfCompress(nil, in)
	if !ok {
		t.Fatal("zeros are not compressed")
	}
	if out, ok := lzfDecompress(packed, len(in)); !ok || !bytes.Equal(out, in) {
		t.Error("the best compression there is is taken for a lie")
	}
}

func FuzzLZF(f *testing.F) {
	for _, s := range []string{"", "abcabcabcabcabcabcabcabc", strings.Repeat("a", 300), "aaaaaaaaaaaaaaaaaaaaaaaaaaaa b aaaaaaaaaaaaaaaaaaaaa"} {
		f.Add([]byte(s), 10)
	}
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		if size >= 0 {
			if out, ok := lzfDecompress(in, size%(1<<20)); ok && len(out) != size%(1<<20) {
				t.Fatalf("%d bytes, said to be %d", len(out), size)
			}
		}
		packed, ok := lzfCompress([]byte("before"), in)
		if !bytes.HasPrefix(packed, []byte("before")) {
			t.Fatal("what was before is lost")
		}
		packed = packed[len("before"):]
		if !ok {
			if len(packed) > 0 {
				t.Fatal("appended and refused")
			}
			return
		}
		if len(packed) > len(in)-4 {
			t.Fatalf("%d bytes became %d", len(in), len(packed))
		}
		if out, ok := lzfDecompress(packed, len(in)); !ok || !bytes.Equal(out, in) {
			t.Fatalf("%q became %q", in, out)
		}
	})
}
