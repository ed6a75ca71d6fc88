// Package seccomp holds system call filters as data: profiles, what a policy
// changes about them, compiled programs and an evaluator that checks a program
// against its profile before any kernel sees it.
//
// The way of a filter:
//
//	Settings, Options, arch ──Key──▶ shipped or cached program ──▶ kernel
//	       │                                    ▲
//	       └─Resolve─▶ Profile ─(brig-filterc: libseccomp)─▶ Compiled ─Verify┘
//
// The upper line is the hot path: a hash and a look-up. The lower one runs when
// brig is built, and once for each setting that does not ship with brig.
//
// # Order
//
// A call is decided by the first of these that speaks of it: deny, rule, allow,
// base. Within the rules a denial goes before an allowance. An entry that
// cannot take effect is an error.
//
// # Stacked filters, folded
//
// libseccomp silently drops a denial with arguments when the same call is
// allowed elsewhere in the same filter. Denials with arguments therefore live
// in further filters that allow everything else, one for each action. They are
// loaded first; the filter that denies by default is loaded last, since it may
// deny the very calls that load filters. The kernel runs all of them and takes
// the most restrictive answer; between two errnos that of the filter loaded
// last. Fold makes one filter of them that gives the same answers.
//
// # Limits
//
// A filter sees numbers, never what a pointer leads to: paths, clone3's flags
// and the address of a connect cannot be decided here. Filters do not protect a
// process from another one with the same ids.
package seccomp

// Settings is the [seccomp] table of a policy, plus the facts of the rest of
// the policy that change the profile.
type Settings struct {
	// Base is "default", "strict" or "none".
	Base string
	// Allow and Deny name system calls or groups ("@sockets").
	Allow, Deny []string
	// OnDeny is an errno name ("EPERM") or "kill". Empty means "EPERM".
	OnDeny string
	Rules  []Rule
}

// Rule decides a system call by its arguments.
type Rule struct {
	Names []string
	// Action is "allow", "deny", "kill", or an errno name.
	Action string
	Args   []Arg
}

// Arg compares one argument, as libseccomp does. Where the kernel takes only
// the low 32 bits of a parameter, only those are compared.
type Arg struct {
	Index uint   // 0 to 5
	Op    string // eq, ne, lt, le, gt, ge, masked_eq
	Value uint64
	// Mask is used by masked_eq: (arg & Mask) == Value.
	Mask uint64
}

// Options are the facts outside the [seccomp] table that change the profile.
type Options struct {
	// SupervisedMemory is set when brig itself sums up the job's memory instead
	// of a cgroup. Memory that such a sum does not see (memfd, SysV segments)
	// is then denied, unless the policy allows those calls by name.
	SupervisedMemory bool
	// Caps are the capabilities that the job keeps ("CAP_CHOWN").
	Caps []string
}

// The bases.
const (
	BaseDefault = "default" // Docker's profile, hardened
	BaseStrict  = "strict"  // what compiled programs and interpreters need
	BaseNone    = "none"    // no filter at all
)

// The architectures, named as Go names them.
const (
	AMD64 = "amd64"
	ARM64 = "arm64"
)
