// Package policy reads what a job may use: TOML files in layers, flags on top,
// strictly decoded, every value remembering where it came from.
//
// A Policy is complete: every field holds the value that will be used, and a
// limit that is not wanted says so with Unlimited. The package makes no system
// calls of its own; files come in through an fs.FS.
package policy

import (
	"time"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

// Unlimited is the value of a limit that is explicitly absent. In TOML and in
// flags it is spelt "unlimited".
const Unlimited = -1

// Size is a number of bytes, or Unlimited.
type Size int64

// Count is a number of things (processes, files, inodes), or Unlimited.
type Count int64

// Duration is a length of time in nanoseconds, or Unlimited.
type Duration time.Duration

// Policy says what a job may use. See the shipped policies in configs for the
// format, and Schema for its JSON Schema.
type Policy struct {
	// Name is how the policy was asked for: a shipped name or a file's path.
	Name        string
	Version     int
	Description string
	Limits      Limits
	Enforcement Enforcement
	Filesystem  Filesystem
	User        User
	Network     Network
	Seccomp     seccomp.Settings
	Environment Environment
}

// Limits bound what the whole sandbox may consume.
type Limits struct {
	WallTime Duration // real time from the start of the job
	CPUTime  Duration // user + system time of the whole sandbox
	CPUs     float64  // CPU quota in CPUs; Unlimited for none
	// CPUWeight is cgroup v2's cpu.weight, 1 to 10000; 100 is the default.
	CPUWeight Count
	// CPUSet is a list of CPUs as in cpuset.cpus ("0-1,3"); empty for all.
	CPUSet string
	// CPUSetMems is a list of memory nodes as in cpuset.mems; empty for all.
	CPUSetMems string
	Memory     Size // hard limit, scratch included
	Swap       Size // swap alone
	MemoryLow  Size // protection; 0 for none
	MemoryHigh Size // throttling threshold
	// OOMGroup ends the whole job when its memory is used up, and not only the
	// process that takes most: memory.oom.group.
	OOMGroup bool
	// DelegateCgroup lets the job divide its own control group, mounted at
	// /sys/fs/cgroup; its limits lie above what it is given.
	DelegateCgroup bool
	PIDs           Count
	OpenFiles      Count // RLIMIT_NOFILE, always bounded
	FileSize       Size  // RLIMIT_FSIZE
	Stack          Size  // RLIMIT_STACK
	Output         Size  // stdout + stderr together
	Scratch        Size  // the writable layer
	ScratchInodes  Count
	// Ulimits are further rlimits by their lower-case name without the RLIMIT_
	// prefix ("memlock", "msgqueue"); limits that have a key of their own
	// (nofile, fsize, stack, nproc, cpu) are not accepted here.
	Ulimits map[string]Ulimit
	IO      []IOLimit
}

// Ulimit is one rlimit in the kernel's unit; either may be Unlimited.
type Ulimit struct{ Soft, Hard int64 }

// IOLimit bounds transfers on the block device behind a path or device node.
// Zero means no limit for that direction.
type IOLimit struct {
	Device              string
	ReadBPS, WriteBPS   Size  // bytes per second
	ReadIOPS, WriteIOPS Count // operations per second
}

// Enforcement says which mechanisms are good enough.
type Enforcement struct{ Limits LimitsMode }

// LimitsMode is how strongly limits must hold.
type LimitsMode string

// The modes of enforcement.limits.
const (
	// KernelOnly refuses to run when a limit cannot be held by the kernel.
	KernelOnly LimitsMode = "kernel"
	// KernelOrSupervised lets brig's supervisor hold what the kernel cannot.
	KernelOrSupervised LimitsMode = "kernel-or-supervised"
	// BestEffort runs anyway and reports what did not hold.
	BestEffort LimitsMode = "best-effort"
)

// Filesystem describes the root file system and what is mounted into it.
type Filesystem struct {
	// Root is "host", "dir:PATH" or "image:REFERENCE". A relative PATH has
	// been made absolute against the file that named it.
	Root     string
	ReadOnly bool
	// Workdir is the job's working directory inside; empty means the target of
	// the first mount whose source is the caller's directory, else "/".
	Workdir string
	// CopyCommand copies the command's own file into the working directory
	// when it is given as a path outside the root file system.
	CopyCommand bool
	// AllowHome lets a mount or a dir: root give the whole of the home
	// directory, / or a directory above the home directory.
	AllowHome bool
	Mounts    []Mount
}

// Mount gives one directory or file, or a fresh tmpfs, to the job.
type Mount struct {
	Type   MountType
	Source string // absolute after loading; empty for tmpfs
	Target string // absolute, clean, without ".."
	Access Access
	Size   Size // tmpfs only; 0 means the scratch limit
	// Optional mounts are left out when the source does not exist.
	Optional bool
}

// MountType is "bind" or "tmpfs".
type MountType string

// The mount types.
const (
	Bind  MountType = "bind"
	Tmpfs MountType = "tmpfs"
)

// Access is what a job may do with a mount, and what happens to the source.
type Access string

// The accesses.
const (
	ReadOnly    Access = "ro"
	ReadWrite   Access = "rw"
	CopyOnWrite Access = "cow"  // the job may write, the source is untouched
	Copy        Access = "copy" // copied in before the start
)

// User says whose ids the job runs with.
type User struct {
	Map UserMap
	// UID and GID are the job's ids inside the sandbox. GID defaults to UID.
	UID, GID uint32
	// Capabilities are kept in the job's sets, by name ("CAP_CHOWN").
	Capabilities []string
}

// UserMap is how ids inside map to ids outside.
type UserMap string

// The id mappings.
const (
	MapIsolated UserMap = "isolated" // subordinate ids only
	MapKeepID   UserMap = "keep-id"  // the caller is User.UID inside, the rest subordinate
	MapSingle   UserMap = "single"   // the caller is User.UID inside, and nobody else
	MapAuto     UserMap = "auto"     // the first of keep-id, single that works here
)

// Network says what the job can reach.
type Network struct {
	Mode NetworkMode
	// Loopback brings lo up in a fresh network stack.
	Loopback bool
}

// NetworkMode is the kind of network stack.
type NetworkMode string

// The network modes.
const (
	NetworkNone NetworkMode = "none" // a fresh stack
	NetworkHost NetworkMode = "host" // the caller's stack
	NetworkUser NetworkMode = "user" // a fresh stack with user-mode connectivity
)

// Environment is the job's environment: the named variables of the caller,
// then the given ones.
type Environment struct {
	Inherit []string
	Set     map[string]string
}
