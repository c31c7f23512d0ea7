package preload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/redis/go-redis/v9"
)

// samplePipeline is how many GETs of a sample go out together.
const samplePipeline = 100

// CheckSize asks DBSIZE, which must be the number of keys.
func CheckSize(ctx context.Context, client *redis.Client, keys int) error {
	size, err := client.DBSize(ctx).Result()
	if err != nil {
		return fmt.Errorf("DBSIZE: %w", err)
	}
	if size != int64(keys) {
		return fmt.Errorf("DBSIZE is %d, not %d", size, keys)
	}
	return nil
}

// CheckSample reads a sample of the keys, chosen by seed, and compares their values.
func CheckSample(ctx context.Context, client *redis.Client, d Data, sample int, seed uint64) error {
	choose := rand.New(rand.NewPCG(seed, 0))
	var value []byte
	for sample > 0 {
		chosen := make([]int, min(sample, samplePipeline))
		sample -= len(chosen)
		answers := make([]*redis.StringCmd, len(chosen))
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for n := range chosen {
				chosen[n] = choose.IntN(d.Keys)
				answers[n] = p.Get(ctx, Key(chosen[n]))
			}
			return nil
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			return fmt.Errorf("reading a sample (seed %d): %w", seed, err)
		}
		for n, i := range chosen {
			value = AppendValue(value[:0], i, d.ValueBytes)
			switch got, err := answers[n].Result(); {
			case err != nil:
				return fmt.Errorf("GET %s (seed %d): %w", Key(i), seed, err)
			case got != string(value):
				return fmt.Errorf("GET %s (seed %d): %q, not %q", Key(i), seed, got, value)
			}
		}
	}
	return nil
}
