package redisvalue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"cartwheel/server/redisvalue"
)

const lcsMax = 1 << 20

func TestLCSOfTheManual(t *testing.T) {
	a, b := []byte("ohmytext"), []byte("mynewtext")
	got, err := redisvalue.LCS(context.Background(), a, b, 0, lcsMax)
	want := []redisvalue.LCSMatch{{AStart: 4, AEnd: 7, BStart: 5, BEnd: 8}, {AStart: 2, AEnd: 3, BStart: 0, BEnd: 1}}
	if err != nil || string(got.Sequence) != "mytext" || !slices.Equal(got.Matches, want) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = redisvalue.LCS(context.Background(), a, b, 4, lcsMax)
	if err != nil || string(got.Sequence) != "mytext" || !slices.Equal(got.Matches, want[:1]) || want[0].Len() != 4 {
		t.Errorf("at least 4: %+v, %v", got, err)
	}
}

func TestLCSKeepsItsLimits(t *testing.T) {
	ctx := context.Background()
	a := bytes.Repeat([]byte("ab"), 2000)
	if _, err := redisvalue.LCS(ctx, a, a, 0, 1<<20); !errors.Is(err, redisvalue.ErrLCSTooLarge) {
		t.Errorf("16 million pairs in 1 MiB: %v", err)
	}
	if _, err := redisvalue.LCS(ctx, a, a, 0, 3<<20); err != nil {
		t.Errorf("16 million pairs in 3 MiB: %v", err)
	}
	if n, err := redisvalue.LCSLen(ctx, a, a, 1<<20); n != len(a) || err != nil {
		t.Errorf("the length alone: %d, %v", n, err)
	}
	if _, err := redisvalue.LCSLen(ctx, a, a, 1000); !errors.Is(err, redisvalue.ErrLCSTooLarge) {
		t.Errorf("two rows in 1000 bytes: %v", err)
	}
}

func TestLCSStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := redisvalue.LCS(ctx, []byte("a"), []byte("a"), 0, lcsMax); !errors.Is(err, context.Canceled) {
		t.Errorf("LCS: %v", err)
	}
	if _, err := redisvalue.LCSLen(ctx, []byte("a"), []byte("a"), lcsMax); !errors.Is(err, context.Canceled) {
		t.Errorf("LCSLen: %v", err)
	}
}

func TestLCSAgreesWithRedis(t *testing.T) {
	client := startRedis(t)
	r := newRand(t)
	ctx := context.Background()
	for range 2000 {
		letters := 1 + r.IntN(5)
		a, b := randomBytes(r, 150, letters), randomBytes(r, 150, letters)
		least := int64(r.IntN(6) - 1)
		replies := askAll(t, client, [][]any{
			{"SET", "a", a},
			{"SET", "b", b},
			{"LCS", "a", "b"},
			{"LCS", "a", "b", "LEN"},
			{"LCS", "a", "b", "IDX", "WITHMATCHLEN", "MINMATCHLEN", least},
		})[2:]
		got, err := redisvalue.LCS(ctx, a, b, least, lcsMax)
		if err != nil {
			t.Fatal(err)
		}
		length, err := redisvalue.LCSLen(ctx, a, b, lcsMax)
		if err != nil {
			t.Fatal(err)
		}
		matches := make([]any, 0, len(got.Matches))
		for _, m := range got.Matches {
			matches = append(matches, []any{[]any{m.AStart, m.AEnd}, []any{m.BStart, m.BEnd}, m.Len()})
		}
		ours := []any{string(got.Sequence), length, []any{"matches", matches, "len", length}}
		if fmt.Sprint(ours) != fmt.Sprint(replies) {
			fail(t, ours, replies, "LCS of %q and %q, MINMATCHLEN %d", a, b, least)
		}
	}
}
