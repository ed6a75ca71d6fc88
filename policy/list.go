package policy

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Listed is a policy that can be asked for by name.
type Listed struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	// Where lists the layers that it consists of, lowest first: "shipped", and
	// the paths of files.
	Where []string `json:"where"`
	// Err says why its description cannot be read, or is nil.
	Err error `json:"-"`
}

// List lists the policies of LoadOptions, sorted by name. Whether one can be
// used here, only Load can tell.
func List(opts LoadOptions) ([]Listed, error) {
	where := map[string][]string{}
	for _, name := range ShippedNames(opts.Shipped) {
		where[name] = append(where[name], "shipped")
	}
	for _, dir := range []string{opts.SystemDir, opts.UserDir} {
		if dir == "" || opts.Files == nil {
			continue
		}
		entries, err := fs.ReadDir(opts.Files, rooted(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, entry := range entries {
			name, ok := strings.CutSuffix(entry.Name(), ".toml")
			if ok && checkName(name) == "" && name != "" {
				where[name] = append(where[name], path.Join(dir, entry.Name()))
			}
		}
	}
	list := make([]Listed, 0, len(where))
	for name, layers := range where {
		l := &loader{opts: opts}
		l.opts.Name = name
		p := Defaults()
		for _, doc := range l.collect() {
			d := decoder{doc: doc, policy: p, origins: &Origins{places: map[string]place{}}, home: opts.HomeDir, faults: &l.faults}
			d.decode()
		}
		list = append(list, Listed{Name: name, Description: p.Description, Where: layers, Err: l.faults.err()})
	}
	slices.SortFunc(list, func(a, b Listed) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
