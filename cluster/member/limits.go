package member

import "strconv"

// Limits returns the names and values of what bounds agreement and gossip, for CONFIG
// GET: bytes, unless the name says otherwise.
func Limits() [][2]string {
	var shown [][2]string
	add := func(name string, value int64) {
		shown = append(shown, [2]string{name, strconv.FormatInt(value, 10)})
	}
	add("agreement-bytes-max", messageBytesMax)
	add("agreement-bytes-at-once", bytesAtOnce)
	add("agreement-requests-at-once", askedAtOnceMin)
	add("agreement-pause-ms-max", pauseMax.Milliseconds())
	add("gossip-nodes-max", nodesMax)
	add("gossip-connections-max", streamsMax)
	add("gossip-packet-bytes-max", packetBytesMax)
	add("peer-strangers-max", sniffsMax)
	add("peer-accepts-max", peersQueuedMax)
	add("peer-silent-ms", silentAfter.Milliseconds())
	return shown
}
