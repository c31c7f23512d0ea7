package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rs/zerolog"

	"cartwheel/cluster"
	"cartwheel/cluster/ring"
	"cartwheel/store"
)

// nodeOptions are what the flags say of the node and its place in a cluster.
func (s *serveCommand) nodeOptions(log zerolog.Logger) (o cluster.Options, err error) {
	o = cluster.Options{
		Store: store.Options{
			Dir: s.Data, MemoryBytes: int64(s.Memory), Partitions: s.Partitions, Log: log,
			HintBytesMax: int64(s.DebugHintBytes),
		},
		SyncOne:    s.Sync == "one",
		PeerListen: s.PeerListen,
		Join:       s.Join,
		Replace:    s.Replace,
		Replicas:   s.Replicas,
		Gossip:     true,
	}
	o.Repair.NoExchanges = s.DebugNoExchanges
	o.Repair.ExchangeInterval, o.Repair.DropGrace, o.Store.SweepRetry = s.DebugHaste, s.DebugHaste, s.DebugHaste
	if offset := s.DebugClockOffset; offset != 0 {
		o.Store.Now = func() time.Time { return time.Now().Add(offset) }
	}
	if !o.SyncOne {
		if err := o.Store.Sync.UnmarshalText([]byte(s.Sync)); err != nil {
			return o, fmt.Errorf("--sync: must be one of always, everysec, one, no, but is %q", s.Sync)
		}
	}
	if s.Replicas < 1 || s.Replicas > ring.ReplicasMax {
		return o, fmt.Errorf("--replicas: must be from 1 to %d, but is %d", ring.ReplicasMax, s.Replicas)
	}
	if s.Weight < 1 || s.Weight > ring.WeightMax {
		return o, fmt.Errorf("--weight: must be from 1 to %d, but is %d", ring.WeightMax, s.Weight)
	}
	if s.Replace != "" && len(s.Join) == 0 {
		return o, errors.New("--replace: needs --join too")
	}
	if s.PeerListen == "" {
		for flag, value := range map[string]string{"--zone": s.Zone, "--peer-announce": s.PeerAnnounce, "--cluster-secret-file": s.ClusterSecretFile} {
			if value != "" {
				return o, errors.New(flag + ": needs --peer-listen too")
			}
		}
		if len(s.Join) > 0 {
			return o, errors.New("--join: needs --peer-listen too")
		}
	}
	secret, err := firstLine("--cluster-secret-file", s.ClusterSecretFile)
	if err != nil {
		return o, err
	}
	o.Secret = []byte(secret)
	if o.TLS, err = s.peerTLS(); err != nil {
		return o, err
	}
	o.Self = ring.Member{
		Peer:    s.PeerAnnounce,
		Client:  cmp.Or(s.ClientAnnounce, announced(s.Listen)),
		Cluster: cmp.Or(s.ClusterAnnounce, announced(s.ClusterListen)),
		Zone:    s.Zone,
		Weight:  s.Weight,
	}
	return o, nil
}

// announced is the address that others are told of one to listen on, "" where
// that names no host.
func announced(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || host == "" || port == "0" || ip != nil && ip.IsUnspecified() {
		return ""
	}
	return address
}

// startError says which flag a node could not start because of.
func (s *serveCommand) startError(err error) error {
	var op *net.OpError
	if s.PeerListen != "" && errors.As(err, &op) && op.Op == "listen" {
		return listenError("--peer-listen", s.PeerListen, op.Err)
	}
	return fmt.Errorf("data directory %s: %w", s.Data, err)
}
