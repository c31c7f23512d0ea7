package resp

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The laws run in a second. The command line's -rapid.checks outranks this.
func init() {
	if err := flag.Set("rapid.checks", "500"); err != nil {
		panic(err)
	}
}

// parse feeds the stream to a fresh Reader in pieces and returns copies of all commands. cuts holds where
// pieces end; it must rise. A piece that has no room in one Buffer is fed in several.
func parse(stream []byte, lim *Limits, cuts []int) (commands [][][]byte, err error) {
	var r Reader
	begin := 0
	for _, end := range append(slices.Clone(cuts), len(stream)) {
		for piece := stream[begin:end]; len(piece) > 0; {
			n := copy(r.Buffer(lim), piece)
			r.Wrote(n)
			piece = piece[n:]
			var taken [][][]byte // held until the next Buffer, as the server does
			for {
				args, nextErr := r.Next(lim)
				if nextErr != nil {
					err = nextErr
				}
				if args == nil {
					break
				}
				taken = append(taken, args)
			}
			for _, args := range taken {
				commands = append(commands, copyArgs(args))
			}
			if r.Buffered() == 0 && len(piece)%2 == 0 {
				r.Release() // sometimes: it must not matter
			}
		}
		begin = end
	}
	return commands, err
}

func copyArgs(args [][]byte) [][]byte {
	c := make([][]byte, len(args))
	for i := range args {
		c[i] = bytes.Clone(args[i])
		if c[i] == nil {
			c[i] = []byte{}
		}
	}
	return c
}

func multibulk(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}

func sameCommands(a, b [][][]byte) bool {
	return slices.EqualFunc(a, b, func(x, y [][]byte) bool { return slices.EqualFunc(x, y, bytes.Equal) })
}

func everyByte(n int) []int {
	cuts := make([]int, 0, n)
	for i := 1; i < n; i++ {
		cuts = append(cuts, i)
	}
	return cuts
}

