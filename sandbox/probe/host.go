// Package probe finds out what this host can do. Cheap facts are read each
// time; facts that cannot be read are found by trying, with the same init that
// runs sandboxes.
//
// A Host is data: package sandbox resolves plans against it without touching
// the system, and tests use recorded ones.
package probe

import (
	"github.com/brig-sandbox/brig/userns"
)

// Host is what is known of a host, and of the caller on it.
type Host struct {
	Kernel Kernel `json:"kernel"`
	Arch   string `json:"arch"` // as GOARCH
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	User   string `json:"user"`
	// Groups are the caller's supplementary groups.
	Groups  []int  `json:"groups,omitempty"`
	HomeDir string `json:"home,omitempty"`
	// CPUs are those the caller may use, Online how many the host has.
	CPUs   []int `json:"cpus"`
	Online int   `json:"online"`
	// Nodes are the host's memory nodes, only looked up where a spec needs them.
	Nodes []int `json:"nodes,omitempty"`
	// Rotation spreads jobs over CPUs where each is bound to some; any number
	// from 0.
	Rotation int `json:"rotation"`
	// MemoryTotal is the host's memory in bytes.
	MemoryTotal int64 `json:"memory_total"`

	// SubIDs are the caller's subordinate ids; SubIDsProblem says why there
	// are none. Only looked up where a spec needs them.
	SubIDs        userns.SubIDs `json:"sub_ids"`
	SubIDsProblem string        `json:"sub_ids_problem,omitempty"`
	// Tools are newuidmap and newgidmap; ToolsProblem says why they cannot be
	// used. Only looked up where a spec needs them.
	Tools        userns.Tools `json:"tools"`
	ToolsProblem string       `json:"tools_problem,omitempty"`

	// Facts found by trying, or presumed from the kernel's version until a
	// launch shows otherwise.
	UserNS     Fact `json:"user_namespace"`
	NetNS      Fact `json:"network_namespace"`
	CgroupNS   Fact `json:"cgroup_namespace"`
	Proc       Fact `json:"procfs"`
	Overlay    Fact `json:"overlay"`       // overlayfs with userxattr
	TmpfsXattr Fact `json:"tmpfs_xattr"`   // user.* xattrs on tmpfs: an overlay's upper may lie on one
	Seccomp    Fact `json:"seccomp"`       // filters
	Landlock   Fact `json:"landlock"`      // LandlockABI at least 2
	MountAttr  Fact `json:"mount_setattr"` // recursive read-only binds
	Devpts     Fact `json:"devpts"`        // a devpts of its own
	MemfdExec  Fact `json:"memfd_exec"`    // a program may be executed from memory
	// IDMaps: newuidmap and newgidmap really write the caller's subordinate
	// ids; only tried where the caller has some.
	IDMaps Fact `json:"id_maps"`
	// LandlockABI is 0 where there is none.
	LandlockABI int `json:"landlock_abi"`

	// Cached says that some of these facts were found by an earlier Try. Before
	// anything is refused for one of them, Try again.
	Cached bool `json:"cached,omitempty"`

	// Cgroups is how the host divides resources; where nothing but a launch asks
	// it is nil unless groups of version 2 can be made. Scope says whether the
	// manager it names makes scopes for the caller.
	Cgroups *Cgroups `json:"cgroups,omitempty"`
	Scope   Fact     `json:"cgroup_scope,omitzero"`

	// Upper is the directory set aside for what the job changes, where a tmpfs
	// cannot hold it. Until one is made it is the place where it would be; empty
	// where none is needed, or the caller has no place for it.
	Upper string `json:"upper,omitempty"`

	// Files are the paths a spec names, by path: what is there, seen without
	// following a link at its end.
	Files map[string]File `json:"files"`
	// Views are the directories of which root can have no view with other owners,
	// with the cause: what the file system does not take is only found by trying.
	Views map[string]Fact `json:"views,omitempty"`
	// Owners tells who owns the files below a directory, where that was asked.
	Owners map[string][]Owner `json:"owners,omitempty"`
	// Mounts are the host's mount points, only read where a spec needs them.
	Mounts []Mount `json:"mounts,omitempty"`
	// Devices are the block devices behind the paths of I/O limits, by path.
	Devices map[string]Device `json:"devices,omitempty"`
}

// Fact is one thing a host can or cannot do.
type Fact struct {
	OK bool `json:"ok"`
	// Tried says that it was found by trying; else it is presumed.
	Tried bool `json:"tried,omitempty"`
	// Cause and Fix are sentences for the user where it is not OK.
	Cause string `json:"cause,omitempty"`
	Fix   string `json:"fix,omitempty"`
}

// Kernel is the running kernel's version.
type Kernel struct {
	Major   int    `json:"major"`
	Minor   int    `json:"minor"`
	Release string `json:"release"`
}

// AtLeast tells whether the kernel is of that version or newer.
func (k Kernel) AtLeast(major, minor int) bool {
	return k.Major > major || k.Major == major && k.Minor >= minor
}

// File is what is at a path.
type File struct {
	Type FileType `json:"type"`
	// Link is a symbolic link's text.
	Link string `json:"link,omitempty"`
	// Device is st_dev, as unix.Mkdev encodes it.
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
	Mode   uint32 `json:"mode,omitempty"` // permission bits
	UID    uint32 `json:"uid"`
	GID    uint32 `json:"gid"`
	// Rdev is a device node's st_rdev, encoded likewise.
	Rdev uint64 `json:"rdev,omitempty"`
	// Problem says why it could not be looked at ("permission denied").
	Problem string `json:"problem,omitempty"`
}

// FileType is "absent", "file", "dir", "symlink", "other", or "unknown" with a
// Problem.
type FileType string

// The file types.
const (
	Absent  FileType = "absent"
	Regular FileType = "file"
	Dir     FileType = "dir"
	Symlink FileType = "symlink"
	Other   FileType = "other"
	Unknown FileType = "unknown"
)

// Mount is one line of mountinfo.
type Mount struct {
	Point  string `json:"point"`
	FSType string `json:"fstype"`
	// ReadOnly says whether the mount is.
	ReadOnly bool `json:"read_only,omitempty"`
}

// Question says what a Host must hold besides what it always does.
type Question struct {
	Paths  []string // for Files; absolute
	SubIDs bool     // SubIDs, Tools and User
	Online bool     // the number of CPUs that the host has, beside those of the caller
	Mounts bool
	Nodes  bool
	// Owners are the directories whose files' owners are wanted.
	Owners []string
	// Devices are paths of which the block devices are wanted; absolute.
	Devices []string
	// NoCgroups leaves Cgroups out: none is to be made.
	NoCgroups bool
	// WhyNoCgroup asks for what explains it, where no group can be made.
	WhyNoCgroup bool
}
