package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"cartwheel/server"
)

type versionCommand struct{}

// Run prints the version, what it was built from and with.
func (versionCommand) Run() error {
	revision := "unknown revision"
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range build.Settings {
			if setting.Key == "vcs.revision" {
				revision = setting.Value
			}
		}
	}
	fmt.Printf("cartwheel %s (%s, %s, %s/%s)\n", server.Version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
