package main

import "slices"

// spread is a set of figures in three numbers.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf summarises at least one figure. The median of an even number is the mean of the middle two.
func spreadOf(figures []float64) spread {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// round is a pair of runs, one behind the other.
type round struct {
	First   string     `json:"first"` // which server ran first
	Redis   throughput `json:"redis"`
	Subject throughput `json:"subject"`
	Ratio   float64    `json:"ratio"` // subject to Redis
}

// finding is a row with its rounds and what they amount to.
type finding struct {
	Name         string   `json:"name"`
	Load         string   `json:"load"`
	Sync         string   `json:"sync"`
	Floor        *float64 `json:"floor"` // of the median ratio; null: none
	UnderFloor   bool     `json:"under_floor"`
	Ratio        spread   `json:"ratio"`          // of the rounds' ratios, not of the spreads below
	Redis        spread   `json:"redis_per_s"`    // requests a second
	Subject      spread   `json:"subject_per_s"`  // requests a second
	RedisP99MS   float64  `json:"redis_p99_ms"`   // median of the rounds
	SubjectP99MS float64  `json:"subject_p99_ms"` // median of the rounds
	Rounds       []round  `json:"rounds"`
}

// find sums up a row's rounds, of which there is at least one.
func find(r row, load string, rounds []round) finding {
	each := func(figure func(round) float64) spread {
		var figures []float64
		for _, one := range rounds {
			figures = append(figures, figure(one))
		}
		return spreadOf(figures)
	}
	f := finding{
		Name: r.name(), Load: load, Sync: r.sync, Rounds: rounds,
		Ratio:        each(func(r round) float64 { return r.Ratio }),
		Redis:        each(func(r round) float64 { return r.Redis.PerSecond }),
		Subject:      each(func(r round) float64 { return r.Subject.PerSecond }),
		RedisP99MS:   each(func(r round) float64 { return r.Redis.P99MS }).Median,
		SubjectP99MS: each(func(r round) float64 { return r.Subject.P99MS }).Median,
	}
	if r.floor > 0 {
		f.Floor = &r.floor
		f.UnderFloor = f.Ratio.Median < r.floor
	}
	return f
}
