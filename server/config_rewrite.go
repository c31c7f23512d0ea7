package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// SettingsTable is the table of the configuration file that CONFIG REWRITE
// writes to, and whose values are for Configure.
const SettingsTable = "settings"

// rewriteConfig writes the settings that CONFIG SET has changed into the
// configuration file and leaves the rest of it as it is. After a crash the file
// is the old one or the new one.
func (s *Server) rewriteConfig() error {
	st := &s.settings
	st.mu.Lock()
	defer st.mu.Unlock()
	values := make(map[string]string)
	for name := range st.changed {
		values[name] = st.rows[st.byName[name]].value()
	}
	text, err := os.ReadFile(s.opts.ConfigFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	rewritten := withSettings(string(text), values)
	if err := checkRewritten(string(text), rewritten, values); err != nil {
		return err
	}
	return replaceFile(s.opts.ConfigFile, []byte(rewritten))
}

// withSettings returns a TOML text in which the table has the values, each in
// the place of the line it had. It takes lines for what they look like:
// checkRewritten tells if they were not.
func withSettings(text string, values map[string]string) string {
	const header = "[" + SettingsTable + "]"
	var lines []string
	if text != "" {
		lines = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	begin := slices.IndexFunc(lines, func(line string) bool {
		content, _, _ := strings.Cut(line, "#")
		return strings.TrimSpace(content) == header
	})
	if begin < 0 {
		if len(values) == 0 {
			return text
		}
		if len(lines) > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, header)
		begin = len(lines) - 1
	}
	end := begin + 1 // behind the last line of the table
	written := make(map[string]bool)
	for i := begin + 1; i < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[i]), "["); i++ {
		name, _, isPair := strings.Cut(lines[i], "=")
		name = strings.Trim(strings.TrimSpace(name), `"'`)
		if value, found := values[name]; isPair && found {
			lines[i] = settingLine(name, value)
			written[name] = true
		}
		if strings.TrimSpace(lines[i]) != "" {
			end = i + 1
		}
	}
	var added []string
	for name, value := range values {
		if !written[name] {
			added = append(added, settingLine(name, value))
		}
	}
	slices.Sort(added)
	return strings.Join(slices.Insert(lines, end, added...), "\n") + "\n"
}

// settingLine is one setting in TOML. Values are checked when they are set: none
// has a byte to be escaped.
func settingLine(name, value string) string { return fmt.Sprintf("%s = %q", name, value) }

// checkRewritten refuses a text that says anything but what it said before and
// the values.
func checkRewritten(before, after string, values map[string]string) error {
	var was, is map[string]any
	if err := toml.Unmarshal([]byte(before), &was); err != nil {
		return fmt.Errorf("read it: %w", err)
	}
	err := toml.Unmarshal([]byte(after), &is)
	table, isTable := was[SettingsTable].(map[string]any)
	if !isTable {
		table = make(map[string]any)
	}
	for name, value := range values {
		table[name] = value
	}
	if was == nil {
		was = make(map[string]any)
	}
	if isTable || len(values) > 0 {
		was[SettingsTable] = table
	}
	if is == nil {
		is = make(map[string]any)
	}
	if err != nil || !reflect.DeepEqual(was, is) {
		return fmt.Errorf("it is written in a way that cannot be changed by line: give [%s] a line of its own, "+
			"and each setting in it", SettingsTable)
	}
	return nil
}

// replaceFile writes a file anew, with the mode of the old one.
func replaceFile(path string, text []byte) (err error) {
	mode := os.FileMode(0o600)
	if old, err := os.Stat(path); err == nil {
		mode = old.Mode().Perm()
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil // the file is there; some systems cannot sync directories
	}
	_, _ = d.Sync(), d.Close()
	return nil
}
