package command

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cartwheel/resp"
)

var _ ReplyWriter = (*resp.Writer)(nil)

// patched is the full names of the commands that gen changes or adds to those of Redis 7.0.
func patched(t *testing.T) map[string]any {
	t.Helper()
	names := map[string]any{}
	for _, file := range []string{"gen/redis72.json", "gen/cartwheel.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &names); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// TestRepliesAreRedis70s compares each command's row and docs with those of a running Redis. A
// container's subcommands are compared one by one: Redis lists them in no order. display_text is left out:
// Redis 7.2 always says it, 7.0 did not.
func TestRepliesAreRedis70s(t *testing.T) {
	addr, patched := startRedis(t), patched(t)
	for _, protocol := range []string{"2", "3"} {
		redis := dialRedis(t, addr)
		redis.do("HELLO", protocol)
		written := func(write func(ReplyWriter)) reply {
			w := resp.Writer{RESP3: protocol == "3"}
			write(&w)
			return readReply(t, bufio.NewReader(bytes.NewReader(w.Buf)))
		}
		compare := func(what, name string, got, want reply) {
			t.Helper()
			if got.String() != want.String() {
				t.Errorf("RESP%s: %s of %s:\n%q\nwant\n%q", protocol, what, name, got, want)
			}
		}
		var missing *Command
		compare("COMMAND INFO", "a missing command", written(missing.WriteInfo),
			redis.do("COMMAND", "INFO", "missing").parts[0])
		for _, c := range Table().All() {
			name := c.FullName()
			if _, ok := patched[name]; ok {
				continue
			}
			got, want := written(c.WriteInfo), redis.do("COMMAND", "INFO", name).parts[0]
			if len(c.Subcommands) > 0 {
				got.parts, want.parts = got.parts[:9], want.parts[:9]
			}
			compare("COMMAND INFO", name, got, want)

			got, want = written(c.WriteDocs), redis.do("COMMAND", "DOCS", name).parts[1]
			compare("COMMAND DOCS", name, got.without("display_text").without("subcommands"),
				want.without("display_text").without("subcommands"))
		}
	}
}

func TestKeysAreRedis70s(t *testing.T) {
	redis := dialRedis(t, startRedis(t))
	for _, sample := range keySamples {
		args := strings.Fields(sample.line)
		if strings.HasPrefix(args[0], "V") {
			continue // our own
		}
		keys := redis.do(append([]string{"COMMAND", "GETKEYS"}, args...)...)
		if got := strings.Join(keys.words(), " "); got != sample.keys {
			t.Errorf("Redis's keys of %s: %q, not %q", sample.line, got, sample.keys)
		}
		var flags []string
		for _, use := range redis.do(append([]string{"COMMAND", "GETKEYSANDFLAGS"}, args...)...).parts {
			flags = append(flags, strings.Join(use.parts[1].words(), ","))
		}
		if got := strings.Join(flags, " "); got != sample.flags {
			t.Errorf("Redis's flags of %s: %q, not %q", sample.line, got, sample.flags)
		}
	}
	for _, sample := range keyErrors {
		failed := redis.do(append([]string{"COMMAND", "GETKEYS"}, strings.Fields(sample.line)...)...)
		if want := "ERR " + sample.want.Error(); failed.text != want {
			t.Errorf("Redis's error for %s: %q, not %q", sample.line, failed.text, want)
		}
	}
}

// TestContainersListTheirSubcommands covers what TestRepliesAreRedis70s leaves out.
func TestContainersListTheirSubcommands(t *testing.T) {
	for _, c := range Table().TopLevel() {
		if len(c.Subcommands) == 0 {
			continue
		}
		var info, docs resp.Writer
		c.WriteInfo(&info)
		c.WriteDocs(&docs)
		for _, sub := range c.Subcommands {
			var subInfo, subDocs resp.Writer
			sub.WriteInfo(&subInfo)
			subDocs.BulkString(sub.FullName())
			sub.WriteDocs(&subDocs)
			if !bytes.Contains(info.Buf, subInfo.Buf) || !bytes.Contains(docs.Buf, subDocs.Buf) {
				t.Errorf("%s does not list %s", c.Name, sub.FullName())
			}
		}
	}
}

func TestDisplayTextIsTheNameOfWhatStandsForAWord(t *testing.T) {
	docs := func(name string) string {
		var w resp.Writer
		find(name).WriteDocs(&w)
		return string(w.Buf)
	}
	cases := []struct{ command, fields string }{
		{"get", "name key type key display_text key key_spec_index"},
		{"vget", "name r type integer display_text n token R"},
		{"set", "name condition type oneof since 2.6.12"},
	}
	for _, c := range cases {
		want := &resp.Writer{}
		for field := range strings.FieldsSeq(c.fields) {
			want.BulkString(field)
		}
		if got := docs(c.command); !strings.Contains(got, string(want.Buf)) {
			t.Errorf("the docs of %s lack %q: %q", c.command, c.fields, got)
		}
	}
}

func TestTableIsWhatGenWrites(t *testing.T) {
	addr := startRedis(t)
	dialRedis(t, addr) // waits until it listens
	out := filepath.Join(t.TempDir(), "commands.json")
	if text, err := exec.Command("go", "run", "./gen", "-server", addr, "-out", out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, commandsJSON) {
		t.Error("commands.json is not what gen writes: run go generate")
	}
}
