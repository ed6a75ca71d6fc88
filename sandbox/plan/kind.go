package plan

import "fmt"

// Kind is what an Op does.
type Kind uint8

// The kinds of op, in the order in which a plan may hold them. To add one: add
// it here with its name in kindNames and its place in rank (check.go), print
// it in text.go, and lower it in sandbox/launch.
const (
	// CloseDescriptors closes every descriptor that init was not given.
	CloseDescriptors Kind = iota + 1
	// Cgroup waits until brig has put init into a control group of the
	// sandbox's own, made by the driver Data below Source, with the limits in
	// Names on the group and those in Write on the job's leaf.
	Cgroup
	// MapIDs gives the user namespace its id mappings, written by By.
	MapIDs
	// CgroupNamespace makes the caller's cgroup the root of what the sandbox
	// sees, where it has none of its own.
	CgroupNamespace
	// PrivateMounts cuts mount propagation from and to the host.
	PrivateMounts
	// Open opens Source as Handle while the caller's ids still apply. With Mapped
	// it is brig that does, as host root, and the files of OwnerUID and OwnerGID
	// belong to UID and GID inside.
	Open
	// SetIDs takes the ids inside that own what is made during set-up.
	SetIDs
	// Scratch mounts the size-limited tmpfs that holds all that is written.
	Scratch
	// Upper makes the directory behind Handle the place for the uppers of
	// overlays, instead of the scratch.
	Upper
	// Mkdir makes the directory Target in the tree that becomes the root, or
	// the layer right above the root's lower layer.
	Mkdir
	// Symlink makes the link Target with the text Data there.
	Symlink
	// File writes Data, or the file Source as the parent read it, into the new file
	// Target there.
	File
	// Root enters the new root: the scratch itself, a directory in it, or an
	// overlay over Handle and Layers. With ReadOnly the overlay has no upper, so
	// that nothing can be made in it.
	Root
	// Mountpoint makes what is missing of the path Target below the root.
	Mountpoint
	// Copy writes the tree or file at Source, read by the parent, to Target.
	Copy
	// Bind mounts Handle on Target.
	Bind
	// Overlay mounts Handle as lower layer, with an upper in the scratch, on Target.
	Overlay
	// Tmpfs mounts a fresh tmpfs on Target.
	Tmpfs
	// Proc mounts the sandbox's own procfs on Target.
	Proc
	// Devpts mounts the sandbox's own devpts on Target.
	Devpts
	// Mask hides Target: a file behind the null device, a directory behind an
	// empty read-only one.
	Mask
	// Protect makes Target, and all below it, read-only.
	Protect
	// Sysctl writes Data to the file Target of the sandbox's own procfs.
	Sysctl
	// Hostname sets the host name of the UTS namespace.
	Hostname
	// Loopback brings the loopback device up.
	Loopback
	// Affinity binds the sandbox to the CPUs in Data.
	Affinity
	// OOMScore makes the sandbox the kernel's first choice when memory ends.
	OOMScore
	// Pivot makes the new root the root and detaches the old one.
	Pivot
	// ReadOnlyRoot makes the root mount itself read-only.
	ReadOnlyRoot
	// Fork starts the job's process; init stays as PID 1.
	Fork

	// InitIDs takes the ids init keeps for the sandbox's life.
	InitIDs
	// InitDrop leaves init without capabilities, not dumpable and with its
	// channel alone.
	InitDrop
	// Ready sends the parent the descriptors it supervises with.
	Ready
	// Release tells the job's process that init has dropped its privileges.
	Release

	// JobCgroup puts the job's process into its leaf of the control group and,
	// with CgroupRoot as Data, makes that the root of what it sees.
	JobCgroup
	// CgroupMount mounts the control groups on Target, of which the job sees
	// those below its own: for a Delegated Cgroup, whose part it may divide.
	CgroupMount
	// Session gives the job a session, and a terminal where one was asked for.
	Session
	// Rlimit sets one resource limit of the job.
	Rlimit
	// JobIDs takes the job's groups and ids.
	JobIDs
	// Capabilities leaves the job with the named capabilities alone.
	Capabilities
	// Chdir enters the working directory and checks that it lies inside.
	Chdir
	// NoNewPrivs forbids gaining privileges by exec.
	NoNewPrivs
	// Landlock restricts file access to the given paths and, with ScopeAbstract
	// as Data, abstract Unix sockets to the sandbox's own.
	Landlock
	// AwaitInit waits for Release.
	AwaitInit
	// Seccomp loads the system call filters.
	Seccomp
	// Exec runs the job's command.
	Exec

	kindEnd
)

var kindNames = [kindEnd]string{
	CloseDescriptors: "close-descriptors", Cgroup: "cgroup", MapIDs: "map-ids", CgroupNamespace: "cgroup-namespace",
	PrivateMounts: "private-mounts", Open: "open", SetIDs: "set-ids", Scratch: "scratch", Upper: "upper",
	Mkdir: "mkdir", Symlink: "symlink", File: "file", Root: "root", Mountpoint: "mountpoint", Copy: "copy", Bind: "bind", Overlay: "overlay",
	Tmpfs: "tmpfs", Proc: "proc", Devpts: "devpts", Mask: "mask", Protect: "protect", Sysctl: "sysctl",
	Hostname: "hostname", Loopback: "loopback", Affinity: "affinity", OOMScore: "oom-score",
	Pivot: "pivot", ReadOnlyRoot: "read-only-root", Fork: "fork",
	InitIDs: "init-ids", InitDrop: "init-drop", Ready: "ready", Release: "release",
	JobCgroup: "job-cgroup", CgroupMount: "cgroup-mount", Session: "session", Rlimit: "rlimit", JobIDs: "job-ids", Capabilities: "capabilities",
	Chdir: "chdir", NoNewPrivs: "no-new-privs", Landlock: "landlock", AwaitInit: "await-init",
	Seccomp: "seccomp", Exec: "exec",
}

// String returns the kind's name as plans print it.
func (k Kind) String() string {
	if k == 0 || k >= kindEnd {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// MarshalText encodes the kind by name.
func (k Kind) MarshalText() ([]byte, error) {
	if k == 0 || k >= kindEnd {
		return nil, fmt.Errorf("no such kind of op: %d", uint8(k))
	}
	return []byte(kindNames[k]), nil
}

// UnmarshalText decodes a kind's name; an unknown one is an error.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if i > 0 && name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("no such kind of op: %q", text)
}

// Stage is the process that carries an op out.
type Stage uint8

// The stages: one process up to the fork, two after it.
const (
	StageSetup Stage = iota + 1
	StageInit
	StageJob
)

// Stage returns the process that carries out ops of this kind.
func (k Kind) Stage() Stage {
	switch {
	case k <= Fork:
		return StageSetup
	case k <= Release:
		return StageInit
	default:
		return StageJob
	}
}
