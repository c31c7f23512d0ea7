package main

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"

	"cartwheel/cluster/ring"
)

// A ringView is what a node's INFO says of the cluster.
type ringView struct {
	Cluster  string       `json:"cluster"`
	Epoch    uint64       `json:"epoch"`
	Replicas int          `json:"replicas"`
	Moves    int          `json:"moves"`
	Members  []memberView `json:"members"`

	Left     bool           `json:"left"` // the node that was asked is no member any more
	Progress *ring.Progress `json:"progress"`
}

type memberView struct {
	ID           string  `json:"id"`
	Up           bool    `json:"up"`
	Self         bool    `json:"self"` // the node that was asked
	State        string  `json:"state"`
	Zone         string  `json:"zone"`
	Weight       int     `json:"weight"`
	SharePercent float64 `json:"share_percent"` // of all replicas of partitions
	Owned        int     `json:"owned"`         // partitions
	Primary      int     `json:"primary"`       // those of them that it owns first
	Hints        int64   `json:"hints"`
	HintBytes    int64   `json:"hint_bytes"`
	Client       string  `json:"client"`
	ClusterPort  string  `json:"cluster_port"`
	Peer         string  `json:"peer"`
}

var errNoRing = errors.New("its INFO does not tell of a ring: is it a Cartwheel node?")

// parseRingView reads the sections Ring and Members of INFO.
func parseRingView(text string) (*ringView, error) {
	v := &ringView{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		var err error
		switch {
		case name == "ring_cluster_id":
			v.Cluster, err = url.PathUnescape(value)
		case name == "ring_epoch":
			v.Epoch, err = strconv.ParseUint(value, 10, 64)
		case name == "ring_replicas":
			v.Replicas, err = strconv.Atoi(value)
		case name == "ring_left":
			v.Left = value == "1"
		case name == "ring_moves":
			v.Moves, err = strconv.Atoi(value)
		case strings.HasPrefix(name, "member"):
			err = v.addMember(value)
		}
		if err != nil {
			return nil, fmt.Errorf("its INFO has a line that is not understood, %q: %w", strings.TrimSpace(line), err)
		}
	}
	if len(v.Members) == 0 {
		return nil, errNoRing
	}
	v.share()
	return v, nil
}

func (v *ringView) addMember(line string) error {
	var m memberView
	texts := map[string]*string{
		"id": &m.ID, "peer": &m.Peer, "client": &m.Client, "cluster": &m.ClusterPort, "zone": &m.Zone, "state": &m.State,
	}
	numbers := map[string]*int{"weight": &m.Weight, "owned": &m.Owned, "primary": &m.Primary}
	wide := map[string]*int64{"hints": &m.Hints, "hint_bytes": &m.HintBytes}
	flags := map[string]*bool{"up": &m.Up, "self": &m.Self}
	for field := range strings.SplitSeq(line, ",") {
		name, value, _ := strings.Cut(field, "=")
		var err error
		switch {
		case texts[name] != nil:
			*texts[name], err = url.PathUnescape(value)
		case numbers[name] != nil:
			*numbers[name], err = strconv.Atoi(value)
		case wide[name] != nil:
			*wide[name], err = strconv.ParseInt(value, 10, 64)
		case flags[name] != nil:
			*flags[name] = value == "1"
		}
		if err != nil {
			return err
		}
	}
	v.Members = append(v.Members, m)
	return nil
}

// share says how much of the ring each has: the shares of all are 100 percent.
func (v *ringView) share() {
	total := 0
	for i := range v.Members {
		total += v.Members[i].Owned
	}
	for i := range v.Members {
		m := &v.Members[i]
		m.SharePercent = math.Round(1000*float64(m.Owned)/float64(max(total, 1))) / 10
	}
}

func (v *ringView) up() (count int) {
	for i := range v.Members {
		if v.Members[i].Up {
			count++
		}
	}
	return count
}
