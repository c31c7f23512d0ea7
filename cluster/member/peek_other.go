//go:build !unix

package member

import "net"

func peek(*net.TCPConn) (first byte, peeked bool, err error) { return 0, false, nil }
