package ring

import (
	"testing"

	"pgregory.net/rapid"
)

// The values are those that `CLUSTER KEYSLOT` of a Redis 7 gives.
func TestSlotIsRedisClusters(t *testing.T) {
	for key, want := range map[string]Slot{
		"":                    0,
		"123456789":           12739,
		"foo":                 12182,
		"{foo}":               12182,
		"bar{foo}baz":         12182,
		"foo{}{bar}":          8363,
		"foo{{bar}}zap":       4015,
		"foo{bar}{zap}":       5061,
		"{user1000}.follow":   3443,
		"{user1000}.follower": 3443,
	} {
		if got := SlotOf([]byte(key)); got != want {
			t.Errorf("SlotOf(%q) = %d, want %d", key, got, want)
		}
	}
}

func TestTokenCarriesSlotAndMD5(t *testing.T) {
	// MD5("foo") is acbd18db4cc2f85cedef654fccc4a4d8.
	const md5Head = 0xacbd18db4cc2f85c
	want := Token(uint64(12182)<<50 | uint64(md5Head)>>14)
	if got := TokenOf([]byte("foo")); got != want {
		t.Errorf("TokenOf(foo) = %x, want %x", got, want)
	}
}

func TestPartitionsTileTheTokens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := 1 << rapid.IntRange(0, 14).Draw(t, "log2 partitions")
		r, err := One(NodeID{1}, q)
		if err != nil {
			t.Fatal(err)
		}
		token := TokenOf(rapid.SliceOf(rapid.Byte()).Draw(t, "key"))
		p := r.PartitionOf(token.Slot())
		if got := PartitionOf(token.Slot(), q); got != p {
			t.Fatalf("PartitionOf = %d, ring says %d", got, p)
		}
		if first, last := p.Span(q); token < first || token > last {
			t.Fatalf("token %x is not in %x..%x of its partition %d", token, first, last, p)
		}
		if p > 0 {
			first, _ := p.Span(q)
			if _, last := (p - 1).Span(q); last+1 != first {
				t.Fatalf("gap before partition %d", p)
			}
		}
	})
}

func TestPartitionsMustBeAPowerOfTwo(t *testing.T) {
	for _, q := range []int{-1, 0, 3, 1000, Slots * 2} {
		if _, err := One(NodeID{}, q); err == nil {
			t.Errorf("One(%d partitions) was accepted", q)
		}
	}
}
