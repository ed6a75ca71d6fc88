package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxChain is how many policies may stand in a chain of extends.
const maxChain = 8

// LoadOptions says which policy is wanted and where policies are.
type LoadOptions struct {
	// Name is a policy's name, or a file's path: anything with a slash or the
	// ending .toml. Empty means "default".
	Name string
	// Shipped holds the shipped policies as NAME.toml at its root.
	Shipped fs.FS
	// Files is the root of the file system, os.DirFS("/").
	Files fs.FS
	// SystemDir and UserDir hold the administrator's and the user's own
	// policies as NAME.toml. Absolute; empty for none.
	SystemDir, UserDir string
	// Dir is the caller's working directory, absolute and without symbolic
	// links. Relative paths in shipped policies and in overrides count from it;
	// without it they are refused.
	Dir string
	// HomeDir is the caller's home directory, absolute and without symbolic
	// links; empty if there is none.
	HomeDir string
	// Overrides come last, in their order.
	Overrides []Override
	// Compiled gives shipped policies as they are after loading, with "." for
	// the caller's directory, new at each call; nil for a name it does not know.
	// It saves the parsing where nothing on the host changes the policy. Load
	// then returns no Origins.
	Compiled func(name string) *Policy
}

// Load puts together the policy with the given name.
//
// A name is looked up in the shipped policies, in SystemDir and in UserDir. A
// file there that does not extend anything changes the policy of the same name
// below it, key by key; one that extends a policy takes the place of what is
// below it. A policy that is given as a file is that file alone. Then come the
// overrides.
//
// Above a policy that it extends, a file changes single keys. Lists are
// replaced, except that seccomp.deny and seccomp.rule grow; tables of variables
// and of rlimits are merged by name, mounts by target, I/O limits by device.
//
// An error is a FaultList with everything that is wrong, or wraps ErrNotFound.
func Load(opts LoadOptions) (*Policy, *Origins, error) {
	if opts.Name == "" {
		opts.Name = "default"
	}
	l := &loader{opts: opts}
	if p := l.compiled(); p != nil {
		return p, nil, nil
	}
	docs := l.collect()
	p := Defaults()
	p.Name = opts.Name
	origins := &Origins{places: make(map[string]place, 64)}
	parsed := len(l.faults) == 0
	for _, doc := range docs {
		d := decoder{doc: doc, policy: p, origins: origins, home: opts.HomeDir, faults: &l.faults}
		d.decode()
	}
	o := overrider{opts: &l.opts, policy: p, origins: origins, faults: &l.faults}
	o.apply()
	if parsed {
		if _, ok := origins.places["user.gid"]; !ok {
			p.User.GID = p.User.UID
		}
		v := validator{policy: p, origins: origins, home: opts.HomeDir, faults: &l.faults}
		v.validate()
	}
	if err := l.faults.err(); err != nil {
		return nil, nil, err
	}
	return p, origins, nil
}

// loader finds the documents that a policy consists of.
type loader struct {
	opts   LoadOptions
	orders int
	faults FaultList
}

// collect returns the documents, lowest layer first.
func (l *loader) collect() []*document {
	name := l.opts.Name
	if l.opts.Dir != "" && !path.IsAbs(l.opts.Dir) {
		l.add(&Fault{Problem: fmt.Sprintf("the working directory %s is not an absolute path", quote(l.opts.Dir))})
		return nil
	}
	if isPath(name) {
		file := anchor(l.opts.Dir, l.opts.HomeDir, name)
		if !path.IsAbs(file) {
			l.add(relative(name))
			return nil
		}
		return l.chain(l.file(file, file), nil)
	}
	if why := checkName(name); why != "" {
		l.add(&Fault{Problem: fmt.Sprintf("policy %s: %s", quote(name), why)})
		return nil
	}
	var docs []*document
	known := false
	if l.hasShipped(name) {
		known = true
		docs = l.chain(l.shipped(name), nil)
	}
	for _, dir := range []string{l.opts.SystemDir, l.opts.UserDir} {
		file := path.Join(dir, name+".toml")
		if dir == "" || !l.exists(file) {
			continue
		}
		known = true
		doc := l.file(file, file)
		if doc == nil {
			continue
		}
		if _, replaces := doc.tree["extends"]; replaces {
			docs = nil
		}
		docs = append(docs, l.chain(doc, nil)...)
	}
	if !known {
		l.add(l.notFound(name))
	}
	return docs
}

// relative is the fault of a path that counts from nowhere.
func relative(p string) *Fault {
	return &Fault{Problem: fmt.Sprintf("%s is relative, and the caller's working directory is not known", quote(p))}
}

// checkName takes the names of policies: they become file names.
func checkName(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" || strings.HasPrefix(s, ".") {
		return "a name consists of letters, digits, dots, - and _; a file is given with a slash or the ending .toml"
	}
	return ""
}

