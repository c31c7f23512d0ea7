//go:build !unix

package server

import "time"

func cpuTimes() (user, system time.Duration) { return 0, 0 }
func peakResidentBytes() uint64              { return 0 }
