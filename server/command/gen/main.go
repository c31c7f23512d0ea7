// Gen writes commands.json, the table of package command: the commands of include.txt as a running
// Redis 7.0 reports them, then changed by redis72.json to what Redis 7.2 serves, then by cartwheel.json
// to what Cartwheel serves. Both are JSON merge patches (RFC 7396) keyed by a command's full name.
//
// Not everything that 7.2 says differently is in redis72.json: summaries and argument names that it
// only reworded stay those of 7.0. In cartwheel.json MSETNX loses the tip to split it by shard, since
// it wants its keys in one slot, and CLUSTER is a plain command.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

//go:embed include.txt
var includeTXT string

//go:embed redis72.json
var redis72JSON []byte

//go:embed cartwheel.json
var cartwheelJSON []byte

// object is a JSON object: a command, or a part of one.
type object = map[string]any

// table is all commands and subcommands by their full names. Subcommands are in their containers
// only when it is written.
type table map[string]object

func main() {
	server := flag.String("server", "127.0.0.1:6379", "address of a Redis 7.0")
	out := flag.String("out", "commands.json", "file to write")
	flag.Parse()
	if err := run(*server, *out); err != nil {
		log.Fatal(err)
	}
}

func run(server, out string) error {
	reported, err := ask(server)
	if err != nil {
		return fmt.Errorf("ask %s: %w", server, err)
	}
	redis72, err := parsePatches(redis72JSON)
	if err != nil {
		return fmt.Errorf("redis72.json: %w", err)
	}
	cartwheel, err := parsePatches(cartwheelJSON)
	if err != nil {
		return fmt.Errorf("cartwheel.json: %w", err)
	}
	reported.apply(redis72)

	commands := table{}
	for _, name := range included() {
		row, ok := reported[name]
		if !ok {
			return fmt.Errorf("include.txt: neither Redis nor redis72.json has %q", name)
		}
		commands[name] = row
	}
	commands.apply(cartwheel)
	return commands.write(out)
}

// included lists the full names in include.txt.
func included() []string {
	var names []string
	for line := range strings.Lines(includeTXT) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		for i, word := range words {
			if i > 0 {
				word = words[0] + "|" + word
			}
			names = append(names, word)
		}
	}
	return names
}

// ask gets all that the server reports.
func ask(server string) (table, error) {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: server, Protocol: 3})
	defer func() { _ = client.Close() }()

	infos, err := client.Do(ctx, "COMMAND").Slice()
	if err != nil {
		return nil, err
	}
	docs, err := client.Do(ctx, "COMMAND", "DOCS").Result()
	if err != nil {
		return nil, err
	}
	reported := table{}
	reported.addInfos(infos)
	reported.addDocs(plain(docs).(object))
	return reported, nil
}

// addInfos reads elements of COMMAND's reply.
func (t table) addInfos(infos []any) {
	fields := []string{
		"name", "arity", "flags", "first_key", "last_key", "key_step",
		"acl_categories", "tips", "key_specs",
	}
	for _, info := range infos {
		info := info.([]any)
		row := object{}
		for i, field := range fields {
			row[field] = plain(info[i])
		}
		t[row["name"].(string)] = row
		t.addInfos(info[len(fields)].([]any))
	}
}

// addDocs reads COMMAND DOCS's reply.
func (t table) addDocs(docs object) {
	for name, doc := range docs {
		doc := doc.(object)
		if subcommands, ok := doc["subcommands"].(object); ok {
			t.addDocs(subcommands)
			delete(doc, "subcommands")
		}
		t[name]["docs"] = doc
	}
}

// plain turns a reply's maps into JSON objects.
func plain(reply any) any {
	switch reply := reply.(type) {
	case map[any]any:
		o := object{}
		for key, value := range reply {
			o[key.(string)] = plain(value)
		}
		return o
	case []any:
		list := make([]any, len(reply))
		for i, value := range reply {
			list[i] = plain(value)
		}
		return list
	}
	return reply
}

func parsePatches(text []byte) (patches object, err error) {
	err = json.Unmarshal(text, &patches)
	return patches, err
}

func (t table) apply(patches object) {
	for name, patch := range patches {
		row := t[name]
		if row == nil {
			row = object{"name": name}
			t[name] = row
		}
		merge(row, patch.(object))
	}
}

// merge is MergePatch of RFC 7396 for two objects.
func merge(target, patch object) {
	for field, value := range patch {
		inner, isObject := value.(object)
		switch {
		case value == nil:
			delete(target, field)
		case isObject:
			old, ok := target[field].(object)
			if !ok {
				old = object{}
				target[field] = old
			}
			merge(old, inner)
		default:
			target[field] = value
		}
	}
}

// write writes the commands sorted by name, and inside containers their subcommands so.
func (t table) write(file string) error {
	top := []object{}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		container, _, isSub := strings.Cut(name, "|")
		if !isSub {
			top = append(top, t[name])
			continue
		}
		parent := t[container]
		if parent == nil {
			return fmt.Errorf("%q has no container", name)
		}
		subcommands, _ := parent["subcommands"].([]any)
		parent["subcommands"] = append(subcommands, t[name])
	}
	text, err := json.MarshalIndent(object{"commands": top}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
