package seccomp

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Action is what a filter returns for a call: SECCOMP_RET_* in the upper half,
// the errno in the lower (include/uapi/linux/seccomp.h).
type Action uint32

// The actions that brig's filters return. An errno is Errno(n).
const (
	KillProcess Action = 0x8000_0000
	Allow       Action = 0x7fff_0000

	retErrno      Action = 0x0005_0000
	retActionMask Action = 0xffff_0000
	retDataMask   Action = 0x0000_ffff
)

// Errno is the action that fails a call with error number n.
func Errno(n uint16) Action { return retErrno | Action(n) }

// IsErrno tells whether the action fails the call, and with which number.
func (a Action) IsErrno() (uint16, bool) {
	return uint16(a & retDataMask), a&retActionMask == retErrno
}

// String is "allow", "kill", an errno name, or the number in hexadecimal.
func (a Action) String() string {
	if a == Allow {
		return "allow"
	}
	if a == KillProcess {
		return "kill"
	}
	if n, ok := a.IsErrno(); ok {
		if name := unix.ErrnoName(unix.Errno(n)); name != "" {
			return name
		}
		return fmt.Sprintf("errno %d", n)
	}
	return fmt.Sprintf("%#08x", uint32(a))
}

// errnoAliases are the second names of error numbers.
var errnoAliases = [...]struct {
	name string
	n    uint16
}{
	{"EWOULDBLOCK", uint16(unix.EAGAIN)},
	{"EDEADLOCK", uint16(unix.EDEADLK)},
	{"ENOTSUP", uint16(unix.EOPNOTSUPP)},
}

// parseErrno finds the number of an errno name.
func parseErrno(name string) (uint16, bool) {
	for n := uint16(1); n < 134; n++ {
		if unix.ErrnoName(unix.Errno(n)) == name {
			return n, true
		}
	}
	for _, a := range errnoAliases {
		if a.name == name {
			return a.n, true
		}
	}
	return 0, false
}

// parseDenial reads "kill" or an errno name.
func parseDenial(s string) (Action, error) {
	if s == "kill" {
		return KillProcess, nil
	}
	if n, ok := parseErrno(s); ok {
		return Errno(n), nil
	}
	if n, ok := parseErrno(strings.ToUpper(s)); ok {
		return 0, fmt.Errorf("%q is not an errno name: write %q", s, Errno(n))
	}
	return 0, fmt.Errorf("%q is neither an errno name (such as \"EPERM\") nor \"kill\"", s)
}

// restrictive orders actions as the kernel does: of two answers the smaller one
// (as a signed number, without its data) wins.
func (a Action) restrictive() int32 { return int32(a & retActionMask) }
