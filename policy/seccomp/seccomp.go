// Package seccomp holds system call filters as data: profiles, what a policy
// changes about them, compiled programs and an evaluator that checks a program
// against its profile before any kernel sees it.
package seccomp

// Settings is the [seccomp] table of a policy, plus the facts of the rest of
// the policy that change the profile.
type Settings struct {
	// Base is "default", "strict" or "none".
	Base string
	// Allow and Deny name system calls or groups ("@sockets").
	Allow, Deny []string
	// OnDeny is an errno name ("EPERM") or "kill".
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

// Arg compares one argument, as libseccomp does.
type Arg struct {
	Index uint   // 0 to 5
	Op    string // eq, ne, lt, le, gt, ge, masked_eq
	Value uint64
	// Mask is used by masked_eq: (arg & Mask) == Value.
	Mask uint64
}
