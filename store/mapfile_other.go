//go:build !unix

package store

import "errors"

func mapFile(string, int) (mapping, error) { return mapping{}, errors.ErrUnsupported }
