// Package plan holds what will be done to start a sandbox, as data: a flat
// list of ops that can be printed, compared, checked and lowered to system
// calls. Nothing in it is decided later, and nothing in it touches the host.
//
// Paths under Target are absolute paths inside the sandbox. Paths under Source
// are the caller's.
package plan

import "slices"

// Version is the version of the plan's text form and of its JSON.
const Version = 1

// Plan is all that happens between the clone and the job's exec.
type Plan struct {
	Version    int         `json:"version"`
	Namespaces []Namespace `json:"namespaces"`
	IDs        IDs         `json:"ids"`
	Stdio      Stdio       `json:"stdio"`
	Ops        []Op        `json:"ops"`
	// Limits are those that no op holds: the supervisor's.
	Limits []Limit `json:"limits"`
	// Notes tell what was chosen and given up on this host.
	Notes []string `json:"notes,omitempty"`
}

// Namespace is a kind of namespace, by the name lsns(8) uses.
type Namespace string

// The namespaces that a clone makes.
const (
	User  Namespace = "user"
	Mount Namespace = "mnt"
	PID   Namespace = "pid"
	Net   Namespace = "net"
	IPC   Namespace = "ipc"
	UTS   Namespace = "uts"
)

// IDs says how ids inside map to ids outside.
type IDs struct {
	Map string    `json:"map"` // isolated, keep-id or single
	By  MapWriter `json:"by"`
	// CloneUID and CloneGID are the ids outside that the sandbox's first
	// process is cloned with; they differ from the caller's only for root.
	CloneUID uint32    `json:"clone_uid"`
	CloneGID uint32    `json:"clone_gid"`
	UID      []Mapping `json:"uid"`
	GID      []Mapping `json:"gid"`
}

// Mapping is one extent of a uid_map or gid_map, see user_namespaces(7).
type Mapping struct {
	Inside  uint32 `json:"inside"`
	Outside uint32 `json:"outside"`
	Count   uint32 `json:"count"`
}

// MapWriter says which process writes the maps.
type MapWriter string

// The writers of id maps.
const (
	ByInit   MapWriter = "init"      // one id, no privilege needed
	ByHelper MapWriter = "newuidmap" // newuidmap and newgidmap
	ByParent MapWriter = "parent"    // brig itself, called by root
)

// Stdio says what the job's descriptors 0, 1 and 2 are.
type Stdio string

// The kinds of standard descriptors.
const (
	Pipes    Stdio = "pipes"
	Terminal Stdio = "terminal"
)

// Limit is a limit held by the supervisor: what, how much, and by which means.
type Limit struct {
	Name      string `json:"name"`
	Value     string `json:"value"`
	Mechanism string `json:"mechanism"`
}

// Op is one step. Which fields count depends on the Kind; the others are zero.
type Op struct {
	Kind   Kind   `json:"kind"`
	Source string `json:"source,omitempty"`
	Target string `json:"target,omitempty"`
	Data   string `json:"data,omitempty"`
	// Handle numbers what Open opened, from 1.
	Handle int `json:"handle,omitempty"`
	// Layers are the handles of Root's further lower layers, above Handle and
	// each above the one before it.
	Layers []int `json:"layers,omitempty"`
	// Device and Inode are what Source was when the plan was made (st_dev as
	// unix.Mkdev encodes it); a source that has become something else since is
	// refused. Zero for Inode means that nothing is known.
	Device uint64 `json:"device,omitempty"`
	Inode  uint64 `json:"inode,omitempty"`
	// CharDevice demands that Source is that character device.
	CharDevice uint64 `json:"char_device,omitempty"`
	Flags      Flags  `json:"flags,omitempty"`
	Mode       uint32 `json:"mode,omitempty"`
	Size       int64  `json:"size,omitempty"`   // bytes; for Rlimit the soft limit
	Inodes     int64  `json:"inodes,omitempty"` // for Rlimit the hard limit
	UID        uint32 `json:"uid,omitempty"`
	GID        uint32 `json:"gid,omitempty"`
	// OwnerUID and OwnerGID are, for an Open that is Mapped, the ids on the host
	// whose files belong to UID and GID inside.
	OwnerUID uint32 `json:"owner_uid,omitempty"`
	OwnerGID uint32 `json:"owner_gid,omitempty"`
	// Groups are JobIDs' supplementary groups, Names the capabilities of
	// Capabilities, the argv of Exec, the readable paths of Landlock, the
	// descriptors of Ready.
	Groups []uint32 `json:"groups,omitempty"`
	Names  []string `json:"names,omitempty"`
	// Write are the writable paths of Landlock and the candidate paths of Exec;
	// Names and Write are the settings of Cgroup, for the group and for the
	// job's leaf.
	Write []string `json:"write,omitempty"`
}

// ScopeAbstract is a Landlock op's Data where abstract Unix sockets of others
// are out of reach, see landlock(7) on LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET.
const ScopeAbstract = "scope abstract-unix-sockets"

// CgroupRoot is a JobCgroup op's Data where the job gets a cgroup namespace.
const CgroupRoot = "namespace"

// Slice is a Cgroup op's Source with the driver systemd: the slice in which all
// of brig's scopes lie.
const Slice = "brig.slice"

// Flags modify an op.
type Flags uint32

// The flags.
const (
	ReadOnly    Flags = 1 << iota // mount attribute; Root: the overlay has no upper
	NoSuid                        // mount attribute
	NoDev                         // mount attribute
	NoExec                        // mount attribute
	Optional                      // what does not exist is left out
	Directory                     // the source, or the target, is a directory
	KeepSetgrps                   // MapIDs: setgroups stays allowed
	InSource                      // Root: the overlay's lower is Handle
	InScratch                     // Root: a directory of the scratch, so that uppers stay unseen
	NoFollow                      // Target may not pass through a symbolic link
	InPlace                       // Open: not a copy of the mount, for a lower layer
	JobOwned                      // Mkdir: the directory is the job's
	Delegated                     // Cgroup: the job may divide a group below its leaf
	Kept                          // Upper: the uppers may be those of an earlier sandbox
	Mapped                        // Open: a view of the mount with other owners (see IDs.View), for a lower layer

	flagsEnd = 1 << iota
)

// MaxLayers is how many layers a root may have. The kernel stacks 500 lower
// layers (OVL_MAX_STACK in fs/overlayfs), and the uppermost is the one that
// Mkdir, Symlink and File make.
const MaxLayers = 499

// Has tells whether all of f are set.
func (fl Flags) Has(f Flags) bool { return fl&f == f }

// HasNamespace tells whether the plan makes a namespace of kind ns.
func (p *Plan) HasNamespace(ns Namespace) bool { return slices.Contains(p.Namespaces, ns) }

// Find returns the first op of the kind, or nil.
func (p *Plan) Find(k Kind) *Op {
	for i := range p.Ops {
		if p.Ops[i].Kind == k {
			return &p.Ops[i]
		}
	}
	return nil
}