func TestProtocolErrorsAreRedisOnesAndFinal(t *testing.T) {
	authenticated, unauthenticated := DefaultLimits(), DefaultLimits()
	unauthenticated.Unauthenticated = true
	small := DefaultLimits()
	small.RequestBytesMax, small.ElementsMax, small.BulkBytesMax = 100, 3, 60
	inlineMax := authenticated.InlineBytesMax
	for _, c := range []struct {
		name, stream string
		lim          *Limits
		commands     int // before the error
		text         string
	}{
		{"redcon panics", "*1\r\n$9223372036854775807\r\n", &authenticated, 0, "invalid bulk length"},
		{"redcon spins", "*9223372036854775807\r\n", &authenticated, 0, "invalid multibulk length"},
		{"count beyond 64 bits", "*92233720368547758080\r\n", &authenticated, 0, "invalid multibulk length"},
		{"count beyond the limit", "*1048577\r\n", &authenticated, 0, "invalid multibulk length"},
		{"count that is no number", "*x\r\n", &authenticated, 0, "invalid multibulk length"},
		{"count missing", "*\r\n", &authenticated, 0, "invalid multibulk length"},
		{"count with a plus", "*+1\r\n", &authenticated, 0, "invalid multibulk length"},
		{"count with a zero", "*01\r\n", &authenticated, 0, "invalid multibulk length"},
		{"count with a space", "*1 \r\n", &authenticated, 0, "invalid multibulk length"},
		{"count minus nothing", "*-\r\n", &authenticated, 0, "invalid multibulk length"},
		{"count behind a command", multibulk("PING") + "*3000000000\r\n", &authenticated, 1, "invalid multibulk length"},
		{"configured count", "*4\r\n", &small, 0, "invalid multibulk length"},
		{"length beyond the limit", "*1\r\n$536870913\r\n", &authenticated, 0, "invalid bulk length"},
		{"length below zero", "*1\r\n$-1\r\n", &authenticated, 0, "invalid bulk length"},
		{"length that is no number", "*1\r\n$x\r\n", &authenticated, 0, "invalid bulk length"},
		{"length missing", "*1\r\n$\r\n", &authenticated, 0, "invalid bulk length"},
		{"length of the second", "*2\r\n$3\r\nGET\r\n$1x\r\n", &authenticated, 0, "invalid bulk length"},
		{"configured length", "*1\r\n$61\r\n", &small, 0, "invalid bulk length"},
		{"no dollar", "*1\r\nPING\r\n", &authenticated, 0, "expected '$', got 'P'"},
		{"no dollar in the second", "*2\r\n$3\r\nGET\r\n:1\r\n", &authenticated, 0, "expected '$', got ':'"},
		{"no dollar but a line break", "*1\r\n\r\n", &authenticated, 0, "expected '$', got ' '"},
		{"no dollar but a byte over 127", "*1\r\n\xff\r\n", &authenticated, 0, "expected '$', got '\xff'"},
		{"double quote open", "SET \"a\r\n", &authenticated, 0, "unbalanced quotes in request"},
		{"single quote open", "SET 'a\n", &authenticated, 0, "unbalanced quotes in request"},
		{"double quote closed early", "SET \"a\"b\r\n", &authenticated, 0, "unbalanced quotes in request"},
		{"single quote closed early", "SET 'a'b\r\n", &authenticated, 0, "unbalanced quotes in request"},
		{"inline without end", strings.Repeat("x", inlineMax+1), &authenticated, 0, "too big inline request"},
		{"inline with a late end", strings.Repeat("x", inlineMax+1) + "\r\n", &authenticated, 0, "too big inline request"},
		{"count without end", "*" + strings.Repeat("1", inlineMax), &authenticated, 0, "too big mbulk count string"},
		{"length without end", "*1\r\n$" + strings.Repeat("1", inlineMax), &authenticated, 0, "too big bulk count string"},
		{"request of bulks", "*2\r\n$50\r\n" + strings.Repeat("x", 50) + "\r\n$50\r\n", &small, 0, "request too large"},
		{"request on a line", strings.Repeat("x", 100) + "\n", &small, 0, "request too large"},
		{"eleven arguments of a stranger", "*11\r\n", &unauthenticated, 0, "unauthenticated multibulk length"},
		{"too much even for a friend", "*1048577\r\n", &unauthenticated, 0, "invalid multibulk length"},
		{"a long argument of a stranger", "*1\r\n$16385\r\n", &unauthenticated, 0, "unauthenticated bulk length"},
		{"too long even for a friend", "*1\r\n$536870913\r\n", &unauthenticated, 0, "invalid bulk length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream := []byte(c.stream + multibulk("PING")) // which must not be heard any more
			if strings.HasSuffix(c.name, "without end") {
				stream = []byte(c.stream)
			}
			ways := [][]int{nil}
			if len(stream) < 1000 {
				ways = append(ways, everyByte(len(stream)))
			}
			for _, cuts := range ways {
				commands, err := parse(stream, c.lim, cuts)
				var protocol ProtocolError
				if want := "Protocol error: " + c.text; !errors.As(err, &protocol) || err.Error() != want {
					t.Errorf("got %v, want %q", err, want)
				}
				if len(commands) != c.commands {
					t.Errorf("%d commands before it, want %d", len(commands), c.commands)
				}
			}
		})
	}
}

func TestAfterAProtocolErrorNothingIsHeldNorParsed(t *testing.T) {
	lim := DefaultLimits()
	var r Reader
	feed := func(s string) { r.Wrote(copy(r.Buffer(&lim), s)) }
	feed("*1\r\nx\r\n")
	_, first := r.Next(&lim)
	for range 3 {
		feed(multibulk("PING"))
		if args, err := r.Next(&lim); args != nil || err == nil || err != first || r.Buffered() != 0 {
			t.Fatalf("got %q, %v; %d bytes are buffered", args, err, r.Buffered())
		}
		r.Release()
		if r.Size() != 0 {
			t.Fatalf("%d bytes are held", r.Size())
		}
	}
}

