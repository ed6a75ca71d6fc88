package policy

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder puts one document over a policy.
type decoder struct {
	doc     *document
	policy  *Policy
	origins *Origins
	home    string
	faults  *FaultList
}

// fault notes a problem at a path of the document.
func (d *decoder) fault(at, problem string) {
	*d.faults = append(*d.faults, &Fault{
		File: d.doc.label(), Line: d.doc.line(at), Key: at, Problem: problem, order: d.doc.order,
	})
}

// decode applies the whole document. Keys that are faulty are left out.
func (d *decoder) decode() {
	d.table(&policyTable, d.doc.tree, "", d.policy)
	d.variablesOnce()
}

// variablesOnce keeps a variable either inherited or set, as the document that
// spoke last has it.
func (d *decoder) variablesOnce() {
	env := &d.policy.Environment
	at, listed := d.origins.inDocument("environment.inherit", d.doc)
	kept := env.Inherit[:0:0]
	for _, name := range env.Inherit {
		key := "environment.set." + quoteKey(name)
		_, isSet := env.Set[name]
		_, setHere := d.origins.inDocument(key, d.doc)
		switch {
		case isSet && setHere && listed:
			d.fault(at, fmt.Sprintf("%s is inherited here, and set, too", quote(name)))
		case isSet && listed:
			delete(env.Set, name)
			delete(d.origins.places, key)
			kept = append(kept, name)
		case !isSet:
			kept = append(kept, name)
		}
	}
	env.Inherit = kept
}

// table decodes the keys of one TOML table into dst. at is the table's path in
// the document, empty for the document itself.
func (d *decoder) table(t *table, tree map[string]any, at string, dst any) {
	found := 0
	for i := range t.keys {
		k := &t.keys[i]
		raw, ok := tree[k.name]
		if ok {
			found++
			d.key(k, raw, join(at, k.name), dst)
		} else if k.required {
			d.fault(at, fmt.Sprintf("%q is missing; write %s", k.name, k.accepts()))
		}
	}
	if found == len(tree) {
		return
	}
	for name := range tree {
		if t.find(name) == nil {
			d.fault(join(at, quoteKey(name)), unknownKey(t, name, at))
		}
	}
}

// join appends a name to a dotted path.
func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}

// index is the path of an entry of an array of tables.
func index(at string, i int) string { return at + "[" + strconv.Itoa(i) + "]" }

// key decodes one key of a table.
func (d *decoder) key(k *key, raw any, at string, dst any) {
	switch k.kind {
	case kindTable:
		if tree, ok := raw.(map[string]any); ok {
			d.table(k.table, tree, at, dst)
			return
		}
		d.fault(at, wrongType(k, raw))
	case kindTables:
		d.tables(k, raw, at, dst)
	case kindEnv:
		d.variables(k, raw, at, k.field(dst).(*map[string]string))
	case kindUlimits:
		d.ulimits(k, raw, at, k.field(dst).(*map[string]Ulimit))
	case kindNames:
		d.names(k, raw, at, k.field(dst).(*[]string))
	default:
		problem := d.scalar(k, raw, dst)
		if problem != "" {
			d.fault(at, problem)
			return
		}
		d.origin(dst, at, at)
	}
}

// origin remembers where a key of the policy was set; at is the path in the
// document. The keys inside entries of arrays have no origin of their own.
func (d *decoder) origin(dst any, key, at string) {
	if _, ok := dst.(*Policy); ok {
		d.origins.set(key, d.doc, at)
	}
}

// scalar decodes a single value and says what is wrong with it, or "".
func (d *decoder) scalar(k *key, raw any, dst any) string {
	var target any
	if k.field != nil {
		target = k.field(dst)
	}
	switch k.kind {
	case kindBool:
		v, ok := raw.(bool)
		if !ok {
			return wrongType(k, raw)
		}
		*target.(*bool) = v
		return ""
	case kindNumber, kindCount, kindID, kindWord, kindCPUs:
		switch v := raw.(type) {
		case int64:
			return k.setInt(v, target)
		case float64:
			if k.kind == kindCPUs {
				return k.setCPUs(v, formatFloat(v), target)
			}
		case string:
			if k.kind == kindWord || k.unlimited && v == "unlimited" {
				return k.setText(v, false, target)
			}
		}
		return wrongType(k, raw)
	default:
		v, ok := raw.(string)
		if !ok {
			return wrongType(k, raw)
		}
		problem := k.setText(v, false, target)
		if problem == "" && k.name == "root" {
			d.anchorRoot(target.(*string))
		}
		return problem
	}
}

