package policy

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

// validator checks what no single value shows. Its faults stand where the
// value was set that does not fit.
type validator struct {
	policy  *Policy
	origins *Origins
	home    string
	faults  *FaultList
	// knownFilter says that the seccomp settings are a shipped policy's.
	knownFilter bool
}

// fault notes a problem at a key of the policy.
func (v *validator) fault(key, problem string) {
	f := &Fault{Key: key, Problem: problem}
	if p, ok := v.origins.places[key]; ok {
		if p.doc != nil {
			f.File, f.Line, f.order = p.doc.label(), p.doc.line(p.at), p.doc.order
			f.Key = p.at
		} else {
			f.File, f.Key, f.order = p.flag, "", flagOrder
		}
	}
	*v.faults = append(*v.faults, f)
}

// faulty reports whether one of the keys has a fault already, so that what is
// said about it together with another would only mislead.
func (v *validator) faulty(keys ...string) bool {
	for _, f := range *v.faults {
		for _, key := range keys {
			if f.Key == key {
				return true
			}
		}
	}
	return false
}

func (v *validator) validate() {
	v.limits()
	v.delegation()
	for _, m := range v.policy.Filesystem.Mounts {
		v.mount(m)
	}
	if dir, ok := strings.CutPrefix(v.policy.Filesystem.Root, "dir:"); ok {
		if path.IsAbs(dir) {
			v.whole("filesystem.root", dir, "root")
		} else {
			v.fault("filesystem.root", relative(dir).Problem)
		}
	}
	if !v.knownFilter {
		v.seccomp()
	}
}

// above reports whether a limit is larger than another.
func above(a, b Size) bool {
	return b != Unlimited && (a == Unlimited || a > b)
}

// later names the key that was set in the higher layer: that is the one to
// change.
func (v *validator) later(a, b string) string {
	rank := func(key string) int {
		p, ok := v.origins.places[key]
		switch {
		case !ok:
			return 0
		case p.doc == nil:
			return flagOrder
		}
		return p.doc.order
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

func (v *validator) limits() {
	l := &v.policy.Limits
	for _, pair := range []struct {
		small, large string
		a, b         Size
		when         bool
	}{
		{"limits.memory_low", "limits.memory", l.MemoryLow, l.Memory, true},
		{"limits.memory_high", "limits.memory", l.MemoryHigh, l.Memory, l.MemoryHigh != Unlimited},
		{"limits.memory_low", "limits.memory_high", l.MemoryLow, l.MemoryHigh, true},
	} {
		if pair.when && above(pair.a, pair.b) && !v.faulty(pair.small, pair.large) {
			v.fault(v.later(pair.small, pair.large),
				fmt.Sprintf("%s = %s is above %s = %s", pair.small, pair.a, pair.large, pair.b))
		}
	}
	for _, io := range l.IO {
		if !path.IsAbs(io.Device) {
			v.fault(ioKey(io.Device), relative(io.Device).Problem)
		}
		if io.ReadBPS == 0 && io.WriteBPS == 0 && io.ReadIOPS == 0 && io.WriteIOPS == 0 {
			v.fault(ioKey(io.Device), "it sets none of read_bps, write_bps, read_iops and write_iops")
		}
	}
}

// seccomp asks the package that makes the filters. Settings that change
// nothing of a base are right by themselves, and most policies have those.
func (v *validator) seccomp() {
	s := v.policy.Seccomp
	plain := len(s.Allow) == 0 && len(s.Deny) == 0 && len(s.Rules) == 0
	if plain && (s.OnDeny == "EPERM" || s.OnDeny == "kill") {
		return
	}
	for _, err := range seccomp.Check(s) {
		key, problem := "seccomp", err.Error()
		var found *seccomp.Error
		if errors.As(err, &found) {
			// allow[2] is a place in a list that may come from several files;
			// rule[0] has an origin of its own.
			place, rest, _ := strings.Cut(found.Key, ".")
			if !strings.HasPrefix(place, "rule[") {
				place, _, _ = strings.Cut(place, "[")
			}
			key, problem = "seccomp."+place, found.Problem
			if rest != "" {
				problem = rest + ": " + problem
			}
		}
		if !v.faulty(key) {
			v.fault(key, problem)
		}
	}
}

// mount checks one mount against the rest of the policy.
func (v *validator) mount(m Mount) {
	key := mountKey(m.Target)
	refuse := func(problem string) { v.fault(key, problem) }
	if m.Type == Tmpfs {
		switch {
		case m.Source != "":
			refuse("a tmpfs has no source")
		case m.Access != ReadOnly && m.Access != ReadWrite:
			refuse(fmt.Sprintf("a tmpfs has access ro or rw, not %s", m.Access))
		case m.Optional:
			refuse("a tmpfs is always there: optional is for binds")
		}
		return
	}
	switch {
	case m.Source == "":
		refuse("source is missing; an empty directory has type = \"tmpfs\"")
		return
	case !path.IsAbs(m.Source):
		refuse(relative(m.Source).Problem)
		return
	case m.Size != 0:
		refuse("size is for type = \"tmpfs\"")
	case v.policy.User.Map == MapIsolated && (m.Access == ReadWrite || m.Access == CopyOnWrite):
		refuse(fmt.Sprintf("access %s needs your own user id, which user.map = \"isolated\" keeps out of the sandbox; "+
			"use access copy or ro, or map keep-id, single or auto", m.Access))
	}
	v.whole(key, m.Source, "source")
}

// whole refuses a directory that holds everything that is the caller's.
func (v *validator) whole(key, dir, what string) {
	if v.policy.Filesystem.AllowHome {
		return
	}
	var name string
	switch {
	case dir == "/":
		name = "the whole file system"
	case v.home == "" || !within(v.home, dir):
		return
	case dir == path.Clean(v.home):
		name = "your whole home directory"
	default:
		name = "a directory that holds your home directory"
	}
	v.fault(key, fmt.Sprintf("%s %s is %s, which is not given to a job; %s", what, quote(dir), name, v.wayOut(key)))
}

// wayOut is what the caller can do instead.
func (v *validator) wayOut(key string) string {
	if p, ok := v.origins.places[key]; ok && p.doc != nil && p.doc.layer == LayerShipped {
		target := strings.TrimSuffix(strings.TrimPrefix(key, "filesystem.mount["), "]")
		return fmt.Sprintf("change into the directory of a project, give one with -v DIR:%s, or use --policy strict, which gives none", target)
	}
	return "give a directory inside it, or set filesystem.allow_home = true if that is what you want"
}
