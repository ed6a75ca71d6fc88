package policy

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// The checks of single strings. Each says in words what is wrong, or "".

// checkText takes one line of text.
func checkText(s string) string {
	if strings.ContainsFunc(s, isControl) {
		return "it holds a control character"
	}
	return ""
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// checkPath takes any path that the kernel could.
func checkPath(s string) string {
	switch {
	case s == "":
		return "it is empty"
	case strings.Contains(s, "\x00"):
		return "it holds a NUL"
	case s != "~" && strings.HasPrefix(s, "~") && !strings.HasPrefix(s, "~/"):
		return "only ~ and ~/ are understood, for your own home directory; write ./" + s + " for a file of that name"
	}
	return ""
}

// reservedTargets are what every sandbox gets from brig itself.
var reservedTargets = [...]string{"/proc", "/sys", "/dev"}

// checkTarget takes where a mount may appear.
func checkTarget(s string) string {
	if why := checkInside(s); why != "" {
		return why
	}
	if s == "/" {
		return "the root is set with filesystem.root"
	}
	for _, reserved := range reservedTargets {
		if within(s, reserved) {
			return reserved + " is made by brig itself"
		}
	}
	return ""
}

// checkWorkdir takes a directory inside, or nothing.
func checkWorkdir(s string) string {
	if s == "" {
		return ""
	}
	return checkInside(s)
}

// checkInside takes a path as the job will see it.
func checkInside(s string) string {
	switch {
	case !path.IsAbs(s):
		return "it is not an absolute path"
	case slices.Contains(strings.Split(s, "/"), ".."):
		return `it contains ".."`
	case path.Clean(s) != s:
		return "write it as " + quote(path.Clean(s))
	}
	return checkText(s)
}

// within reports whether a clean path is dir or lies below it.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// checkRoot takes the forms of filesystem.root.
func checkRoot(s string) string {
	if dir, ok := strings.CutPrefix(s, "dir:"); ok {
		return checkPath(dir)
	}
	if image, ok := strings.CutPrefix(s, "image:"); ok {
		if image == "" || strings.ContainsFunc(image, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "an image is named like debian:12"
		}
		return ""
	}
	if s != "host" {
		return `it is none of "host", "dir:PATH" and "image:REFERENCE"`
	}
	return ""
}

// checkCPUList takes the list format of cpuset.cpus: numbers and ranges.
func checkCPUList(s string) string {
	const form = `it is not a list like "0-1,3"`
	if s == "" {
		return ""
	}
	for item := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(item, "-")
		a, ok := cpuNumber(first)
		if !ok {
			return form
		}
		if !ranged {
			continue
		}
		b, ok := cpuNumber(last)
		if !ok {
			return form
		}
		if b < a {
			return "the range " + quote(item) + " ends before it begins"
		}
	}
	return ""
}

func cpuNumber(s string) (int, bool) {
	if !isDigits(s) {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && n < maxCPUs
}

// maxEnvString is the kernel's MAX_ARG_STRLEN: no variable can be longer,
// its name, the = and the final NUL included.
const maxEnvString = 128 << 10

// checkVariable takes the name of an environment variable.
func checkVariable(s string) string {
	switch {
	case s == "":
		return "the name of a variable is empty"
	case strings.Contains(s, "="):
		return `the name of a variable holds no "="`
	case strings.ContainsFunc(s, isControl):
		return "it holds a control character"
	}
	return ""
}

// checkValue takes the value of an environment variable.
func checkValue(name, value string) string {
	switch {
	case strings.Contains(value, "\x00"):
		return "the value holds a NUL"
	case len(name)+len(value)+2 > maxEnvString:
		return "the variable is longer than 128KiB, which the kernel refuses"
	}
	return ""
}

// checkSyscall takes the name of a system call or of a group. Whether it
// exists is known to the compiler of filters.
func checkSyscall(s string) string {
	name := strings.TrimPrefix(s, "@")
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return "it is neither the name of a system call nor a @group"
	}
	return ""
}

// checkOnDeny takes an errno's name or kill.
func checkOnDeny(s string) string {
	if s == "kill" || isErrnoName(s) {
		return ""
	}
	return `it is neither the name of an errno such as "EPERM" nor "kill"`
}

// checkAction takes what a rule may do.
func checkAction(s string) string {
	switch s {
	case "allow", "deny", "kill":
		return ""
	}
	if isErrnoName(s) {
		return ""
	}
	return `it is none of "allow", "deny", "kill" and the name of an errno`
}

func isErrnoName(s string) bool {
	return len(s) > 1 && s[0] == 'E' && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == ""
}
