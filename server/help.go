package server

import "strings"

// help answers <CONTAINER> HELP: one element a line of the text.
func help(text string) handler {
	lines := strings.Split(text, "\n")
	return handler{local: func(c *call) {
		c.help(strings.ToUpper(c.cmd.Parent.Name), lines)
	}}
}