// anchorRoot makes the path of a dir: root absolute.
func (d *decoder) anchorRoot(root *string) {
	if dir, ok := strings.CutPrefix(*root, "dir:"); ok {
		*root = "dir:" + anchor(d.doc.base, d.home, dir)
	}
}

// anchor makes a path absolute: ~/ is the home directory, anything else that
// is relative counts from base.
func anchor(base, home, p string) string {
	switch {
	case p == "~" && home != "":
		return path.Clean(home)
	case strings.HasPrefix(p, "~/") && home != "":
		return path.Join(home, p[2:])
	case path.IsAbs(p):
		return path.Clean(p)
	}
	return path.Join(base, p)
}

// names decodes a list of strings.
func (d *decoder) names(k *key, raw any, at string, dst *[]string) {
	array, ok := raw.([]any)
	if !ok {
		d.fault(at, wrongType(k, raw))
		return
	}
	list := make([]string, 0, len(array))
	good := true
	for i, item := range array {
		s, ok := item.(string)
		problem := ""
		switch {
		case !ok:
			problem = fmt.Sprintf("item %d is %s; write a string", i+1, describe(item))
		case slices.Contains(list, s):
			problem = fmt.Sprintf("%s is listed twice", quote(s))
		default:
			if why := k.check(s); why != "" {
				problem = quote(s) + ": " + why
			}
		}
		if problem != "" {
			d.fault(at, problem)
			good = false
			continue
		}
		list = append(list, s)
	}
	if !good {
		return
	}
	if k.required && len(list) == 0 {
		d.fault(at, "it is empty")
		return
	}
	// What is denied stays denied: see the key's description.
	if dst == &d.policy.Seccomp.Deny {
		for _, s := range list {
			if !slices.Contains(*dst, s) {
				*dst = append(*dst, s)
			}
		}
	} else {
		*dst = list
	}
	if !strings.Contains(at, "[") {
		d.origins.set(at, d.doc, at)
	}
}

// variables merges a table of strings, name by name.
func (d *decoder) variables(k *key, raw any, at string, dst *map[string]string) {
	tree, ok := raw.(map[string]any)
	if !ok {
		d.fault(at, wrongType(k, raw))
		return
	}
	for name, item := range tree {
		path := join(at, quoteKey(name))
		value, ok := item.(string)
		switch {
		case !ok:
			d.fault(path, fmt.Sprintf("%s is not a string", describe(item)))
			continue
		case checkVariable(name) != "":
			d.fault(path, quote(name)+": "+checkVariable(name))
			continue
		case checkValue(name, value) != "":
			d.fault(path, checkValue(name, value))
			continue
		}
		if *dst == nil {
			*dst = map[string]string{}
		}
		(*dst)[name] = value
		d.origins.set(path, d.doc, path)
	}
}

// wrongType says what a value is and what it should be.
func wrongType(k *key, raw any) string {
	problem := fmt.Sprintf("%s is not accepted; write %s", describe(raw), k.accepts())
	n, ok := raw.(int64)
	switch {
	case !ok || n < 0:
	case k.kind == kindSize && k.inRange(n):
		problem += fmt.Sprintf("; did you mean %q?", Size(n).String())
	case k.kind == kindDuration:
		problem += fmt.Sprintf("; did you mean \"%ds\"?", n)
	}
	return problem
}

// describe writes a raw TOML value for a message.
func describe(raw any) string {
	switch v := raw.(type) {
	case string:
		return quote(v)
	case int64:
		return "the number " + strconv.FormatInt(v, 10)
	case float64:
		return "the number " + formatFloat(v)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return "a date or time"
	case []any, []map[string]any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "this"
}

func formatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
