package resp

// splitInline cuts one line, without its end, into arguments and appends them
// to args, by the rules of Redis's sdssplitargs:
//
//   - white space separates arguments;
//   - between double quotes \xHH, \n, \r, \t, \b and \a are what they are in C,
//     and a backslash before any other byte stands for that byte;
//   - between single quotes \' is a quote and nothing else is special;
//   - quotes may begin inside an argument, and their end must be its end.
//
// Arguments are unescaped in place, for they never grow, and alias the line.
// ok is false when a quote is not closed, or is closed before the argument's
// end; the line is then spoiled.
//
// Redis never sees a NUL here: a line with one is never complete to its
// strchr. To us a NUL is a byte like any other.
func splitInline(args [][]byte, line []byte) (_ [][]byte, ok bool) {
	for i := 0; ; {
		for i < len(line) && isSpace(line[i]) {
			i++
		}
		if i == len(line) {
			return args, true
		}
		begin := i
		end, next, ok := unquote(line, begin)
		if !ok {
			return args, false
		}
		args = append(args, line[begin:end:end])
		i = next
	}
}

// unquote decodes in place the argument that begins at i. It returns where the
// decoded argument ends and where the rest of the line begins.
func unquote(line []byte, i int) (end, next int, ok bool) {
	end = i
	for i < len(line) {
		c := line[i]
		switch c {
		case '"', '\'':
			end, i, ok = unquoteUntil(c, line, end, i+1)
			return end, i, ok && (i == len(line) || isSpace(line[i]))
		case ' ', '\t', '\r', '\n':
			return end, i, true
		}
		line[end] = c
		end++
		i++
	}
	return end, i, true
}

// unquoteUntil decodes line[i:] onto line[end:] up to the closing quote. It
// returns the end of what it decoded and the index behind the quote.
func unquoteUntil(quote byte, line []byte, end, i int) (_, next int, ok bool) {
	for i < len(line) {
		c := line[i]
		i++
		switch {
		case c == quote:
			return end, i, true
		case c != '\\' || i == len(line):
			// An ordinary byte.
		case quote == '\'':
			if line[i] == '\'' {
				c = '\''
				i++
			}
		case line[i] == 'x' && i+2 < len(line) && isHex(line[i+1]) && isHex(line[i+2]):
			c = fromHex(line[i+1])<<4 | fromHex(line[i+2])
			i += 3
		default:
			c = fromEscape(line[i])
			i++
		}
		line[end] = c
		end++
	}
	return end, i, false
}

// fromEscape returns what a backslash and c stand for between double quotes.
func fromEscape(c byte) byte {
	switch c {
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	case 'b':
		return '\b'
	case 'a':
		return '\a'
	}
	return c
}

// isSpace is C's isspace. Inside an argument, only some of these end it.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func fromHex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
