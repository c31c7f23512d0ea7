package server

import (
	"bytes"
	"errors"
	"strings"

	"cartwheel/server/redisvalue"
)

var configHandlers = map[string]handler{
	"config|get":       {local: configGet},
	"config|set":       {local: configSet},
	"config|resetstat": {local: configResetStat},
	"config|rewrite":   {slow: configRewrite},
	"config|help":      help(configHelp),
}

const configHelp = `GET <pattern>
    Return parameters matching the glob-like <pattern> and their values.
SET <directive> <value>
    Set the configuration <directive> to <value>.
RESETSTAT
    Reset statistics reported by the INFO command.
REWRITE
    Rewrite the configuration file.`

// configGet shows each setting once, even if several patterns match it. A name
// that is no pattern is shown as it was asked for.
func configGet(c *call) {
	st := &c.srv.settings
	shown := make([]string, len(st.rows)) // the name, "" if it is not asked for
	count := 0
	show := func(i int, name string) {
		if shown[i] == "" {
			shown[i] = name
			count++
		}
	}
	for _, pattern := range c.args[2:] {
		if !bytes.ContainsAny(pattern, "*?[") {
			if i, known := st.byName[strings.ToLower(string(pattern))]; known {
				show(i, string(pattern))
			}
			continue
		}
		for i := range st.rows {
			if redisvalue.Glob(pattern, []byte(st.rows[i].name), true) {
				show(i, st.rows[i].name)
			}
		}
	}
	c.w.Map(count)
	for i, name := range shown {
		if name != "" {
			c.pair(name, st.rows[i].value())
		}
	}
}

func configSet(c *call) {
	pairs := c.args[2:]
	if len(pairs)%2 != 0 {
		c.w.Error(errSyntax)
		return
	}
	changes := make([]change, 0, len(pairs)/2)
	for ; len(pairs) > 0; pairs = pairs[2:] {
		changes = append(changes, change{string(pairs[0]), string(pairs[1])})
	}
	err := c.srv.configure(changes)
	var refused *changeError
	switch {
	case err == nil:
		c.srv.wakeLoops() // timeout may matter to connections at rest
		c.w.OK()
	case errors.As(err, &refused) && refused.err != nil:
		c.w.Error("ERR CONFIG SET failed (possibly related to argument '" + refused.name + "') - " + refused.err.Error())
	case errors.As(err, &refused):
		c.w.Error("ERR Unknown option or number of arguments for CONFIG SET - '" + refused.name + "'")
	default:
		c.w.Error("ERR " + err.Error())
	}
}

func configResetStat(c *call) {
	c.srv.stats.reset()
	for _, sh := range c.srv.shards {
		sh.reset()
	}
	c.w.OK()
}

func configRewrite(c *call) {
	if c.srv.opts.ConfigFile == "" {
		c.w.Error("ERR The server is running without a config file")
		return
	}
	if err := c.srv.rewriteConfig(); err != nil {
		c.srv.log.Error().Err(err).Msg("CONFIG REWRITE failed")
		c.w.Error("ERR Rewriting config file: " + err.Error())
		return
	}
	c.w.OK()
}
