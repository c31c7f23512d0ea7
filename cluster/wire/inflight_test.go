package wire

import (
	"testing"

	"pgregory.net/rapid"
)

// TestInFlightIsATableWithDeadlines compares the table with a map.
func TestInFlightIsATableWithDeadlines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newInFlight()
		type request struct {
			token      *int
			deadlineMS int64
			addedMS    int64
		}
		model := map[uint64]request{}
		var ids []uint64
		nowMS := int64(0)
		resolve := func(token any, id uint64) {
			want, ok := model[id]
			if !ok || token != any(want.token) {
				t.Fatalf("request %x was not in flight, or is another", id)
			}
			delete(model, id)
		}
		tokens := map[*int]uint64{}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				deadlineMS := nowMS + rapid.OneOf(rapid.Int64Range(-50, 100), rapid.Int64Range(0, 50_000)).Draw(t, "timeout")
				token := new(int)
				id := f.add(token, 3, 100, deadlineMS)
				if _, twice := model[id]; twice || tokens[token] != 0 {
					t.Fatalf("id %x twice", id)
				}
				model[id], tokens[token] = request{token, deadlineMS, nowMS}, id
				ids = append(ids, id)
			},
			"take": func(t *rapid.T) {
				if len(ids) == 0 {
					t.Skip()
				}
				id := rapid.SampledFrom(ids).Draw(t, "id") // perhaps answered already
				token, op, ok := f.take(id)
				if _, want := model[id]; ok != want {
					t.Fatalf("taken: %v, want %v", ok, want)
				}
				if ok {
					if op != 3 {
						t.Fatal("another op")
					}
					resolve(token, id)
				}
			},
			"take what never was": func(t *rapid.T) {
				id := rapid.Uint64().Draw(t, "id")
				if _, known := model[id]; known {
					t.Skip()
				}
				if _, _, ok := f.take(id); ok {
					t.Fatal("taken")
				}
			},
			"sweep": func(t *rapid.T) {
				nowMS += rapid.OneOf(rapid.Int64Range(0, 30), rapid.Int64Range(0, 30_000)).Draw(t, "ms")
				for _, reply := range f.sweep(nowMS, nil) {
					id := tokens[reply.Token.(*int)]
					if model[id].deadlineMS >= nowMS || reply.Err != ErrTimeout {
						t.Fatal("too early")
					}
					resolve(reply.Token, id)
				}
				for id, r := range model {
					if max(r.deadlineMS, r.addedMS)+2*tickMS < nowMS {
						t.Fatalf("request %x was forgotten", id)
					}
				}
			},
			"lose all": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "rarely") > 0 {
					t.Skip()
				}
				for _, reply := range f.takeAll(nil) {
					resolve(reply.Token, tokens[reply.Token.(*int)])
				}
				if len(model) > 0 {
					t.Fatal("some are left")
				}
			},
			"": func(t *rapid.T) {
				if f.count != len(model) || f.bytes != 100*len(model) {
					t.Fatalf("%d requests of %d bytes, want %d", f.count, f.bytes, len(model))
				}
			},
		})
		nowMS += 60_000
		for _, reply := range f.sweep(nowMS, nil) {
			resolve(reply.Token, tokens[reply.Token.(*int)])
		}
		if len(model) > 0 {
			t.Fatalf("%d requests were forgotten", len(model))
		}
	})
}

func TestInFlightIsSweptWithinATickOfTheDeadline(t *testing.T) {
	f := newInFlight()
	for _, timeoutMS := range []int64{1, 9, 10, 11, 10_239, 10_240, 10_241, 25_000} {
		start := f.sweptTick * tickMS
		f.add(nil, 0, 0, start+timeoutMS)
		for nowMS := start; ; nowMS++ {
			if len(f.sweep(nowMS, nil)) == 0 {
				continue
			}
			if late := nowMS - start - timeoutMS; late < 1 || late > tickMS {
				t.Errorf("after %d ms: %d ms late", timeoutMS, late)
			}
			break
		}
	}
}
