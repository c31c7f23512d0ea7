//go:build !linux

package wire

import "testing"

// pollOptions: there are no pollers.
func pollOptions(t *testing.T) rigOptions {
	t.Skip("only on Linux")
	return rigOptions{}
}
