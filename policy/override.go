package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

// Override changes a policy from the command line.
//
// Key is the path of a key that holds a single value or a list of names
// (separated by commas), or one of the keys that the constructors below set.
// Sizes follow docker's rules, see ParseDockerSize, and -1 is unlimited where
// that is accepted. Origin is the flag, as the user wrote it ("--memory").
type Override struct{ Key, Value, Origin string }

// The keys of overrides that are no keys of a policy file, or that hold more
// than a value there.
const (
	overrideVolume     = "filesystem.mount"
	overrideTmpfs      = "filesystem.tmpfs"
	overrideVariable   = "environment.set"
	overrideUlimit     = "limits.ulimit"
	overrideIDs        = "user.ids"
	overrideCapability = "user.capability_add"
	overrideDropped    = "user.capability_drop"
)

// AddVolume mounts what docker's -v describes: see ParseVolume. It replaces a
// mount with the same target.
func AddVolume(volume, flag string) Override { return Override{overrideVolume, volume, flag} }

// AddTmpfs mounts what docker's --tmpfs describes: TARGET[:size=64m,ro].
func AddTmpfs(tmpfs, flag string) Override { return Override{overrideTmpfs, tmpfs, flag} }

// SetVariable is docker's -e: NAME=VALUE sets a variable, NAME alone inherits
// the caller's.
func SetVariable(variable, flag string) Override { return Override{overrideVariable, variable, flag} }

// SetUlimit is docker's --ulimit: NAME=SOFT[:HARD], -1 for unlimited. nofile,
// fsize, stack, nproc and cpu set the keys of their own, which hold one value.
func SetUlimit(ulimit, flag string) Override { return Override{overrideUlimit, ulimit, flag} }

// SetUser is docker's -u with numbers: UID[:GID].
func SetUser(ids, flag string) Override { return Override{overrideIDs, ids, flag} }

// AddCapability is docker's --cap-add: a name with or without CAP_, in either
// case, or ALL, which is all that brig ever gives: never CAP_SYS_PTRACE.
func AddCapability(name, flag string) Override { return Override{overrideCapability, name, flag} }

// DropCapability is docker's --cap-drop. ALL drops those of the policy, not
// those that are added by flags, whatever the order.
func DropCapability(name, flag string) Override { return Override{overrideDropped, name, flag} }

// overrider applies the overrides to a policy.
type overrider struct {
	opts    *LoadOptions
	policy  *Policy
	origins *Origins
	faults  *FaultList

	added, dropped []string
	capFlag        string
	// Those that are converted at the end, and --cpus, which one of them
	// contradicts.
	swap, period, quota, cpus *Override
}

// flagOrder sorts faults of flags behind those of files.
const flagOrder = 1 << 20

func (o *overrider) fault(ov Override, problem string) {
	*o.faults = append(*o.faults, &Fault{File: ov.Origin, Problem: problem, order: flagOrder})
}

func (o *overrider) apply() {
	for _, ov := range o.opts.Overrides {
		if problem := o.one(ov); problem != "" {
			o.fault(ov, problem)
		}
	}
	o.capabilities()
	o.converted()
}

// one applies an override and says what is wrong with it, or "".
func (o *overrider) one(ov Override) string {
	p := o.policy
	if problem, ok := o.docker(ov); ok {
		return problem
	}
	switch ov.Key {
	case "limits.cpus":
		o.cpus = &ov
	case overrideVolume:
		m, err := parseVolume(ov.Value, o.opts.Dir, o.opts.HomeDir)
		return o.mount(ov, m, err)
	case overrideTmpfs:
		m, err := parseTmpfs(ov.Value)
		return o.mount(ov, m, err)
	case overrideVariable:
		return o.variable(ov)
	case overrideUlimit:
		return o.ulimit(ov)
	case overrideIDs:
		uid, gid, hasGID := strings.Cut(ov.Value, ":")
		problem := o.scalar("user.uid", uid, ov.Origin)
		if problem == "" && hasGID {
			problem = o.scalar("user.gid", gid, ov.Origin)
		}
		return problem
	case overrideCapability, overrideDropped:
		return o.capability(ov)
	case "seccomp.base":
		problem := o.scalar(ov.Key, ov.Value, ov.Origin)
		if problem == "" && p.Seccomp.Base == seccomp.BaseNone {
			// No filter at all, whatever the policy adds to its own base.
			p.Seccomp.Allow, p.Seccomp.Deny, p.Seccomp.Rules = nil, nil, nil
		}
		return problem
	case "filesystem.root":
		problem := o.scalar(ov.Key, ov.Value, ov.Origin)
		if dir, ok := strings.CutPrefix(p.Filesystem.Root, "dir:"); ok && problem == "" {
			p.Filesystem.Root = "dir:" + anchor(o.opts.Dir, o.opts.HomeDir, dir)
		}
		return problem
	}
	return o.scalar(ov.Key, ov.Value, ov.Origin)
}

