package main

import (
	"crypto/tls"
	"net"
)

// tlsFlags say how a command speaks to a node over TLS. Any of them has it do so: those of the
// certificate are named as serve's are, so that a health check finds them in the same environment.
type tlsFlags struct {
	TLS         bool   `help:"Speak TLS. The node's certificate is checked only with --tls-server-ca." name:"tls"`
	TLSServerCA string `help:"Certificates (PEM) of which the node's must descend; it must be for the host of the address." placeholder:"FILE" type:"path" name:"tls-server-ca"`
	TLSCert     string `help:"Certificate (PEM) to show, where nodes want to see one." placeholder:"FILE" type:"path"`
	TLSKey      string `help:"Key of that certificate (PEM)." placeholder:"FILE" type:"path"`
}

// config is nil without TLS.
func (f *tlsFlags) config(addr string) (*tls.Config, error) {
	if *f == (tlsFlags{}) {
		return nil, nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	// Who names no authority asks the node at that address, whoever it is.
	config := &tls.Config{ServerName: host, InsecureSkipVerify: f.TLSServerCA == "", MinVersion: tls.VersionTLS12}
	if f.TLSServerCA != "" {
		if config.RootCAs, err = certificates("--tls-server-ca", f.TLSServerCA); err != nil {
			return nil, err
		}
	}
	if f.TLSCert != "" || f.TLSKey != "" {
		cert, err := keyPair(f.TLSCert, f.TLSKey)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config, nil
}
