// Code generated from the shipped policies by go test ./configs/compiled -update. DO NOT EDIT.

package compiled

import (
	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/policy/seccomp"
)

// Policy is a shipped policy as it is after loading, for policy.LoadOptions;
// nil for a name that is none of theirs.
func Policy(name string) *policy.Policy {
	switch name {
	case "ci":
		return &policy.Policy{Name: "ci", Version: 1, Description: "a build with its tests, on a copy-on-write view of the current directory",
			Limits:      policy.Limits{WallTime: 3600000000000, CPUTime: 14400000000000, CPUs: -1, CPUWeight: 100, Memory: 8589934592, MemoryHigh: -1, OOMGroup: true, PIDs: 4096, OpenFiles: 4096, FileSize: -1, Stack: 8388608, Output: 268435456, Scratch: 4294967296, ScratchInodes: 1000000},
			Enforcement: policy.Enforcement{Limits: "kernel-or-supervised"},
			Filesystem:  policy.Filesystem{Root: "host", Mounts: []policy.Mount{policy.Mount{Type: "bind", Source: ".", Target: "/work", Access: "cow"}}},
			User:        policy.User{Map: "auto", UID: 0x3e8, GID: 0x3e8},
			Network:     policy.Network{Mode: "none", Loopback: true},
			Seccomp:     seccomp.Settings{Base: "default", OnDeny: "EPERM"},
			Environment: policy.Environment{Inherit: []string{"LANG", "LC_ALL", "TZ", "CI"}, Set: map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}}
	case "compile":
		return &policy.Policy{Name: "compile", Version: 1, Description: "a compiler, writing into the current directory",
			Limits:      policy.Limits{WallTime: 120000000000, CPUTime: 60000000000, CPUs: -1, CPUWeight: 100, Memory: 2147483648, MemoryHigh: -1, OOMGroup: true, PIDs: 256, OpenFiles: 1024, FileSize: 536870912, Stack: 8388608, Output: 16777216, Scratch: 536870912, ScratchInodes: 50000},
			Enforcement: policy.Enforcement{Limits: "kernel-or-supervised"},
			Filesystem:  policy.Filesystem{Root: "host", Mounts: []policy.Mount{policy.Mount{Type: "bind", Source: "/etc/java-17-openjdk", Target: "/etc/java-17-openjdk", Access: "ro", Optional: true}, policy.Mount{Type: "bind", Source: "/etc/java-21-openjdk", Target: "/etc/java-21-openjdk", Access: "ro", Optional: true}, policy.Mount{Type: "bind", Source: ".", Target: "/work", Access: "rw"}}},
			User:        policy.User{Map: "auto", UID: 0x3e8, GID: 0x3e8},
			Network:     policy.Network{Mode: "none"},
			Seccomp:     seccomp.Settings{Base: "default", OnDeny: "EPERM"},
			Environment: policy.Environment{Inherit: []string{}, Set: map[string]string{"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "TMPDIR": "/tmp"}}}
	case "default":
		return &policy.Policy{Name: "default", Version: 1, Description: "a command of your own, on a copy-on-write view of the current directory",
			Limits:      policy.Limits{WallTime: -1, CPUTime: -1, CPUs: -1, CPUWeight: 100, Memory: 2147483648, MemoryHigh: -1, OOMGroup: true, PIDs: 512, OpenFiles: 1024, FileSize: -1, Stack: 8388608, Output: -1, Scratch: 1073741824, ScratchInodes: 200000},
			Enforcement: policy.Enforcement{Limits: "kernel-or-supervised"},
			Filesystem:  policy.Filesystem{Root: "host", Mounts: []policy.Mount{policy.Mount{Type: "bind", Source: ".", Target: "/work", Access: "cow"}}},
			User:        policy.User{Map: "single", UID: 0x3e8, GID: 0x3e8},
			Network:     policy.Network{Mode: "none", Loopback: true},
			Seccomp:     seccomp.Settings{Base: "default", OnDeny: "EPERM"},
			Environment: policy.Environment{Inherit: []string{"LANG", "LC_ALL", "TZ", "TERM", "COLORTERM", "NO_COLOR"}, Set: map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}}
	case "dev":
		return &policy.Policy{Name: "dev", Version: 1, Description: "an interactive session that writes into the current directory",
			Limits:      policy.Limits{WallTime: -1, CPUTime: -1, CPUs: -1, CPUWeight: 100, Memory: 4294967296, MemoryHigh: -1, OOMGroup: true, PIDs: 2048, OpenFiles: 4096, FileSize: -1, Stack: 8388608, Output: -1, Scratch: 2147483648, ScratchInodes: 200000},
			Enforcement: policy.Enforcement{Limits: "kernel-or-supervised"},
			Filesystem:  policy.Filesystem{Root: "host", Mounts: []policy.Mount{policy.Mount{Type: "bind", Source: ".", Target: "/work", Access: "rw"}}},
			User:        policy.User{Map: "auto", UID: 0x3e8, GID: 0x3e8},
			Network:     policy.Network{Mode: "none", Loopback: true},
			Seccomp:     seccomp.Settings{Base: "default", OnDeny: "EPERM"},
			Environment: policy.Environment{Inherit: []string{"LANG", "LC_ALL", "TZ", "TERM", "COLORTERM", "NO_COLOR", "EDITOR", "PAGER"}, Set: map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}}
	case "image":
		return &policy.Policy{Name: "image", Version: 1, Description: "a container image with its own users and its own package manager",
			Limits:      policy.Limits{WallTime: -1, CPUTime: -1, CPUs: -1, CPUWeight: 100, Memory: 2147483648, MemoryHigh: -1, OOMGroup: true, PIDs: 512, OpenFiles: 1024, FileSize: -1, Stack: 8388608, Output: -1, Scratch: 1073741824, ScratchInodes: 200000},
			Enforcement: policy.Enforcement{Limits: "kernel-or-supervised"},
			Filesystem:  policy.Filesystem{Root: "host"},
			User:        policy.User{Map: "auto", Capabilities: []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETGID", "CAP_SETUID"}},
			Network:     policy.Network{Mode: "none", Loopback: true},
			Seccomp:     seccomp.Settings{Base: "default", OnDeny: "EPERM", Rules: []seccomp.Rule{seccomp.Rule{Names: []string{"socket"}, Action: "allow", Args: []seccomp.Arg{seccomp.Arg{Op: "eq", Value: 0x10}, seccomp.Arg{Index: 0x2, Op: "eq", Value: 0x9}}}}},
			Environment: policy.Environment{Inherit: []string{"LANG", "TERM", "COLORTERM", "NO_COLOR"}, Set: map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}}
	case "judge":
		return &policy.Policy{Name: "judge", Version: 1, Description: "a student's submission, already compiled, on one test",
			Limits:      policy.Limits{WallTime: 10000000000, CPUTime: 2000000000, CPUs: 1, CPUWeight: 100, Memory: 268435456, MemoryHigh: -1, OOMGroup: true, PIDs: 64, OpenFiles: 256, FileSize: 67108864, Stack: 67108864, Output: 16777216, Scratch: 67108864, ScratchInodes: 10000},
			Enforcement: policy.Enforcement{Limits: "kernel-or-supervised"},
			Filesystem:  policy.Filesystem{Root: "host", Workdir: "/work", CopyCommand: true, Mounts: []policy.Mount{policy.Mount{Type: "bind", Source: "/etc/java-17-openjdk", Target: "/etc/java-17-openjdk", Access: "ro", Optional: true}, policy.Mount{Type: "bind", Source: "/etc/java-21-openjdk", Target: "/etc/java-21-openjdk", Access: "ro", Optional: true}}},
			User:        policy.User{Map: "isolated", UID: 0x3e8, GID: 0x3e8},
			Network:     policy.Network{Mode: "none"},
			Seccomp:     seccomp.Settings{Base: "strict", OnDeny: "EPERM"},
			Environment: policy.Environment{Inherit: []string{}, Set: map[string]string{"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}}}
	case "strict":
		return &policy.Policy{Name: "strict", Version: 1, Description: "a program that gets no directory, no network and little of everything",
			Limits:      policy.Limits{WallTime: 60000000000, CPUTime: 30000000000, CPUs: 1, CPUWeight: 100, Memory: 268435456, MemoryHigh: -1, OOMGroup: true, PIDs: 64, OpenFiles: 256, FileSize: 67108864, Stack: 8388608, Output: 16777216, Scratch: 67108864, ScratchInodes: 10000},
			Enforcement: policy.Enforcement{Limits: "kernel-or-supervised"},
			Filesystem:  policy.Filesystem{Root: "host", Mounts: []policy.Mount{policy.Mount{Type: "bind", Source: "/etc/java-17-openjdk", Target: "/etc/java-17-openjdk", Access: "ro", Optional: true}, policy.Mount{Type: "bind", Source: "/etc/java-21-openjdk", Target: "/etc/java-21-openjdk", Access: "ro", Optional: true}}},
			User:        policy.User{Map: "auto", UID: 0x3e8, GID: 0x3e8},
			Network:     policy.Network{Mode: "none"},
			Seccomp:     seccomp.Settings{Base: "strict", OnDeny: "EPERM"},
			Environment: policy.Environment{Inherit: []string{}, Set: map[string]string{"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}}}
	case "unpack":
		return &policy.Policy{Name: "unpack", Version: 1, Description: "brig's own work on the layers of images",
			Limits:      policy.Limits{WallTime: 7200000000000, CPUTime: 3600000000000, CPUs: -1, CPUWeight: 100, Memory: 1073741824, MemoryHigh: -1, OOMGroup: true, PIDs: 64, OpenFiles: 1024, FileSize: -1, Stack: 8388608, Output: 1048576, Scratch: 67108864, ScratchInodes: 10000},
			Enforcement: policy.Enforcement{Limits: "kernel-or-supervised"},
			Filesystem:  policy.Filesystem{Root: "host", Mounts: []policy.Mount{policy.Mount{Type: "bind", Source: "/etc/java-17-openjdk", Target: "/etc/java-17-openjdk", Access: "ro", Optional: true}, policy.Mount{Type: "bind", Source: "/etc/java-21-openjdk", Target: "/etc/java-21-openjdk", Access: "ro", Optional: true}}},
			User:        policy.User{Map: "auto", Capabilities: []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID"}},
			Network:     policy.Network{Mode: "none"},
			Seccomp:     seccomp.Settings{Base: "strict", OnDeny: "EPERM"},
			Environment: policy.Environment{Inherit: []string{}, Set: map[string]string{"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}}}
	}
	return nil
}
