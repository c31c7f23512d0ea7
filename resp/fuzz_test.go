package resp

import (
	"slices"
	"testing"
)

// FuzzReader holds that no bytes panic, and that cuts change neither the commands nor the error.
func FuzzReader(f *testing.F) {
	for _, stream := range []string{
		"*1\r\n$9223372036854775807\r\n", // ends redcon
		"*9223372036854775807\r\n",       // spins redcon
		multibulk("SET", "key", "value") + "PING\r\n*0\r\n",
		"SET \"a\\x41\" 'b\\''\r\n",
		"*2\r\n$1\r\na\r\n:1\r\n",
		"*-9223372036854775808\r\n$\r\r\n",
	} {
		f.Add([]byte(stream), uint16(5), uint16(9), false)
		f.Add([]byte(stream), uint16(1), uint16(1), true)
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut1, cut2 uint16, unauthenticated bool) {
		lim := Limits{BulkBytesMax: 20_000, ElementsMax: 100, RequestBytesMax: 40_000, InlineBytesMax: 200, Unauthenticated: unauthenticated}
		want, wantErr := parse(stream, &lim, nil)
		for _, args := range want {
			if len(args) == 0 {
				t.Fatal("a command of no arguments")
			}
		}
		cuts := []int{int(cut1) % (len(stream) + 1), int(cut2) % (len(stream) + 1)}
		slices.Sort(cuts)
		for _, cuts := range [][]int{cuts, everyByte(len(stream))} {
			if got, err := parse(stream, &lim, cuts); err != wantErr || !sameCommands(got, want) {
				t.Fatalf("%q cut at %v: %q, %v, whole: %q, %v", stream, cuts, got, err, want, wantErr)
			}
		}
	})
}
