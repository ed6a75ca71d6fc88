package policy

import "github.com/brig-sandbox/brig/policy/seccomp"

// tables decodes an array of tables and merges it entry by entry.
func (d *decoder) tables(k *key, raw any, at string, dst any) {
	entries, ok := asTables(raw)
	if !ok {
		d.fault(at, wrongType(k, raw))
		return
	}
	switch list := k.field(dst).(type) {
	case *[]Mount:
		for i, entry := range entries {
			d.mount(k, entry, index(at, i), list)
		}
	case *[]IOLimit:
		for i, entry := range entries {
			var limit IOLimit
			if d.record(k.table, entry, index(at, i), &limit) {
				limit.Device = anchor(d.doc.base, d.home, limit.Device)
				d.entry(ioKey(limit.Device), index(at, i), func() { mergeIO(list, limit) })
			}
		}
	case *[]seccomp.Rule:
		for i, entry := range entries {
			var rule seccomp.Rule
			if d.record(k.table, entry, index(at, i), &rule) {
				position := findRule(*list, rule)
				d.entry(index(at, position), index(at, i), func() { mergeRule(list, position, rule) })
			}
		}
	case *[]seccomp.Arg:
		for i, entry := range entries {
			var arg seccomp.Arg
			if d.record(k.table, entry, index(at, i), &arg) {
				*list = append(*list, arg)
			}
		}
	}
}

// entry merges an entry of an array of tables that is known by key. The same
// one twice in a file is a fault; in a higher layer it replaces.
func (d *decoder) entry(key, at string, merge func()) {
	if before, ok := d.origins.inDocument(key, d.doc); ok {
		d.fault(at, "it is about the same as "+before)
		return
	}
	merge()
	d.origins.set(key, d.doc, at)
}

// mount decodes an entry of [[filesystem.mount]].
func (d *decoder) mount(k *key, entry map[string]any, at string, list *[]Mount) {
	m := Mount{Type: Bind}
	if !d.record(k.table, entry, at, &m) {
		return
	}
	if m.Access == "" {
		m.Access = defaultAccess(m.Type)
	}
	if m.Source != "" {
		m.Source = anchor(d.doc.base, d.home, m.Source)
	}
	d.entry(mountKey(m.Target), at, func() { mergeMount(list, m) })
}

func defaultAccess(t MountType) Access {
	if t == Tmpfs {
		return ReadWrite
	}
	return ReadOnly
}

// record decodes an entry of an array of tables and reports whether it is
// without fault.
func (d *decoder) record(t *table, tree map[string]any, at string, dst any) bool {
	before := len(*d.faults)
	d.table(t, tree, at, dst)
	return len(*d.faults) == before
}

// asTables takes both forms in which TOML writes an array of tables.
func asTables(raw any) ([]map[string]any, bool) {
	switch list := raw.(type) {
	case []map[string]any:
		return list, true
	case []any:
		tables := make([]map[string]any, 0, len(list))
		for _, item := range list {
			t, ok := item.(map[string]any)
			if !ok {
				return nil, false
			}
			tables = append(tables, t)
		}
		return tables, true
	}
	return nil, false
}