// scalar sets a key with a single value or a list of names.
func (o *overrider) scalar(name, value, flag string) string {
	k := findPath(name)
	if k == nil || k.field == nil || k.kind == kindTable || k.kind == kindTables || name == "version" {
		problem := "there is no key " + quote(name) + " that a flag can set"
		if near := Nearest(name, keyPaths()); near != "" {
			problem += fmt.Sprintf("; did you mean %q?", near)
		}
		return problem
	}
	problem := ""
	switch k.kind {
	case kindEnv, kindUlimits:
		return "a value has the form NAME=VALUE"
	case kindNames:
		problem = o.names(k, value)
	default:
		problem = k.setText(value, true, k.field(o.policy))
	}
	if problem == "" {
		o.origins.setFlag(name, flag)
	}
	return problem
}

// names sets a list from names separated by commas; an empty value empties it.
func (o *overrider) names(k *key, value string) string {
	var list []string
	for name := range strings.SplitSeq(value, ",") {
		if value == "" {
			break
		}
		if why := k.check(name); why != "" {
			return quote(name) + ": " + why
		}
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	dst := k.field(o.policy).(*[]string)
	if dst == &o.policy.Seccomp.Deny {
		list = append(slices.Clone(*dst), list...)
		slices.Sort(list)
		list = slices.Compact(list)
	}
	*dst = list
	return ""
}

func (o *overrider) mount(ov Override, m Mount, err error) string {
	if err != nil {
		return fmt.Sprintf("%s is not accepted: %s", quote(ov.Value), err)
	}
	mergeMount(&o.policy.Filesystem.Mounts, m)
	o.origins.setFlag(mountKey(m.Target), ov.Origin)
	return ""
}

func (o *overrider) variable(ov Override) string {
	env := &o.policy.Environment
	name, value, set := strings.Cut(ov.Value, "=")
	if why := checkVariable(name); why != "" {
		return quote(ov.Value) + ": " + why
	}
	if !set {
		delete(env.Set, name)
		delete(o.origins.places, "environment.set."+quoteKey(name))
		if !slices.Contains(env.Inherit, name) {
			env.Inherit = append(env.Inherit, name)
		}
		o.origins.setFlag("environment.inherit", ov.Origin)
		return ""
	}
	if why := checkValue(name, value); why != "" {
		return quote(name) + ": " + why
	}
	if env.Set == nil {
		env.Set = map[string]string{}
	}
	env.Set[name] = value
	env.Inherit = slices.DeleteFunc(env.Inherit, func(s string) bool { return s == name })
	o.origins.setFlag("environment.set."+quoteKey(name), ov.Origin)
	return ""
}

func (o *overrider) ulimit(ov Override) string {
	name, limit, err := parseUlimit(ov.Value)
	if err != nil {
		return fmt.Sprintf("%s is not accepted: %s", quote(ov.Value), err)
	}
	for _, own := range ownKeys {
		if own.name != name {
			continue
		}
		if limit.Soft != limit.Hard {
			return fmt.Sprintf("%s is not accepted: brig holds one limit for soft and hard; write %s=%s",
				quote(ov.Value), name, formatRLimit(limit.Hard))
		}
		value := formatRLimit(limit.Hard)
		if name == "cpu" && limit.Hard != Unlimited {
			value += "s"
		}
		return o.scalar("limits."+own.key, value, ov.Origin)
	}
	if _, problem := checkRLimit(name); problem != "" {
		return problem
	}
	if o.policy.Limits.Ulimits == nil {
		o.policy.Limits.Ulimits = map[string]Ulimit{}
	}
	o.policy.Limits.Ulimits[name] = limit
	o.origins.setFlag("limits.ulimit."+name, ov.Origin)
	return ""
}

// keyPaths lists the dotted paths of all keys that a flag can set.
func keyPaths() []string {
	var paths []string
	for i := range policyTable.keys {
		section := &policyTable.keys[i]
		if section.table == nil {
			continue
		}
		for j := range section.table.keys {
			paths = append(paths, section.name+"."+section.table.keys[j].name)
		}
	}
	return paths
}
