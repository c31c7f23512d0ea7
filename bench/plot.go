package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
)

// The plot is a bar for each row, as long as its median ratio, with a whisker from the least to the
// greatest and a red tick at the floor. Lengths are in pixels.
const (
	plotLeft   = 170 // room for names
	plotBars   = 480 // room for bars
	plotRight  = 110 // room for figures
	plotTop    = 64
	plotRow    = 26
	plotBar    = 14
	plotBottom = 24
)

// plot draws the report as an SVG document.
func plot(r *compareReport) []byte {
	longest := 1.2
	for _, row := range r.Rows {
		longest = max(longest, row.Ratio.Max)
	}
	x := func(ratio float64) float64 { return plotLeft + plotBars*ratio/longest }
	width, bottom := plotLeft+plotBars+plotRight, plotTop+plotRow*len(r.Rows)
	var svg bytes.Buffer
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		width, bottom+plotBottom)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, bottom+plotBottom)
	text := func(x, y float64, anchor, said string) {
		fmt.Fprintf(&svg, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, escape(said))
	}
	line := func(x1, y1, x2, y2 float64, style string) {
		fmt.Fprintf(&svg, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, style)
	}
	text(10, 20, "start", r.title())
	text(10, 38, "start", fmt.Sprintf("%s, %d cores shared with the load; red: the floor", r.Machine.CPU, r.CoresShared))
	line(x(1), plotTop-6, x(1), float64(bottom), `stroke="#888" stroke-dasharray="4 3"`)
	text(x(1), plotTop-10, "middle", "1.0")
	for n, row := range r.Rows {
		top := float64(plotTop + plotRow*n)
		middle := top + plotBar/2
		text(plotLeft-8, middle+4, "end", row.Name)
		fill := "#4878a8"
		if row.UnderFloor {
			fill = "#d08770"
		}
		fmt.Fprintf(&svg, `<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s"/>`+"\n",
			plotLeft, top, x(row.Ratio.Median)-plotLeft, plotBar, fill)
		line(x(row.Ratio.Min), middle, x(row.Ratio.Max), middle, `stroke="black"`)
		if row.Floor != nil {
			line(x(*row.Floor), top-3, x(*row.Floor), top+plotBar+3, `stroke="#c00" stroke-width="2"`)
		}
		text(x(longest)+8, middle+4, "start", fmt.Sprintf("%.2f %s", row.Ratio.Median, verdict(row)))
	}
	svg.WriteString("</svg>\n")
	return svg.Bytes()
}

// title says what the bars are.
func (r *compareReport) title() string {
	if r.Cluster {
		return fmt.Sprintf("Three nodes of %s to a Redis %s with two replicas and WAIT 1: median, least and greatest of %d rounds",
			r.Subject, r.Machine.Redis, r.RoundCount)
	}
	return fmt.Sprintf("Requests a second, %s to Redis %s: median, least and greatest of %d rounds", r.Subject, r.Machine.Redis, r.RoundCount)
}

// escape makes said safe between XML tags.
func escape(said string) string {
	var safe bytes.Buffer
	_ = xml.EscapeText(&safe, []byte(said)) // a bytes.Buffer takes everything
	return safe.String()
}
