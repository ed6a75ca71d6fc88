package policy

import (
	"path"
	"slices"
	"strings"
)

// compiled is the short way to a shipped policy that nothing on this host
// changes. It returns nil where there is none, and also where anything is wrong:
// the long way then says what, and where it stands.
func (l *loader) compiled() *Policy {
	o := &l.opts
	if o.Compiled == nil || isPath(o.Name) || checkName(o.Name) != "" || !path.IsAbs(o.Dir) {
		return nil
	}
	for _, dir := range []string{o.SystemDir, o.UserDir} {
		if dir != "" && l.exists(path.Join(dir, o.Name+".toml")) {
			return nil
		}
	}
	p := o.Compiled(o.Name)
	if p == nil {
		return nil
	}
	p.Name = o.Name
	for i := range p.Filesystem.Mounts {
		if m := &p.Filesystem.Mounts[i]; m.Source == "." {
			m.Source = o.Dir
		}
	}
	var faults FaultList
	origins := &Origins{places: map[string]place{}}
	ov := overrider{opts: o, policy: p, origins: origins, faults: &faults}
	ov.apply()
	// No shipped policy sets the group alone.
	if _, ok := origins.places["user.gid"]; !ok {
		p.User.GID = p.User.UID
	}
	v := validator{policy: p, origins: origins, home: o.HomeDir, faults: &faults}
	v.knownFilter = !slices.ContainsFunc(o.Overrides, func(ov Override) bool { return strings.HasPrefix(ov.Key, "seccomp.") })
	v.validate()
	if len(faults) > 0 {
		return nil
	}
	return p
}
