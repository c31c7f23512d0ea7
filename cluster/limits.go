package cluster

import (
	"slices"
	"strconv"

	"cartwheel/cluster/member"
	"cartwheel/cluster/ring"
	"cartwheel/cluster/wire"
)

// Limits returns the names and values of what bounds a node below its clients, for
// CONFIG GET: bytes, unless the name says otherwise.
func (c *Coordinator) Limits() [][2]string {
	shown := slices.Concat(c.store.Limits(), wire.Shown(), member.Limits())
	if r := c.repairing.Load(); r != nil {
		shown = append(shown, r.Limits()...)
	}
	add := func(name string, value int64) {
		shown = append(shown, [2]string{name, strconv.FormatInt(value, 10)})
	}
	add("ring-members-max", ring.MembersMax)
	add("ring-replicas-max", ring.ReplicasMax)
	add("ring-fallbacks-max", ring.FallbacksMax)
	add("request-ms-max", requestTimeout.Milliseconds())
	add("request-hurry-ms-max", hurryMax.Milliseconds())
	add("peer-deaf-ms", deafFor.Milliseconds())
	add("request-renewals-max", renewsMax)
	add("request-stamps-max", stampsMax)
	add("cluster-scan-nodes-max", runNodesMax)
	add("cluster-scan-keys-max", pageKeysMax)
	add("cluster-scan-bytes-max", pageBytesMax)
	add("incarnations-kept-max", livesMax)
	return shown
}