func (l *loader) add(f *Fault) { l.faults = append(l.faults, f) }

// notFound names what there is.
func (l *loader) notFound(name string) *Fault {
	names := ShippedNames(l.opts.Shipped)
	problem := fmt.Sprintf("there is no policy called %s; shipped are %s, and a file is given with its path (./%s.toml)",
		quote(name), strings.Join(names, ", "), printable(name))
	if near := Nearest(name, names); near != "" {
		problem += fmt.Sprintf("; did you mean %q?", near)
	}
	return &Fault{Problem: problem, Cause: ErrNotFound}
}

// ShippedNames lists the policies at the root of an fs.FS, sorted.
func ShippedNames(shipped fs.FS) []string {
	if shipped == nil {
		return nil
	}
	files, err := fs.Glob(shipped, "*.toml")
	if err != nil {
		return nil // Only a bad pattern is an error, and this one is good.
	}
	names := make([]string, len(files))
	for i, file := range files {
		names[i] = strings.TrimSuffix(file, ".toml")
	}
	slices.Sort(names)
	return names
}

func (l *loader) hasShipped(name string) bool {
	if l.opts.Shipped == nil {
		return false
	}
	_, err := fs.Stat(l.opts.Shipped, name+".toml")
	return err == nil
}

// exists reports whether a file is there. One that cannot be looked at counts:
// reading it will tell why.
func (l *loader) exists(file string) bool {
	if l.opts.Files == nil {
		return false
	}
	_, err := fs.Stat(l.opts.Files, rooted(file))
	return !errors.Is(err, fs.ErrNotExist)
}

// shipped reads a shipped policy; nil after a fault.
func (l *loader) shipped(name string) *document {
	doc := &document{name: name + ".toml", layer: LayerShipped, base: l.opts.Dir}
	return l.read(l.opts.Shipped, name+".toml", doc)
}

// file reads a policy file; nil after a fault.
func (l *loader) file(file, shown string) *document {
	doc := &document{name: shown, layer: LayerFile, base: path.Dir(file)}
	return l.read(l.opts.Files, rooted(file), doc)
}

func (l *loader) read(fsys fs.FS, file string, doc *document) *document {
	l.orders++
	doc.order = l.orders
	if fsys == nil {
		l.add(doc.fault(0, "there are no files to read from", nil))
		return nil
	}
	if fault := readDocument(fsys, file, doc, doc.layer == LayerShipped); fault != nil {
		l.add(fault)
		return nil
	}
	return doc
}

// chain returns a document after those that it extends. above are the names of
// the documents that led here.
func (l *loader) chain(doc *document, above []string) []*document {
	if doc == nil {
		return nil
	}
	above = append(above, doc.name)
	parent, ok := doc.tree["extends"].(string)
	if !ok || checkPath(parent) != "" {
		return []*document{doc} // decode will say what is wrong with it
	}
	base, problem := l.parent(doc, parent, above)
	if problem != "" {
		l.add(&Fault{File: doc.label(), Line: doc.line("extends"), Key: "extends", Problem: problem, order: doc.order})
		return []*document{doc} // so that its own faults are told, too
	}
	docs := l.chain(base, above)
	// The faults of a file come after those of what it extends.
	l.orders++
	doc.order = l.orders
	return append(docs, doc)
}

// parent reads what a document extends.
func (l *loader) parent(doc *document, parent string, above []string) (*document, string) {
	name := parent + ".toml"
	file := ""
	if isPath(parent) {
		if doc.layer == LayerShipped {
			return nil, fmt.Sprintf("%s is a file; a shipped policy extends shipped ones only", quote(parent))
		}
		file = anchor(doc.base, l.opts.HomeDir, parent)
		name = file
	}
	trail := append(slices.Clone(above), name)
	if slices.Contains(above, name) {
		return nil, "it goes round in a circle: " + printableChain(trail)
	}
	if len(trail) > maxChain {
		return nil, fmt.Sprintf("the chain is longer than %d: %s", maxChain, printableChain(trail))
	}
	if file != "" {
		if !l.exists(file) {
			return nil, fmt.Sprintf("%s does not exist", quote(file))
		}
		return l.file(file, file), ""
	}
	if !l.hasShipped(parent) {
		names := ShippedNames(l.opts.Shipped)
		problem := fmt.Sprintf("there is no shipped policy called %s; there are %s, and a file is written with a slash (\"./%s.toml\")",
			quote(parent), strings.Join(names, ", "), parent)
		if near := Nearest(parent, names); near != "" {
			problem += fmt.Sprintf("; did you mean %q?", near)
		}
		return nil, problem
	}
	return l.shipped(parent), ""
}

func printableChain(names []string) string {
	return strings.Join(names, " -> ")
}