func TestCommandsAreTakenAsRedisTakesThem(t *testing.T) {
	lim, unauthenticated := DefaultLimits(), DefaultLimits()
	unauthenticated.Unauthenticated = true
	ten := slices.Repeat([]string{strings.Repeat("x", 16<<10)}, 10)
	for _, c := range []struct {
		name, stream string
		lim          *Limits
		want         [][]string
	}{
		{"multibulk", multibulk("SET", "key", "a\r\nb\x00"), &lim, [][]string{{"SET", "key", "a\r\nb\x00"}}},
		{"empty argument", multibulk("GET", ""), &lim, [][]string{{"GET", ""}}},
		{"empty requests", "*0\r\n*-1\r\n*-5\r\n\r\n\n  \t\r\n" + multibulk("PING"), &lim, [][]string{{"PING"}}},
		{"any two bytes end a bulk", "*1\r\n$4\r\nPINGxy*1\rz$1\rz1..", &lim, [][]string{{"PING"}, {"1"}}},
		{"inline", "PING\r\nGET  key \nSET\ta\rb\n", &lim, [][]string{{"PING"}, {"GET", "key"}, {"SET", "a", "b"}}},
		{"inline then multibulk", "PING\n" + multibulk("PING") + "PING\r\n", &lim, [][]string{{"PING"}, {"PING"}, {"PING"}}},
		{"double quotes", `SET "a b" "\x41\x6a\n\r\t\b\a\"\\\q\xzz\x4"` + "\n", &lim, [][]string{{"SET", "a b", "Aj\n\r\t\b\a\"\\qxzzx4"}}},
		{"single quotes", `SET 'a "b"' '\'\n\x41'` + "\n", &lim, [][]string{{"SET", `a "b"`, `'\n\x41`}}},
		{"quotes inside an argument", `SET a"b c" d'e f'` + "\n", &lim, [][]string{{"SET", "ab c", "de f"}}},
		{"empty quotes", `"" ''` + "\n", &lim, [][]string{{"", ""}}},
		{"a vertical tab ends quotes and is no separator", "'a'\vb c\vd\n", &lim, [][]string{{"a", "b", "c\vd"}}},
		{"longest inline", strings.Repeat("x", lim.InlineBytesMax) + "\n", &lim, [][]string{{strings.Repeat("x", lim.InlineBytesMax)}}},
		{"a stranger's most", multibulk(ten...), &unauthenticated, [][]string{ten}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want [][][]byte
			for _, command := range c.want {
				var args [][]byte
				for _, arg := range command {
					args = append(args, []byte(arg))
				}
				want = append(want, args)
			}
			for _, cuts := range [][]int{nil, everyByte(len(c.stream))} {
				if got, err := parse([]byte(c.stream), c.lim, cuts); err != nil || !sameCommands(got, want) {
					t.Errorf("got %.200q, %v", got, err)
				}
			}
		})
	}
}

// drawStream draws commands with their encoding: multibulk, inline with quotes of every kind, and empty.
func drawStream(t *rapid.T) (stream []byte, want [][][]byte) {
	for range rapid.IntRange(0, 12).Draw(t, "commands") {
		args := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 12), 1, 5).Draw(t, "args")
		if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
			args[0] = bytes.Repeat([]byte{'x'}, rapid.SampledFrom([]int{100, 4095, 16383, 16384, 20000, 70000}).Draw(t, "length"))
		}
		switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
		case kind == 0:
			stream = append(stream, rapid.SampledFrom([]string{"\r\n", "\n", " \r\n", "*0\r\n", "*-1\r\n"}).Draw(t, "empty")...)
			continue
		case kind == 1 && len(args[0]) < 10000:
			for i, arg := range args {
				if i > 0 {
					stream = append(stream, rapid.SampledFrom([]string{" ", "\t", "  ", "\r "}).Draw(t, "space")...)
				}
				stream = appendQuoted(stream, arg, rapid.Bool().Draw(t, "single"))
			}
			stream = append(stream, rapid.SampledFrom([]string{"\n", "\r\n", " \r\n"}).Draw(t, "end")...)
		default:
			stream = fmt.Appendf(stream, "*%d\r\n", len(args))
			for _, arg := range args {
				stream = fmt.Appendf(stream, "$%d\r\n%s\r\n", len(arg), arg)
			}
		}
		want = append(want, args)
	}
	return stream, want
}

func appendQuoted(b, arg []byte, single bool) []byte {
	if single && !bytes.ContainsAny(arg, "\n\\") {
		b = append(b, '\'')
		b = append(b, bytes.ReplaceAll(arg, []byte("'"), []byte(`\'`))...)
		return append(b, '\'')
	}
	b = append(b, '"')
	for _, c := range arg {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c%3 == 0:
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

func TestCutsNeverChangeWhatIsParsed(t *testing.T) {
	lim := DefaultLimits()
	rapid.Check(t, func(t *rapid.T) {
		stream, want := drawStream(t)
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(stream)), 0, 20).Draw(t, "cuts")
		slices.Sort(cuts)
		if got, err := parse(stream, &lim, cuts); err != nil || !sameCommands(got, want) {
			t.Fatalf("%d bytes cut at %v: %v, %d commands of %d", len(stream), cuts, err, len(got), len(want))
		}
		if len(stream) > 2000 {
			return
		}
		for cut := range stream {
			if got, err := parse(stream, &lim, []int{cut}); err != nil || !sameCommands(got, want) {
				t.Fatalf("%q cut at %d: %v, %q", stream, cut, err, got)
			}
		}
	})
}

