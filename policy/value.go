package policy

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

// value is the value of a key as TOML and JSON write it: a string, an int64, a
// float64, a bool, a []any or a map[string]any. It is nil for what is left out:
// the empty values of optional keys inside arrays of tables, and keys of the
// file alone.
func (k *key) value(v any) any {
	if k.field == nil {
		return nil
	}
	inRecord := true
	if _, ok := v.(*Policy); ok {
		inRecord = false
	}
	switch x := k.field(v).(type) {
	case *string:
		return optional(*x, inRecord && *x == "")
	case *LimitsMode:
		return string(*x)
	case *MountType:
		return string(*x)
	case *Access:
		return optional(string(*x), *x == "")
	case *UserMap:
		return string(*x)
	case *NetworkMode:
		return string(*x)
	case *bool:
		return optional(*x, inRecord && !*x)
	case *int:
		return int64(*x)
	case *uint:
		return int64(*x)
	case *uint32:
		return int64(*x)
	case *uint64:
		if *x > math.MaxInt64 {
			return "0x" + strconv.FormatUint(*x, 16)
		}
		return optional(int64(*x), *x == 0 && !k.required)
	case *Size:
		return optional(x.String(), inRecord && *x == 0)
	case *Duration:
		return x.String()
	case *Count:
		if *x == Unlimited {
			return x.String()
		}
		return optional(int64(*x), inRecord && *x == 0)
	case *float64:
		if *x == Unlimited {
			return "unlimited"
		}
		return *x
	}
	return k.collection(v)
}

func optional(v any, empty bool) any {
	if empty {
		return nil
	}
	return v
}

// collection is value for lists and tables.
func (k *key) collection(v any) any {
	switch x := k.field(v).(type) {
	case *[]string:
		return anyList(*x)
	case *map[string]string:
		m := make(map[string]any, len(*x))
		for name, value := range *x {
			m[name] = value
		}
		return m
	case *map[string]Ulimit:
		m := make(map[string]any, len(*x))
		for name, limit := range *x {
			m[name] = limit.value()
		}
		return m
	case *[]Mount:
		return records(k.table, *x)
	case *[]IOLimit:
		return records(k.table, *x)
	case *[]seccomp.Rule:
		return records(k.table, *x)
	case *[]seccomp.Arg:
		list := records(k.table, *x)
		return optional(list, len(list) == 0)
	}
	return nil
}

func (u Ulimit) value() any {
	side := func(n int64) any {
		if n == Unlimited {
			return "unlimited"
		}
		return n
	}
	if u.Soft == u.Hard {
		return side(u.Soft)
	}
	return map[string]any{"soft": side(u.Soft), "hard": side(u.Hard)}
}

func anyList(list []string) []any {
	values := make([]any, len(list))
	for i, s := range list {
		values[i] = s
	}
	return values
}

// records are the entries of an array of tables.
func records[T any](t *table, list []T) []any {
	values := make([]any, len(list))
	for i := range list {
		values[i] = t.value(&list[i])
	}
	return values
}

// value is the table as a map.
func (t *table) value(v any) map[string]any {
	m := make(map[string]any, len(t.keys))
	for i := range t.keys {
		k := &t.keys[i]
		if k.kind == kindTable {
			m[k.name] = k.table.value(v)
		} else if value := k.value(v); value != nil {
			m[k.name] = value
		}
	}
	return m
}

// Tree is the policy in the form of a policy file, for encoding as JSON: every
// key with its value. Sizes and durations are strings, as in TOML.
func (p *Policy) Tree() map[string]any { return policyTable.value(p) }

// sortedNames lists the keys of a table of variables or rlimits.
func sortedNames[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
