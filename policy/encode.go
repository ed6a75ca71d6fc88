package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Encode writes the whole policy as a TOML file that loads as this policy. It
// fails when a path or a variable is not UTF-8, which TOML cannot hold.
func (p *Policy) Encode() ([]byte, error) {
	e := &encoder{}
	e.table(&policyTable, p, "")
	if e.invalid != "" {
		return nil, fmt.Errorf("policy %s: %s is not UTF-8", quote(p.Name), quote(e.invalid))
	}
	return []byte(e.b.String()), nil
}

// encoder writes TOML in the order of the tables of keys.
type encoder struct {
	b       strings.Builder
	invalid string // the first string that TOML cannot hold
}

// table writes the keys of a table, then the tables below it.
func (e *encoder) table(t *table, v any, at string) {
	for i := range t.keys {
		k := &t.keys[i]
		if k.kind == kindTable || k.kind == kindTables && at != "" {
			continue
		}
		if value := k.value(v); value != nil {
			fmt.Fprintf(&e.b, "%s = %s\n", k.name, e.value(k, value))
		}
	}
	for i := range t.keys {
		k := &t.keys[i]
		switch k.kind {
		case kindTable:
			fmt.Fprintf(&e.b, "\n[%s]\n", join(at, k.name))
			e.table(k.table, v, join(at, k.name))
		case kindTables:
			list, _ := k.value(v).([]any)
			for _, entry := range list {
				fmt.Fprintf(&e.b, "\n[[%s]]\n", join(at, k.name))
				e.entry(k.table, entry.(map[string]any))
			}
		default:
		}
	}
}

// entry writes an entry of an array of tables, a key on each line.
func (e *encoder) entry(t *table, m map[string]any) {
	for i := range t.keys {
		k := &t.keys[i]
		if value, ok := m[k.name]; ok {
			fmt.Fprintf(&e.b, "%s = %s\n", k.name, e.value(k, value))
		}
	}
}

// value writes what key.value returned, on one line.
func (e *encoder) value(k *key, v any) string {
	switch x := v.(type) {
	case string:
		return e.quote(x)
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return tomlFloat(x)
	case bool:
		return strconv.FormatBool(x)
	case []any:
		items := make([]string, len(x))
		for i, item := range x {
			items[i] = e.value(k, item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case map[string]any:
		return e.inline(k, x)
	}
	return ""
}

// inline writes a table on one line: in the order of its keys if it has known
// ones, else sorted by name.
func (e *encoder) inline(k *key, m map[string]any) string {
	var items []string
	if k.table != nil {
		for i := range k.table.keys {
			inner := &k.table.keys[i]
			if value, ok := m[inner.name]; ok {
				items = append(items, inner.name+" = "+e.value(inner, value))
			}
		}
	} else {
		for _, name := range sortedNames(m) {
			items = append(items, e.key(name)+" = "+e.value(k, m[name]))
		}
	}
	if len(items) == 0 {
		return "{}"
	}
	return "{ " + strings.Join(items, ", ") + " }"
}

// key writes a name that need not be bare.
func (e *encoder) key(name string) string {
	for i := 0; i < len(name); i++ {
		if !isBare(name[i]) {
			return e.quote(name)
		}
	}
	if name == "" {
		return `""`
	}
	return name
}

// quote writes a basic string of TOML in which everything that cannot be
// printed is escaped, so that it is also safe for a terminal.
func (e *encoder) quote(s string) string {
	if e.invalid == "" && !utf8.ValidString(s) {
		e.invalid = s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			fmt.Fprintf(&b, `\U%08X`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// tomlFloat writes a float with the point that TOML wants.
func tomlFloat(f float64) string {
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
