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
