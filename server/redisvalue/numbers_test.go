package redisvalue_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"cartwheel/server/redisvalue"
)

func TestParseInt(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 10, math.MaxInt64, math.MinInt64} {
		text := redisvalue.AppendInt(nil, v)
		if got, ok := redisvalue.ParseInt(text); !ok || got != v || !redisvalue.IsCanonicalInt(text) {
			t.Errorf("%s: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1a", "0x1", "9223372036854775808", "-9223372036854775809", "18446744073709551617"} {
		if got, ok := redisvalue.ParseInt([]byte(text)); ok || redisvalue.IsCanonicalInt([]byte(text)) {
			t.Errorf("%q: %d", text, got)
		}
	}
}

func TestParseUint(t *testing.T) {
	for text, want := range map[string]uint64{"": 0, "0": 0, "007": 7, "+7": 7, "-1": math.MaxUint64, "18446744073709551615": math.MaxUint64} {
		if got, ok := redisvalue.ParseUint([]byte(text)); !ok || got != want {
			t.Errorf("%q: %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"-", "+", "1a", " 1", "18446744073709551616", "--1"} {
		if got, ok := redisvalue.ParseUint([]byte(text)); ok {
			t.Errorf("%q: %d", text, got)
		}
	}
}

// The results are redis-server's.
func TestIncrByFloat(t *testing.T) {
	for _, c := range []struct {
		old, incr, want string
		err             error
	}{
		{old: "10.50", incr: "0.1", want: "10.6"},
		{old: "5.0e3", incr: "2.0e2", want: "5200"},
		{old: "0", incr: "-0", want: "0"},
		{old: "-1", incr: "1", want: "0"},
		{old: "-1e-30", incr: "0", want: "0"},
		{old: "0x1p3", incr: "1", want: "9"},
		{old: "1e400", incr: "-1e400", want: "0"},
		{old: "inf", incr: "1", err: redisvalue.ErrNotFinite},
		{old: "1", incr: "-Infinity", err: redisvalue.ErrNotFinite},
		{old: "1e4932", incr: "1e4932", err: redisvalue.ErrNotFinite},
		{old: "nan", incr: "1", err: redisvalue.ErrNotFloat},
		{old: "1e-5000", incr: "1", err: redisvalue.ErrNotFloat},
		{old: "1e5000", incr: "1", err: redisvalue.ErrNotFloat},
		{old: "1e999999999999999999999", incr: "1", err: redisvalue.ErrNotFloat},
		{old: "0x", incr: "1", err: redisvalue.ErrNotFloat},
		{old: " 1", incr: "1", err: redisvalue.ErrNotFloat},
		{old: "1 ", incr: "1", err: redisvalue.ErrNotFloat},
		{old: "", incr: "1", err: redisvalue.ErrNotFloat},
		{old: "1", incr: "1e", err: redisvalue.ErrNotFloat},
		{old: "1", incr: strings.Repeat("0", 5*1024), err: redisvalue.ErrNotFloat},
	} {
		got, err := redisvalue.IncrByFloat([]byte(c.old), []byte(c.incr))
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%.20q + %.20q: %q, %v; want %q, %v", c.old, c.incr, got, err, c.want, c.err)
		}
	}
}

func TestIncrByFloatAgreesWithRedis(t *testing.T) {
	client := startRedis(t)
	r := newRand(t)
	for range 6000 {
		old, incr := randomNumber(r), randomNumber(r)
		replies := askAll(t, client, [][]any{{"SET", "k", old}, {"INCRBYFLOAT", "k", incr}})
		sum, err := redisvalue.IncrByFloat([]byte(old), []byte(incr))
		got := string(sum)
		if err != nil {
			got = "ERR " + err.Error()
		}
		if got != fmt.Sprint(replies[1]) {
			fail(t, got, replies[1], "%q + %q", old, incr)
		}
	}
}

func randomNumber(r *rand.Rand) string {
	switch r.IntN(6) {
	case 0:
		return strconv.FormatFloat((r.Float64()-0.5)*math.Pow(10, float64(r.IntN(30)-10)), 'f', r.IntN(25), 64)
	case 1:
		return fmt.Sprintf("%d.%de%d", r.IntN(2000)-1000, r.Uint64(), r.IntN(60)-30)
	case 2:
		return strconv.FormatInt(int64(r.Uint64())>>r.UintN(64), 10)
	case 3:
		return fmt.Sprintf("%.5fe%d", r.Float64(), r.IntN(10400)-5200)
	case 4:
		return fmt.Sprintf("0x%x.%xp%d", r.Uint32(), r.Uint64(), r.IntN(100)-50)
	}
	const alphabet = "0011259+-..eExXpinfa "
	var b strings.Builder
	for range 1 + r.IntN(6) {
		b.WriteByte(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}