// Reads of every size end anywhere in long pipelines, so that requests with some of their arguments there
// are moved, and what comes next takes the place where they were.
func TestUnfinishedRequestsSurviveBeingMoved(t *testing.T) {
	lim := DefaultLimits()
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		var want [][][]byte
		for i := range 40 {
			var args []string
			var command [][]byte
			for j := range rapid.IntRange(1, 6).Draw(t, "arguments") {
				arg := strings.Repeat(fmt.Sprintf("%d.%d ", i, j), rapid.IntRange(0, 500).Draw(t, "times"))
				args, command = append(args, arg), append(command, []byte(arg))
			}
			stream = append(stream, multibulk(args...)...)
			want = append(want, command)
		}
		step := rapid.IntRange(100, 5000).Draw(t, "step")
		var cuts []int
		for at := step; at < len(stream); at += step {
			cuts = append(cuts, at)
		}
		if got, err := parse(stream, &lim, cuts); err != nil || !sameCommands(got, want) {
			t.Fatalf("%d bytes by %d are parsed differently: %v", len(stream), step, err)
		}
	})
}

// A client that sends a byte at a time must not cost more than its bytes are worth: searched and moved
// count the work that could repeat.
func TestWorkIsLinearWhenTrickled(t *testing.T) {
	lim := DefaultLimits()
	pipelined := strings.Repeat(multibulk("GET", "key"), 1000)
	for name, stream := range map[string]string{
		"one long bulk":           multibulk("SET", "key", strings.Repeat("x", 300_000)),
		"many empty arguments":    multibulk(make([]string, 30_000)...),
		"behind others":           pipelined + multibulk(make([]string, 10_000)...),
		"many arguments":          multibulk(slices.Repeat([]string{"argument"}, 10_000)...),
		"a long inline":           strings.Repeat("x", 60_000) + "\n",
		"a count that never ends": "*" + strings.Repeat("1", 60_000),
		"a length without end":    "*1\r\n$" + strings.Repeat("1", 60_000),
		"short ones":              pipelined,
	} {
		for _, step := range []int{1, 7, 5000} {
			t.Run(fmt.Sprintf("%s by %d", name, step), func(t *testing.T) {
				var r Reader
				for rest := stream; len(rest) > 0; {
					n := copy(r.Buffer(&lim), rest[:min(step, len(rest))])
					r.Wrote(n)
					rest = rest[n:]
					for {
						args, err := r.Next(&lim)
						if err != nil {
							t.Fatal(err)
						}
						if args == nil {
							break
						}
					}
				}
				// Two searches for a byte at most; and a few moves, each with 24 bytes for every argument of
				// six bytes or more.
				if r.searched > 2*len(stream) || r.moved > 16*len(stream)+bufferBytes {
					t.Errorf("%d bytes cost %d searched and %d moved", len(stream), r.searched, r.moved)
				}
			})
		}
	}
}

func TestAnAnnouncementAllocatesNothing(t *testing.T) {
	lim := DefaultLimits()
	lim.BulkBytesMax, lim.RequestBytesMax = math.MaxInt, math.MaxInt
	for _, stream := range []string{"*1\r\n$2147483648\r\n", "*1048576\r\n$2000000000\r\n", "*1048576\r\n"} {
		var r Reader
		for _, piece := range []string{stream, "x", strings.Repeat("x", 4000)} {
			r.Wrote(copy(r.Buffer(&lim), piece))
			if args, err := r.Next(&lim); args != nil || (err != nil && stream[len(stream)-3] != '6') {
				t.Fatalf("%q: %q, %v", stream, args, err)
			}
		}
		r.Buffer(&lim)
		if r.Size() > 64<<10 {
			t.Errorf("%q made the reader hold %d bytes", stream, r.Size())
		}
	}
}

func TestTheBufferGrowsWithWhatArrivedAndShrinksAgain(t *testing.T) {
	lim := DefaultLimits()
	rapid.Check(t, func(t *rapid.T) {
		stream, _ := drawStream(t)
		stream = append(stream, multibulk("SET", strings.Repeat("x", rapid.IntRange(0, 300_000).Draw(t, "length")), "y")...)
		stream = append(stream, multibulk(make([]string, rapid.IntRange(1, 5000).Draw(t, "arguments"))...)...)
		stream = append(stream, multibulk("SET", "key", "value")...)
		var r Reader
		for len(stream) > 0 {
			space := r.Buffer(&lim)
			bound := max(keepBytesMax, 2*r.Buffered()+2*readBytesMin)
			if len(space) < readBytesMin || len(r.s.buf) > bound || cap(r.s.args) > max(keepArgsMax, r.Buffered()) {
				t.Fatalf("%d bytes wait: space for %d in a buffer of %d, want at most %d", r.Buffered(), len(space), len(r.s.buf), bound)
			}
			n := copy(space, stream[:min(len(stream), rapid.IntRange(1, 30_000).Draw(t, "read"))])
			r.Wrote(n)
			stream = stream[n:]
			for {
				if args, err := r.Next(&lim); err != nil {
					t.Fatal(err)
				} else if args == nil {
					break
				}
			}
		}
		if r.Buffer(&lim); len(r.s.buf) > keepBytesMax || cap(r.s.args) > keepArgsMax {
			t.Fatalf("the empty reader keeps %d bytes and %d arguments", len(r.s.buf), cap(r.s.args))
		}
		if r.Release(); r.Size() != 0 {
			t.Fatalf("the released reader holds %d bytes", r.Size())
		}
	})
}

