package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// rlimits are the names that limits.ulimit knows, sorted. Those in bytes may be
// written as sizes.
var rlimits = [...]struct {
	name  string
	bytes bool
}{
	{"as", true},
	{"data", true},
	{"locks", false},
	{"memlock", true},
	{"msgqueue", true},
	{"nice", false},
	{"rss", true},
	{"rtprio", false},
	{"rttime", false},
	{"sigpending", false},
}

// ownKeys are the rlimits that have a key of their own in [limits].
var ownKeys = [...]struct{ name, key string }{
	{"cpu", "cpu_time"},
	{"fsize", "file_size"},
	{"nofile", "open_files"},
	{"nproc", "pids"},
	{"stack", "stack"},
}

// checkRLimit finds an rlimit by name.
func checkRLimit(name string) (bytes bool, problem string) {
	names := make([]string, len(rlimits))
	for i, r := range rlimits {
		if r.name == name {
			return r.bytes, ""
		}
		names[i] = r.name
	}
	for _, own := range ownKeys {
		if own.name == name {
			return false, fmt.Sprintf("%s is set with limits.%s", name, own.key)
		}
	}
	if name == "core" {
		return false, "core is held at 1 byte by brig, since 0 does not keep the host's core handler from starting"
	}
	return false, fmt.Sprintf("there is no rlimit %s; there are %s", quote(name), strings.Join(names, ", "))
}

// ulimits merges [limits.ulimit], name by name.
func (d *decoder) ulimits(k *key, raw any, at string, dst *map[string]Ulimit) {
	tree, ok := raw.(map[string]any)
	if !ok {
		d.fault(at, wrongType(k, raw))
		return
	}
	for name, item := range tree {
		path := join(at, quoteKey(name))
		bytes, problem := checkRLimit(name)
		var limit Ulimit
		if problem == "" {
			limit, problem = rlimitValue(bytes, item)
		}
		if problem != "" {
			d.fault(path, problem)
			continue
		}
		if *dst == nil {
			*dst = map[string]Ulimit{}
		}
		(*dst)[name] = limit
		d.origins.set(path, d.doc, path)
	}
}

// rlimitValue takes one limit for both, or { soft, hard }.
func rlimitValue(bytes bool, item any) (Ulimit, string) {
	pair, ok := item.(map[string]any)
	if !ok {
		n, problem := rlimitNumber(bytes, item)
		return Ulimit{Soft: n, Hard: n}, problem
	}
	var limit Ulimit
	for _, side := range []struct {
		name string
		dst  *int64
	}{{"soft", &limit.Soft}, {"hard", &limit.Hard}} {
		value, ok := pair[side.name]
		if !ok {
			return limit, fmt.Sprintf("%q is missing", side.name)
		}
		n, problem := rlimitNumber(bytes, value)
		if problem != "" {
			return limit, side.name + ": " + problem
		}
		*side.dst = n
	}
	if len(pair) > 2 {
		return limit, "it has other keys than soft and hard"
	}
	return limit, checkOrder(limit)
}

// checkOrder refuses a soft limit above the hard one, as the kernel does.
func checkOrder(u Ulimit) string {
	if u.Hard != Unlimited && (u.Soft == Unlimited || u.Soft > u.Hard) {
		return fmt.Sprintf("the soft limit %s is above the hard limit %s", formatRLimit(u.Soft), formatRLimit(u.Hard))
	}
	return ""
}

// rlimitNumber takes an integer, "unlimited" and, for bytes, a size.
func rlimitNumber(bytes bool, item any) (int64, string) {
	switch v := item.(type) {
	case int64:
		if v >= 0 {
			return v, ""
		}
	case string:
		if v == "unlimited" {
			return Unlimited, ""
		}
		if bytes {
			n, err := ParseSize(v)
			if err != nil {
				return 0, fmt.Sprintf("%s is not accepted: %s", quote(v), err)
			}
			return int64(n), ""
		}
	}
	what := `a whole number, or "unlimited"`
	if bytes {
		what = `a number of bytes, a size such as "64KiB", or "unlimited"`
	}
	return 0, fmt.Sprintf("%s is not accepted; write %s", describe(item), what)
}

// parseUlimit reads docker's --ulimit: NAME=SOFT[:HARD] with -1 for unlimited.
func parseUlimit(s string) (name string, limit Ulimit, err error) {
	name, values, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return "", limit, fmt.Errorf("it is not NAME=SOFT[:HARD]")
	}
	soft, hard, two := strings.Cut(values, ":")
	if !two {
		hard = soft
	}
	bytes, _ := checkRLimit(name)
	bytes = bytes || name == "fsize" || name == "stack"
	if limit.Soft, err = ulimitNumber(bytes, soft); err != nil {
		return "", limit, err
	}
	if limit.Hard, err = ulimitNumber(bytes, hard); err != nil {
		return "", limit, err
	}
	if problem := checkOrder(limit); problem != "" {
		return "", limit, fmt.Errorf("%s", problem)
	}
	return name, limit, nil
}

func ulimitNumber(bytes bool, s string) (int64, error) {
	switch {
	case s == "-1" || s == "unlimited":
		return Unlimited, nil
	case bytes:
		n, err := ParseDockerSize(s)
		return int64(n), err
	case !isDigits(s):
		return 0, fmt.Errorf("%s is not a whole number", quote(s))
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is more than 2^63", quote(s))
	}
	return n, nil
}
