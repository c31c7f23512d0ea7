package main

import "testing"

func TestSpreadOf(t *testing.T) {
	for _, c := range []struct {
		figures []float64
		want    spread
	}{
		{[]float64{2}, spread{2, 2, 2}},
		{[]float64{3, 1}, spread{2, 1, 3}},
		{[]float64{9, 1, 2}, spread{2, 1, 9}},
		{[]float64{4, 1, 3, 2}, spread{2.5, 1, 4}},
	} {
		if got := spreadOf(c.figures); got != c.want {
			t.Errorf("%v: %+v", c.figures, got)
		}
	}
}

// roundOf is a round at those rates.
func roundOf(redis, subject float64) round {
	return round{
		First: nameRedis, Ratio: subject / redis,
		Redis:   throughput{PerSecond: redis, P50MS: 0.5, P99MS: 1},
		Subject: throughput{PerSecond: subject, P50MS: 0.5, P99MS: 2},
	}
}

// The median of ratios is not the ratio of medians: a noisy machine shifts both runs of a round.
func TestFindTakesTheMedianOfTheRoundsRatios(t *testing.T) {
	f := find(rows[0], "", []round{roundOf(100, 90), roundOf(10, 9), roundOf(50, 60)})
	if f.Ratio != (spread{0.9, 0.9, 1.2}) || f.Redis.Median != 50 || f.Subject.Median != 60 {
		t.Errorf("%+v", f)
	}
}

func TestFindHoldsTheMedianAgainstTheFloor(t *testing.T) {
	r := row{command: "get", pipeline: 1, floor: 0.9}
	if f := find(r, "", []round{roundOf(100, 90)}); f.UnderFloor || *f.Floor != 0.9 {
		t.Errorf("at its floor: %+v", f)
	}
	if f := find(r, "", []round{roundOf(1000, 899)}); !f.UnderFloor {
		t.Errorf("below its floor: %+v", f)
	}
	if f := find(row{command: "get", pipeline: 1, hot: true}, "", []round{roundOf(100, 1)}); f.UnderFloor || f.Floor != nil {
		t.Errorf("without a floor: %+v", f)
	}
}
