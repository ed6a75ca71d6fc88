package policy

import (
	"time"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

// Defaults is the policy of a file that sets nothing. Every limit that can be
// finite on any host is finite: what is unlimited is spelt out.
func Defaults() *Policy {
	return &Policy{
		Version: Version,
		Limits: Limits{
			WallTime:      Duration(time.Hour),
			CPUTime:       Duration(time.Hour),
			CPUs:          Unlimited,
			CPUWeight:     100,
			Memory:        1 << 30,
			Swap:          0,
			MemoryLow:     0,
			MemoryHigh:    Unlimited,
			OOMGroup:      true,
			PIDs:          256,
			OpenFiles:     1024,
			FileSize:      1 << 30,
			Stack:         8 << 20,
			Output:        64 << 20,
			Scratch:       256 << 20,
			ScratchInodes: 65536,
		},
		Enforcement: Enforcement{Limits: KernelOrSupervised},
		Filesystem:  Filesystem{Root: "host"},
		User:        User{Map: MapAuto, UID: 1000},
		Network:     Network{Mode: NetworkNone, Loopback: true},
		Seccomp:     seccomp.Settings{Base: seccomp.BaseDefault, OnDeny: "EPERM"},
		Environment: Environment{
			Set: map[string]string{
				"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			},
		},
	}
}
