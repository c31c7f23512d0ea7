//go:build !unix

package store

import "errors"

func mapFile(string, int) ([]byte, func() error, error) { return nil, nil, errors.ErrUnsupported }
