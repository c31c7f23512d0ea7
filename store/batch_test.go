package store

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// What Pebble holds after a batch is what it would hold had each change been
// made by itself, in the order in which it was added.
func TestBatchKeepsTheLastChangeOfEachRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		db, err := pebble.Open("", &pebble.Options{FS: vfs.NewMem(), Logger: pebbleLogger{&Store{}}})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		model := map[string]string{}
		rows := &rowBatch{}
		for round := range 3 {
			most := rapid.SampledFrom([]int{40, 40, 3 * rowsPerPage}).Draw(t, "most")
			for i := range rapid.IntRange(0, most).Draw(t, "changes") {
				key := rapid.SampledFrom([]string{"oaaaaaaaa", "oaaaaaaaab", "oaaaaaaab", "o", "xb", "m1", "q", "oz"}).Draw(t, "key")
				switch rapid.IntRange(0, 9).Draw(t, "kind") {
				case 0:
					bounds := []string{"m1", "o", "oaaaaaaaab", "oz", "p", "y"}
					from := rapid.IntRange(0, len(bounds)-2).Draw(t, "from")
					to := rapid.IntRange(from+1, len(bounds)-1).Draw(t, "to")
					rows.removeRange([]byte(bounds[from]), []byte(bounds[to]))
					maps.DeleteFunc(model, func(k, _ string) bool { return k >= bounds[from] && k < bounds[to] })
				case 1, 2:
					rows.remove(append(rows.key(), key...))
					delete(model, key)
				default:
					value := fmt.Sprintf("%d.%d", round, i)
					rows.set(append(rows.key(), key...), []byte(value))
					model[key] = value
				}
			}
			batch := db.NewBatch()
			if err := rows.appendTo(batch, func() {}); err != nil {
				t.Fatal(err)
			}
			if err := batch.Commit(pebble.NoSync); err != nil {
				t.Fatal(err)
			}
			rows.reset()
			if !rows.empty() {
				t.Fatal("a batch that was reset is not empty")
			}
			if got := allRows(t, db); !maps.Equal(got, model) {
				t.Fatalf("Pebble has %v, want %v", got, model)
			}
		}
	})
}

func allRows(t *rapid.T, db *pebble.DB) map[string]string {
	iter, err := db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer iter.Close()
	rows := map[string]string{}
	for iter.First(); iter.Valid(); iter.Next() {
		rows[string(slices.Clone(iter.Key()))] = string(iter.Value())
	}
	return rows
}