func TestABufferIsDroppedThoughTheNextRequestHasBegun(t *testing.T) {
	lim := DefaultLimits()
	var r Reader
	for rest := multibulk(make([]string, 100_000)...) + multibulk("SET", strings.Repeat("x", 1<<20)) + "*1\r\n$4\r\nPI"; len(rest) > 0; {
		n := copy(r.Buffer(&lim), rest)
		r.Wrote(n)
		rest = rest[n:]
		for args, _ := r.Next(&lim); args != nil; args, _ = r.Next(&lim) {
		}
	}
	r.Wrote(copy(r.Buffer(&lim), "NG\r\n"))
	if r.Size() > keepBytesMax {
		t.Errorf("%d bytes are held for %d", r.Size(), r.Buffered())
	}
	if args, err := r.Next(&lim); err != nil || len(args) != 1 || string(args[0]) != "PING" {
		t.Errorf("%q, %v", args, err)
	}
}

func TestArgumentsAreValidUntilBufferAndApart(t *testing.T) {
	lim := DefaultLimits()
	var r Reader
	stream := strings.Repeat(multibulk("SET", "key", "value"), 100) + "*2\r\n$3\r\nGET\r\n$3\r\nk"
	r.Wrote(copy(r.Buffer(&lim), stream))
	var taken [][][]byte
	for {
		args, err := r.Next(&lim)
		if err != nil {
			t.Fatal(err)
		}
		if args == nil {
			break
		}
		taken = append(taken, args)
	}
	for _, args := range taken { // what one command does to its arguments is its own affair
		_ = append(args[1], "overflow"...)
		_ = append(args, []byte("more"))
	}
	for i, args := range taken {
		if len(args) != 3 || string(args[0]) != "SET" || string(args[1]) != "key" || string(args[2]) != "value" {
			t.Fatalf("command %d became %q", i, args)
		}
	}
	r.Wrote(copy(r.Buffer(&lim), "ey\r\n"))
	if args, err := r.Next(&lim); err != nil || len(args) != 2 || string(args[0]) != "GET" || string(args[1]) != "key" {
		t.Fatalf("the unfinished command became %q, %v", args, err)
	}
}

func TestTheLimitsOfTheMomentCount(t *testing.T) {
	lim := DefaultLimits()
	lim.Unauthenticated = true
	free := DefaultLimits()
	var r Reader
	r.Wrote(copy(r.Buffer(&lim), multibulk("AUTH", "secret")+"*11\r\n"+strings.Repeat("$1\r\nx\r\n", 11)))
	if args, err := r.Next(&lim); err != nil || len(args) != 2 {
		t.Fatalf("%q, %v", args, err)
	}
	if args, err := r.Next(&free); err != nil || len(args) != 11 {
		t.Fatalf("%q, %v", args, err)
	}
}

func TestParsingPipelinesDoesNotAllocate(t *testing.T) {
	lim := DefaultLimits()
	stream := strings.Repeat(multibulk("SET", "key:000000000000", "xxx"), 16)
	var r Reader
	if n := testing.AllocsPerRun(100, func() {
		r.Wrote(copy(r.Buffer(&lim), stream))
		for {
			if args, _ := r.Next(&lim); args == nil {
				return
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations a read", n)
	}
}

func BenchmarkNextPipeline16(b *testing.B) {
	b.ReportAllocs()
	lim := DefaultLimits()
	stream := strings.Repeat(multibulk("SET", "key:000000000000", "xxx"), 16)
	b.SetBytes(int64(len(stream)))
	var r Reader
	for b.Loop() {
		r.Wrote(copy(r.Buffer(&lim), stream))
		for {
			if args, _ := r.Next(&lim); args == nil {
				break
			}
		}
	}
}
