package policy

// Setting is one value of a policy with its origin.
type Setting struct {
	// Key is the dotted path of the key, as Origins.Of takes it.
	Key string `json:"key"`
	// Value is written as in TOML, on one line that is safe to print.
	Value  string `json:"value"`
	Origin Origin `json:"origin"`
}

// Explain lists every value of the policy with its origin, in the order of the
// format. Entries of arrays, variables and rlimits come one by one; an array or
// a table without any has one empty line.
func (p *Policy) Explain(origins *Origins) []Setting {
	x := &explainer{origins: origins}
	x.table(&policyTable, p, "")
	return x.settings
}

type explainer struct {
	origins  *Origins
	encoder  encoder
	settings []Setting
}

func (x *explainer) add(key, value string) {
	x.settings = append(x.settings, Setting{Key: key, Value: value, Origin: x.origins.Of(key)})
}

func (x *explainer) table(t *table, p *Policy, at string) {
	for i := range t.keys {
		k := &t.keys[i]
		path := join(at, k.name)
		if k.kind == kindTable {
			x.table(k.table, p, path)
			continue
		}
		value := k.value(p)
		if value == nil {
			continue
		}
		switch v := value.(type) {
		case map[string]any:
			for _, name := range sortedNames(v) {
				x.add(join(path, quoteKey(name)), x.encoder.value(k, v[name]))
			}
			if len(v) == 0 {
				x.add(path, "{}")
			}
		case []any:
			if k.kind != kindTables || len(v) == 0 {
				x.add(path, x.encoder.value(k, value))
				continue
			}
			for j, entry := range v {
				x.add(x.entryKey(k, p, path, j), x.encoder.value(k, entry))
			}
		default:
			x.add(path, x.encoder.value(k, value))
		}
	}
}

// entryKey is the key under which the origin of an entry is kept.
func (x *explainer) entryKey(k *key, p *Policy, path string, i int) string {
	switch k.name {
	case "mount":
		return mountKey(p.Filesystem.Mounts[i].Target)
	case "io":
		return ioKey(p.Limits.IO[i].Device)
	default:
		return index(path, i)
	}
}
