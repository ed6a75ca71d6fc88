package policy

import (
	"fmt"
	"strings"
)

// unknownKey explains a key that does not exist: with the nearest one of the
// same table, else with the place where a key of this name belongs, else with
// all that the table knows.
func unknownKey(t *table, name, at string) string {
	where := "this file"
	if at != "" {
		where = "[" + at + "]"
	}
	names := make([]string, len(t.keys))
	for i := range t.keys {
		names[i] = t.keys[i].name
	}
	if near := Nearest(name, names); near != "" {
		return fmt.Sprintf("there is no such key in %s; did you mean %q?", where, near)
	}
	if path := findName(&policyTable, "", name); path != "" {
		return fmt.Sprintf("there is no such key in %s; did you mean %q?", where, path)
	}
	return fmt.Sprintf("there is no such key in %s; it has %s", where, strings.Join(names, ", "))
}

// findName looks for a key with exactly this name in every table.
func findName(t *table, at, name string) string {
	for i := range t.keys {
		k := &t.keys[i]
		if k.name == name && at != "" {
			return join(at, name)
		}
		if k.table != nil {
			if path := findName(k.table, join(at, k.name), name); path != "" {
				return path
			}
		}
	}
	return ""
}

// Nearest returns the candidate with the fewest edits to s, if they are few enough
// to be a typing error; "" otherwise.
func Nearest(s string, candidates []string) string {
	best, fewest := "", 1+max(1, min(len(s), 12)/3)
	for _, c := range candidates {
		if strings.EqualFold(c, s) || strings.ReplaceAll(s, "-", "_") == c {
			return c
		}
		if n := edits(s, c, fewest); n < fewest {
			best, fewest = c, n
		}
	}
	return best
}

// edits counts insertions, deletions, substitutions and swaps of neighbours
// between two strings; it stops counting at limit.
func edits(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
