package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"cartwheel/bench/machine"
	"cartwheel/bench/proc"
)

// resident is a process's resident memory, in MB of 2^20 bytes.
type resident struct {
	PeakMB float64 `json:"peak_mb"`
	EndMB  float64 `json:"end_mb"`
}

// memoryReport is all that the measurement leaves behind, as memory.json has it.
type memoryReport struct {
	Command        string        `json:"command"`
	Began          time.Time     `json:"began"`
	Machine        machine.Facts `json:"machine"`
	FileSystem     string        `json:"file_system"`
	Subject        string        `json:"subject"`
	SubjectVersion string        `json:"subject_version,omitempty"`
	Keys           int           `json:"keys"`
	ValueBytes     int           `json:"value_bytes"`
	MemoryMB       int           `json:"memory_mb"`
	Sample         int           `json:"sample"`
	Seed           uint64        `json:"seed"` // of the sample
	LoadS          float64       `json:"load_s"`
	Loaded         resident      `json:"rss_loaded"`    // of the first process, sample checked
	ReadyS         float64       `json:"ready_s"`       // from the restart to the answers to PING and a GET
	Restarted      resident      `json:"rss_restarted"` // of the second process, sample checked again
	RSSMaxMB       int           `json:"rss_max_mb"`
	ReadyMaxS      float64       `json:"ready_max_s"`
	Broken         []string      `json:"broken"` // floors, in words
}

// judge holds the figures against the floors.
func (r *memoryReport) judge() {
	r.Broken = []string{}
	if peak := max(r.Loaded.PeakMB, r.Restarted.PeakMB); peak > float64(r.RSSMaxMB) {
		r.Broken = append(r.Broken, fmt.Sprintf("RSS peak %.1f MB > %d MB", peak, r.RSSMaxMB))
	}
	if r.ReadyS > r.ReadyMaxS {
		r.Broken = append(r.Broken, fmt.Sprintf("ready after %.2f s > %g s", r.ReadyS, r.ReadyMaxS))
	}
}

// print says it to people.
func (r *memoryReport) print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s; data on %s\n", r.Command, r.Machine, r.FileSystem)
	if r.SubjectVersion != "" {
		fmt.Fprintf(w, "%s: %s\n", r.Subject, r.SubjectVersion)
	}
	fmt.Fprintf(w, "\n%s, %d keys of %d bytes with %d MB: loaded in %.1f s\n", r.Subject, r.Keys, r.ValueBytes, r.MemoryMB, r.LoadS)
	fmt.Fprintf(w, "RSS          peak %.1f MB, end %.1f MB (at most %d MB)\n", r.Loaded.PeakMB, r.Loaded.EndMB, r.RSSMaxMB)
	fmt.Fprintf(w, "kill -9      ready after %.2f s (at most %g s)\n", r.ReadyS, r.ReadyMaxS)
	fmt.Fprintf(w, "RSS then     peak %.1f MB, end %.1f MB\n", r.Restarted.PeakMB, r.Restarted.EndMB)
	fmt.Fprintf(w, "sample       %d keys served before and after (seed %d)\n", r.Sample, r.Seed)
	for _, floor := range r.Broken {
		fmt.Fprintln(w, "BROKEN      ", floor)
	}
}

// readMemory reads a live server's resident memory.
func readMemory(server *proc.Server, into *resident) error {
	peak, errPeak := server.PeakRSS()
	end, errEnd := server.RSS()
	*into = resident{PeakMB: hundredths(float64(peak) / (1 << 20)), EndMB: hundredths(float64(end) / (1 << 20))}
	return errors.Join(errPeak, errEnd)
}

func seconds(d time.Duration) float64 { return hundredths(d.Seconds()) }

func hundredths(figure float64) float64 { return math.Round(figure*100) / 100 }
