//go:build !linux

package main

import (
	"context"
	"errors"
	"time"
)

// runClusterLoad needs epoll.
func runClusterLoad(context.Context, []string, clusterLoad, time.Duration) (throughput, error) {
	return throughput{}, errors.New("the load of compare --cluster needs Linux")
}

func runSlicedLoad(context.Context, []string, clusterLoad, time.Duration, time.Duration, <-chan struct{}) (time.Time, []*latencies, error) {
	return time.Time{}, nil, errors.New("the load of repair needs Linux")
}
