package repair

import "strconv"

// Limits returns the names and values of what bounds the work in the background, for
// CONFIG GET: bytes, unless the name says otherwise.
func (r *Repair) Limits() [][2]string {
	var shown [][2]string
	add := func(name string, value int64) {
		shown = append(shown, [2]string{"repair-" + name, strconv.FormatInt(value, 10)})
	}
	add("rate-min", r.opts.RateMin)
	add("rate-max", r.opts.RateMax)
	add("calls-max", int64(r.opts.CallsMax))
	add("served-max", int64(r.opts.ServedMax))
	add("call-ms-max", r.opts.CallTimeout.Milliseconds())
	add("filled-ms-max", r.opts.FilledTimeout.Milliseconds())
	add("exchange-interval-ms", r.opts.ExchangeInterval.Milliseconds())
	add("stability-interval-ms", r.opts.StabilityInterval.Milliseconds())
	add("drop-grace-ms", r.opts.DropGrace.Milliseconds())
	add("retry-ms-max", retryMax.Milliseconds())
	add("page-bytes-max", pageBytesMax)
	add("compare-keys-max", entriesMax)
	add("compare-bytes-max", entriesBytesMax)
	add("scan-keys-max", scanKeysMax)
	add("scan-bytes-max", scanBytesMax)
	for kind, most := range runningMax {
		add(taskKind(kind).String()+"-tasks-max", int64(most))
	}
	return shown
}
