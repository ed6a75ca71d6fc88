package policy

import (
	"fmt"
	"strings"
)

// kind is how a value is written in TOML.
type kind uint8

const (
	kindString   kind = iota
	kindNumber        // an integer
	kindBool          //
	kindSize          // a Size in a string
	kindDuration      // a Duration in a string
	kindCount         // an integer, or "unlimited" where the key allows it
	kindCPUs          // a number, or "unlimited"
	kindID            // a user or group id
	kindWord          // an integer of 64 bits; a string in hexadecimal where TOML's end at 2^63
	kindNames         // an array of strings
	kindEnv           // a table of strings
	kindUlimits       // a table of integers, sizes or {soft, hard}
	kindTable         // a table with keys of its own
	kindTables        // an array of tables
)

// key describes one key. The decoder, the overrides, Explain, the encoder and
// the JSON Schema all work from these descriptions.
//
// To add a key: add the field to Policy with its comment, a line to the table
// it belongs to, its value to Defaults, and its rules to validate.go.
type key struct {
	name string
	kind kind
	// field gives the pointer into the value that the table describes: a
	// *Policy for all tables but those of arrays. Nil for keys of the file.
	field func(any) any
	// accept lists the only strings accepted, if it is not empty.
	accept []string
	// check says what is wrong with a string or with an item of kindNames,
	// in words, or "".
	check func(string) string
	// min and max bound numbers: bytes, nanoseconds, hundredths of a CPU.
	min, max  int64
	unlimited bool
	required  bool
	// table describes the keys of kindTable and kindTables.
	table *table
	// example is a value in TOML.
	example string
	doc     string
}

// table describes the keys of one TOML table.
type table struct {
	keys []key
}

// find looks up a key by its name.
func (t *table) find(name string) *key {
	for i := range t.keys {
		if t.keys[i].name == name {
			return &t.keys[i]
		}
	}
	return nil
}

// findPath looks up a dotted path of tables and a key.
func findPath(path string) *key {
	t := &policyTable
	for {
		name, rest, more := strings.Cut(path, ".")
		k := t.find(name)
		if k == nil || !more {
			return k
		}
		if k.kind != kindTable {
			return nil
		}
		t, path = k.table, rest
	}
}

// accepts says in words what the key accepts.
func (k *key) accepts() string {
	var text string
	switch k.kind {
	case kindString:
		text = "a string"
		if len(k.accept) > 0 {
			text = "one of " + strings.Join(quoteAll(k.accept), ", ")
		}
		if k.example != "" {
			text += " such as " + k.example
		}
		return text
	case kindNumber, kindCount, kindID:
		text = fmt.Sprintf("a whole number from %d to %d", k.min, k.max)
	case kindBool:
		return "true or false"
	case kindSize:
		text = fmt.Sprintf("a size from %s to %s in %s, such as %s", Size(k.min), Size(k.max), sizeUnitNames, k.example)
	case kindDuration:
		text = fmt.Sprintf("a duration from %s to %s such as %s", Duration(k.min), Duration(k.max), k.example)
	case kindCPUs:
		text = fmt.Sprintf("a number of CPUs from %s to %s such as %s", formatCPUs(float64(k.min)/100), formatCPUs(float64(k.max)/100), k.example)
	case kindWord:
		return `a whole number from 0, or a string in hexadecimal such as "0xffffffff00000000"`
	case kindNames:
		return "an array of strings such as " + k.example
	case kindEnv:
		return "a table of strings such as " + k.example
	case kindUlimits:
		return "a table such as " + k.example
	case kindTable:
		return "a table"
	case kindTables:
		return "an array of tables"
	}
	if k.unlimited {
		text += `, or "unlimited"`
	}
	return text
}

func quoteAll(list []string) []string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = quote(s)
	}
	return quoted
}
