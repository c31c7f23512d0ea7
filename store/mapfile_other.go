//go:build !unix

package store

import "errors"

// MapFile says that files are not mapped here.
func MapFile(string, int) (Mapping, error) { return Mapping{}, errors.ErrUnsupported }
