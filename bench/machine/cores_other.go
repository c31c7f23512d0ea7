//go:build unix && !linux

package machine

import "runtime"

// UseCores returns the number of cores that this process has. Without Linux it confines nothing.
func UseCores(int) (int, error) { return runtime.NumCPU(), nil }
