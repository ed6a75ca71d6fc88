package seccomp

import (
	"math"
	"slices"
	"sort"
)

// x32Bit is set in the numbers of the x32 ABI. On an architecture without it no
// such number exists.
const x32Bit = 0x4000_0000

// Profile says what becomes of every system call on one architecture. It is what
// a program is compiled from and checked against.
type Profile struct {
	Arch string
	Base string
	// Key is the value of Key for the settings that the profile comes from.
	Key string
	// Highest is the largest number with a name. Larger ones fail with ENOSYS,
	// as on a kernel that does not have them yet, so that C libraries fall back.
	Highest uint32
	// Deny is what happens to a call that the profile does not allow.
	Deny Action
	// Calls holds every call with a name on the architecture, by number.
	Calls []Call
	// DenialActions lists the actions of denials by argument. Of two errnos that
	// both apply the one that comes first here is returned, and before that of a
	// call that is not allowed.
	DenialActions []Action
}

// Call says what becomes of one system call.
type Call struct {
	Name   string
	Number uint32
	// Action is what happens when none of Allows matches.
	Action Action
	// Allows are the arguments with which a call passes that is not allowed
	// altogether. Then Action is the profile's Deny.
	Allows []Match
	// Denials say what else happens for some arguments, whether the call passes
	// with them or not, unless that is milder than what happens anyway.
	Denials []Denial
	// Why names the entry that decided: "base", "not in base", "allow", "deny",
	// "rule", "supervised memory".
	Why string
}

// Denial denies a call for some arguments.
type Denial struct {
	Match  Match
	Action Action
	Why    string // "base" or "rule"
}

// None tells that there is no filter to load at all.
func (p *Profile) None() bool { return p.Base == BaseNone }

// Decide is what the profile does with a call: the meaning that a compiled
// program must have.
func (p *Profile) Decide(d *Data) Action {
	if p.None() {
		return Allow
	}
	if token, ok := auditArch(p.Arch); !ok || d.Arch != token {
		return KillProcess
	}
	if d.Number > p.Highest {
		if d.Number >= x32Bit && d.Number != math.MaxUint32 {
			return KillProcess
		}
		return errNoSys
	}
	i := sort.Search(len(p.Calls), func(i int) bool { return p.Calls[i].Number >= d.Number })
	if i == len(p.Calls) || p.Calls[i].Number != d.Number {
		return p.Deny
	}
	return p.decideCall(&p.Calls[i], &d.Args)
}

func (p *Profile) decideCall(c *Call, args *[6]uint64) Action {
	result := c.Action
	for _, m := range c.Allows {
		if m.Holds(args) {
			result = Allow
			break
		}
	}
	// As the kernel does with filters: of equally strict answers the last one is
	// the result.
	for _, action := range slices.Backward(p.DenialActions) {
		if action.restrictive() > result.restrictive() {
			continue
		}
		for _, denial := range c.Denials {
			if denial.Action == action && denial.Match.Holds(args) {
				result = action
				break
			}
		}
	}
	return result
}
