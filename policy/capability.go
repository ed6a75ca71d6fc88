package policy

import (
	"slices"
	"strings"
)

// ptrace is never kept: with it a job could enter init and read what the
// caller gave to it alone.
const ptrace = "CAP_SYS_PTRACE"

// Capabilities lists the names of all capabilities in the order of their
// numbers, as linux/capability.h has them.
func Capabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
		"CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
		"CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
		"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT",
		"CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME",
		"CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
		"CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
		"CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
	}
}

// checkCapability takes a name that may be kept.
func checkCapability(s string) string {
	if s == ptrace {
		return "it is never given: with it a job could enter the processes that guard it"
	}
	all := Capabilities()
	if slices.Contains(all, s) {
		return ""
	}
	if near := Nearest(normalCapability(s), all); near != "" {
		return "there is no such capability; did you mean " + quote(near) + "?"
	}
	return "there is no such capability"
}

// normalCapability is the name that docker's flags would mean: in capitals and
// with the prefix.
func normalCapability(s string) string {
	s = strings.ToUpper(s)
	if !strings.HasPrefix(s, "CAP_") {
		s = "CAP_" + s
	}
	return s
}
