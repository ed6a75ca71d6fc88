package policy

import (
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// The bounds of a plausible file. A parser's time and stack grow with them
// faster than with the size of the file.
const (
	maxNesting  = 16
	maxKeyParts = 16
	maxTables   = 10_000
)

// scanner finds the line of every key of a TOML text. It is no parser: it
// takes for granted what the parser checks, and stops where it is lost.
type scanner struct {
	text  string
	pos   int
	line  int
	lines map[string]int
	// arrays counts the entries of each array of tables that is open.
	arrays map[string]int
	// excess says which bound the text breaks.
	excess string
}

// scanLines maps the path of each key ("limits.memory",
// "filesystem.mount[0].target") to its line. excess is set when the text is
// nested deeper or has more tables than any policy.
func scanLines(text string) (lines map[string]int, excessLine int, excess string) {
	s := &scanner{text: text, line: 1, lines: map[string]int{}, arrays: map[string]int{}}
	table := ""
	for s.excess == "" && s.skip(true) {
		ok := false
		if s.text[s.pos] == '[' {
			table, ok = s.header()
		} else {
			ok = s.pair(table, 0)
		}
		if !ok {
			break
		}
	}
	return s.lines, s.line, s.excess
}

// skip passes blanks and comments, and newlines if they may stand here. It
// reports whether anything is left.
func (s *scanner) skip(newlines bool) bool {
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '\n' && newlines:
			s.line++
		case c == ' ' || c == '\t' || c == '\r':
		case c == '#' && newlines:
			if end := strings.IndexByte(s.text[s.pos:], '\n'); end >= 0 {
				s.pos += end
			} else {
				s.pos = len(s.text)
			}
			continue
		default:
			return true
		}
		s.pos++
	}
	return false
}

// accept passes a byte if it comes next.
func (s *scanner) accept(c byte) bool {
	if s.pos < len(s.text) && s.text[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// note keeps the first line of a path.
func (s *scanner) note(path string, line int) {
	if _, ok := s.lines[path]; !ok {
		s.lines[path] = line
	}
	if len(s.lines) > maxTables {
		s.excess = fmt.Sprintf("more than %d keys", maxTables)
	}
}

// header reads [table] or [[table]] and returns its path.
func (s *scanner) header() (string, bool) {
	line := s.line
	s.pos++
	array := s.accept('[')
	parts, ok := s.dotted()
	if !ok || !s.accept(']') || array && !s.accept(']') {
		return "", false
	}
	path := ""
	for i, part := range parts {
		path = join(path, part)
		if array && i == len(parts)-1 {
			s.arrays[path]++
		}
		if n, ok := s.arrays[path]; ok {
			s.note(path, line)
			path = index(path, n-1)
		}
		s.note(path, line)
	}
	return path, true
}

// dotted reads a key with all its parts.
func (s *scanner) dotted() ([]string, bool) {
	var parts []string
	for {
		if !s.skip(false) {
			return nil, false
		}
		part, ok := s.part()
		if !ok {
			return nil, false
		}
		if parts = append(parts, part); len(parts) > maxKeyParts {
			s.excess = fmt.Sprintf("a key of more than %d parts", maxKeyParts)
			return nil, false
		}
		s.skip(false)
		if !s.accept('.') {
			return parts, true
		}
	}
}

// part reads one part of a key and returns it as quoteKey writes it.
func (s *scanner) part() (string, bool) {
	start := s.pos
	if c := s.text[s.pos]; c == '"' || c == '\'' {
		if !s.quoted(c) {
			return "", false
		}
		literal := s.text[start:s.pos]
		if !strings.ContainsRune(literal, '\\') || c == '\'' {
			return quoteKey(literal[1 : len(literal)-1]), true
		}
		// Escapes are the parser's to read: they are not those of Go.
		var read struct{ Name string }
		if _, err := toml.Decode("name = "+literal, &read); err != nil {
			return "", false
		}
		return quoteKey(read.Name), true
	}
	for s.pos < len(s.text) && isBare(s.text[s.pos]) {
		s.pos++
	}
	// Long names are shortened, these too.
	return quoteKey(s.text[start:s.pos]), s.pos > start
}

func isBare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// quoteKey writes a part of a key as a policy would.
func quoteKey(name string) string {
	for i := 0; i < len(name); i++ {
		if !isBare(name[i]) {
			return quote(name)
		}
	}
	if name == "" || len(name) > maxQuoted {
		return quote(name)
	}
	return name
}

// pair reads key = value of the table at path.
func (s *scanner) pair(path string, depth int) bool {
	line := s.line
	parts, ok := s.dotted()
	if !ok || !s.accept('=') {
		return false
	}
	for _, part := range parts {
		path = join(path, part)
		s.note(path, line)
	}
	s.skip(false)
	return s.value(path, depth)
}

// value passes a value, noting the keys inside it.
func (s *scanner) value(path string, depth int) bool {
	if depth > maxNesting {
		s.excess = fmt.Sprintf("values nested more than %d deep", maxNesting)
		return false
	}
	if s.pos >= len(s.text) {
		return false
	}
	switch c := s.text[s.pos]; c {
	case '"', '\'':
		return s.quoted(c)
	case '[':
		return s.array(path, depth)
	case '{':
		return s.inline(path, depth)
	}
	end := strings.IndexAny(s.text[s.pos:], ",]}#\n")
	if end < 0 {
		end = len(s.text) - s.pos
	}
	s.pos += end
	return end > 0
}

// array passes [ ... ], numbering its items.
func (s *scanner) array(path string, depth int) bool {
	s.pos++
	for i := 0; ; i++ {
		if !s.skip(true) {
			return false
		}
		if s.accept(']') {
			return true
		}
		item := index(path, i)
		s.note(item, s.line)
		if s.excess != "" || !s.value(item, depth+1) || !s.skip(true) {
			return false
		}
		if !s.accept(',') && s.text[s.pos] != ']' {
			return false
		}
	}
}

// inline passes { ... }.
func (s *scanner) inline(path string, depth int) bool {
	s.pos++
	for {
		if !s.skip(true) {
			return false
		}
		if s.accept('}') {
			return true
		}
		if !s.pair(path, depth+1) || s.excess != "" || !s.skip(true) {
			return false
		}
		if !s.accept(',') && s.text[s.pos] != '}' {
			return false
		}
	}
}

// quoted passes a string of any of the four forms that begins with q.
func (s *scanner) quoted(q byte) bool {
	triple := strings.Repeat(string(q), 3)
	multi := strings.HasPrefix(s.text[s.pos:], triple)
	if multi {
		s.pos += 3
	} else {
		s.pos++
	}
	for ; s.pos < len(s.text); s.pos++ {
		switch c := s.text[s.pos]; {
		case c == '\\' && q == '"':
			s.pos++
			if s.pos < len(s.text) && s.text[s.pos] == '\n' {
				s.line++
			}
		case c == '\n' && !multi:
			return false
		case c == '\n':
			s.line++
		case c == q && !multi:
			s.pos++
			return true
		case c == q && strings.HasPrefix(s.text[s.pos:], triple):
			s.pos += 3
			// Up to two quotes may stand directly before the closing three.
			for range 2 {
				s.accept(q)
			}
			return true
		}
	}
	return false
}
