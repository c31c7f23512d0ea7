package resp

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWriterShapes(t *testing.T) {
	for _, c := range []struct {
		name         string
		write        func(*Writer)
		resp2, resp3 string // "" is resp2's
	}{
		{"ok", func(w *Writer) { w.OK() }, "+OK\r\n", ""},
		{"simple", func(w *Writer) { w.Simple("a\r\nb") }, "+a  b\r\n", ""},
		{"error", func(w *Writer) { w.Error("ERR no\r\n+OK") }, "-ERR no  +OK\r\n", ""},
		{"int", func(w *Writer) { w.Int(9) }, ":9\r\n", ""},
		{"two digits", func(w *Writer) { w.Int(10) }, ":10\r\n", ""},
		{"negative", func(w *Writer) { w.Int(-1) }, ":-1\r\n", ""},
		{"least int", func(w *Writer) { w.Int(math.MinInt64) }, ":-9223372036854775808\r\n", ""},
		{"bulk", func(w *Writer) { w.Bulk([]byte("a\r\n\x00")) }, "$4\r\na\r\n\x00\r\n", ""},
		{"empty bulk", func(w *Writer) { w.Bulk(nil) }, "$0\r\n\r\n", ""},
		{"bulk string", func(w *Writer) { w.BulkString("ten digits") }, "$10\r\nten digits\r\n", ""},
		{"null", func(w *Writer) { w.Null() }, "$-1\r\n", "_\r\n"},
		{"null array", func(w *Writer) { w.NullArray() }, "*-1\r\n", "_\r\n"},
		{"array", func(w *Writer) { w.Array(12) }, "*12\r\n", ""},
		{"empty array", func(w *Writer) { w.Array(0) }, "*0\r\n", ""},
		{"map", func(w *Writer) { w.Map(7) }, "*14\r\n", "%7\r\n"},
		{"set", func(w *Writer) { w.Set(2) }, "*2\r\n", "~2\r\n"},
		{"push", func(w *Writer) { w.Push(3) }, "*3\r\n", ">3\r\n"},
		{"true", func(w *Writer) { w.Bool(true) }, ":1\r\n", "#t\r\n"},
		{"false", func(w *Writer) { w.Bool(false) }, ":0\r\n", "#f\r\n"},
		{"double", func(w *Writer) { w.Double(1.5) }, "$3\r\n1.5\r\n", ",1.5\r\n"},
		{"infinity", func(w *Writer) { w.Double(math.Inf(-1)) }, "$4\r\n-inf\r\n", ",-inf\r\n"},
		{"verbatim", func(w *Writer) { w.Verbatim("txt", "a\r\nb") }, "$4\r\na\r\nb\r\n", "=8\r\ntxt:a\r\nb\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.resp3 == "" {
				c.resp3 = c.resp2
			}
			for resp3, want := range map[bool]string{false: c.resp2, true: c.resp3} {
				w := Writer{Buf: []byte("before"), RESP3: resp3}
				c.write(&w)
				if got := string(w.Buf); got != "before"+want {
					t.Errorf("RESP3 %v: %q, want %q behind what was there", resp3, got, want)
				}
			}
		})
	}
}

func TestDoublesHaveRedisLayout(t *testing.T) {
	for want, f := range map[string]float64{
		"0": 0, "-0": math.Copysign(0, -1), "nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1),
		"1": 1, "-3": -3, "3.5": 3.5, "-0.1": -0.1, "100000": 1e5, "4611686018427387904": 1 << 62,
		"1e+20": 1e20, "1e+22": 1e22,
		"0.000001": 1e-6, "1e-7": 1e-7, "0.0012345678901234567": 0.0012345678901234567, "1.2345e-5": 1.2345e-5,
		"5e-324": 5e-324, "1.7976931348623157e+308": math.MaxFloat64,
		"123456789012345680000": 123456789012345680000,
	} {
		if got := string(appendDouble(nil, f)); got != want {
			t.Errorf("%v is printed %s, want %s", f, got, want)
		}
	}
}

func TestDoublesReadBackAsTheyWere(t *testing.T) {
	check := func(t rapid.TB, f float64) {
		text := appendDouble(nil, f)
		if math.IsNaN(f) {
			return // in the table
		}
		back, err := strconv.ParseFloat(string(text), 64)
		if err != nil || back != f || math.Signbit(back) != math.Signbit(f) {
			t.Fatalf("%v is printed %s and reads back as %v: %v", f, text, back, err)
		}
		if len(text) > doubleBytesMax {
			t.Fatalf("%v has %d characters: %s", f, len(text), text)
		}
		// The digits are the shortest, unless it is a whole number.
		if f != math.Trunc(f) && digits(string(text)) != digits(strconv.FormatFloat(f, 'e', -1, 64)) {
			t.Fatalf("%v is printed %s", f, text)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, math.Float64frombits(rapid.Uint64().Draw(t, "bits")))
		scaled := float64(rapid.Int64().Draw(t, "digits")) * math.Pow10(rapid.IntRange(-30, 10).Draw(t, "exponent"))
		check(t, scaled)
	})
}

// digits is a number without sign, point, exponent and outer zeros.
func digits(text string) string {
	mantissa, _, _ := strings.Cut(text, "e")
	return strings.Trim(strings.NewReplacer("-", "", ".", "").Replace(mantissa), "0")
}

func TestWriterAllocatesNothingButItsBuffer(t *testing.T) {
	w := Writer{Buf: make([]byte, 0, 1<<10)}
	value := bytes.Repeat([]byte{'x'}, 100)
	if n := testing.AllocsPerRun(100, func() {
		w.Buf = w.Buf[:0]
		w.OK()
		w.Int(123456)
		w.Bulk(value)
		w.Double(0.1)
		w.Error("ERR syntax error")
		w.Map(3)
		w.Verbatim("txt", "text")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
