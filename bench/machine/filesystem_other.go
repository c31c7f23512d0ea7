//go:build unix && !linux

package machine

// FileSystem is not known without Linux.
func FileSystem(string) (string, error) { return "", nil }
