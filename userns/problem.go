package userns

// Reason names one way in which user namespaces, mappings or subordinate ids
// can fail. It is an error so that errors.Is can compare with it; what is
// returned is always a *Problem, which also says the cause and the fix.
type Reason string

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// Why the kernel refuses a user namespace.
const (
	NoKernelSupport       Reason = "no-kernel-support"       // built without CONFIG_USER_NS
	MaxUserNamespacesZero Reason = "max-user-namespaces-0"   // sysctl user.max_user_namespaces=0
	UnprivilegedOff       Reason = "unprivileged-userns-off" // sysctl kernel.unprivileged_userns_clone=0
	NamespaceLimit        Reason = "namespace-limit"         // user.max_user_namespaces is used up
	NestingDepth          Reason = "nesting-depth"           // 33 levels, or an outer namespace's limit
	Chrooted              Reason = "chroot"                  // the caller's root is not its mount namespace's
	CallerUnmapped        Reason = "caller-unmapped"         // the caller's ids do not exist in its own namespace
	AppArmorRestricts     Reason = "apparmor"                // kernel.apparmor_restrict_unprivileged_userns=1
	AppArmorProfile       Reason = "apparmor-profile"        // the caller's own profile lacks "userns,"
	SELinuxDenies         Reason = "selinux"                 // no user_namespace { create } for the caller's domain
	OuterSeccomp          Reason = "outer-seccomp"           // a filter inherited from a container
	ProcessLimit          Reason = "process-limit"           // clone gave EAGAIN
	OutOfMemory           Reason = "out-of-memory"           // clone gave ENOMEM
	Unexplained           Reason = "unexplained"             // no known cause fits the facts
)

// Why newuidmap or newgidmap cannot be used, or did not do it.
const (
	ToolMissing      Reason = "tool-missing"
	ToolNotRunnable  Reason = "tool-not-executable"
	ToolNotSetuid    Reason = "tool-not-setuid"
	ToolNoCapability Reason = "tool-without-capability"
	ToolNosuidMount  Reason = "tool-on-nosuid-mount"
	ToolNoNewPrivs   Reason = "no-new-privs"
	ToolBounded      Reason = "tool-capability-bounded"
	ToolFailed       Reason = "tool-failed"
	ToolRefusedRange Reason = "tool-refused-range"
	ToolRefusedOwner Reason = "tool-refused-owner"
)

// What is wrong with ranges and mappings.
const (
	NoRange         Reason = "no-range"
	RangeMalformed  Reason = "range-malformed"
	RangeOverlap    Reason = "range-overlap"
	RangeForbidden  Reason = "range-forbidden"
	RangeTooSmall   Reason = "range-too-small"
	MapInvalid      Reason = "map-invalid"
	MapRefused      Reason = "map-refused"
	HostRoot        Reason = "host-root"
	IDNotMapped     Reason = "id-not-mapped"
	UnknownUser     Reason = "unknown-user"
	FileUnreadable  Reason = "file-unreadable"
	RangesExhausted Reason = "ranges-exhausted"
	RangesUnmapped  Reason = "ranges-unmapped"
	LockDirUnsafe   Reason = "lock-directory-unsafe"
)

// Problem is a failure that a person can act upon.
type Problem struct {
	Reason Reason
	// Cause is one sentence without a full stop.
	Cause string
	// Fix is what to do: usually shell commands, sometimes several lines.
	Fix string
	// Err is the error underneath, if there was one.
	Err error
}

// Detail returns the cause with that of the error underneath.
func (p *Problem) Detail() string {
	if p.Err != nil {
		return p.Cause + ": " + p.Err.Error()
	}
	return p.Cause
}

// Error returns the cause and the fix.
func (p *Problem) Error() string {
	s := p.Detail()
	if p.Fix != "" {
		s += "; fix: " + p.Fix
	}
	return s
}

// Is reports whether target is this problem's Reason.
func (p *Problem) Is(target error) bool {
	r, ok := target.(Reason) // errors.Is walks the chain
	return ok && r == p.Reason
}

// Unwrap returns the error underneath.
func (p *Problem) Unwrap() error { return p.Err }
