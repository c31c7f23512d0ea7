package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/alecthomas/kong"

	"cartwheel/cluster/sabotage"
	"cartwheel/server"
)

// configFile gives flags the values of a TOML file, where neither the command
// line nor the environment has them. Its keys are the flags' names.
type configFile struct {
	path   string
	values map[string]any // nil: not read yet
	// settings are those of the server that no flag has: the file's table
	// server.SettingsTable, to which CONFIG REWRITE writes.
	settings map[string]string
	err      error // why it could not be used; for the command to report
}

// Validate has nothing to check: what the file is, only flags tell.
func (f *configFile) Validate(*kong.Application) error { return nil }

// Resolve returns the file's value for a flag, or nil.
func (f *configFile) Resolve(context *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if f.values == nil {
		f.values = map[string]any{}
		if f.path = configPath(context); f.path != "" {
			f.err = f.read(flagNames(context))
		}
	}
	if flag.Name == "config" || f.err != nil || inEnvironment(flag) {
		return nil, nil
	}
	return f.values[flag.Name], nil
}

// inEnvironment says that a variable gives the flag's value: it goes before
// the file's.
func inEnvironment(flag *kong.Flag) bool {
	return slices.ContainsFunc(flag.Envs, func(name string) bool {
		_, found := os.LookupEnv(name)
		return found
	})
}

func (f *configFile) read(known []string) error {
	text, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("--config: %w", err)
	}
	if err := toml.Unmarshal(text, &f.values); err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return fmt.Errorf("--config: %s, line %d: %s", f.path, parse.Position.Line, parse.Message)
		}
		return fmt.Errorf("--config: %s: %w", f.path, err)
	}
	if err := f.takeSettings(); err != nil {
		return err
	}
	for name, value := range f.values {
		if !slices.Contains(known, name) {
			return fmt.Errorf("--config: %s: there is no setting %q", f.path, name)
		}
		switch value.(type) {
		case string, bool, int64, float64:
			f.values[name] = fmt.Sprint(value) // read as the command line's are
		default:
			return fmt.Errorf("--config: %s: %s must be a string, a number, true or false", f.path, name)
		}
	}
	return nil
}

// takeSettings moves the server's settings out of values.
func (f *configFile) takeSettings() error {
	table, found := f.values[server.SettingsTable]
	if !found {
		return nil
	}
	delete(f.values, server.SettingsTable)
	entries, isTable := table.(map[string]any)
	if !isTable {
		return fmt.Errorf("--config: %s: %s must be a table", f.path, server.SettingsTable)
	}
	f.settings = make(map[string]string, len(entries))
	for name, value := range entries {
		f.settings[name] = fmt.Sprint(value)
	}
	return nil
}

// configPath finds --config before flags have their values.
func configPath(context *kong.Context) string {
	for _, path := range context.Path {
		if path.Flag != nil && path.Flag.Name == "config" {
			return context.FlagValue(path.Flag).(string)
		}
	}
	return os.Getenv("CARTWHEEL_CONFIG")
}

// flagNames lists what a file may set.
func flagNames(context *kong.Context) (names []string) {
	for _, flag := range context.Flags() {
		if flag.Name != "help" && flag.Name != "config" {
			names = append(names, flag.Name)
		}
	}
	return names
}

// ofKubernetes are the variables that Kubernetes gives every container for a
// Service named cartwheel.
var ofKubernetes = regexp.MustCompile(`^CARTWHEEL_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_[0-9]+_(TCP|UDP)(_.*)?)$`)

// checkEnvironment refuses CARTWHEEL_ variables that no flag has.
func checkEnvironment(model *kong.Application, environ []string) error {
	known := map[string]bool{sabotage.Variable: sabotage.Built}
	var visit func(node *kong.Node)
	visit = func(node *kong.Node) {
		for _, flag := range node.Flags {
			for _, name := range flag.Envs {
				known[name] = true
			}
		}
		for _, child := range node.Children {
			visit(child)
		}
	}
	visit(model.Node)
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "CARTWHEEL_") && !known[name] && !ofKubernetes.MatchString(name) {
			return fmt.Errorf("there is no setting for the variable %s", name)
		}
	}
	return nil
}
