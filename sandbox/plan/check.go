package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Bounds of a plan, so that its lowered form always fits.
const (
	maxOps    = 4096
	maxString = 1 << 20
	maxList   = 1 << 21
)

// ErrOrder is what every broken rule of order wraps.
var ErrOrder = errors.New("unsafe order")

// ErrInvalid is what every other fault of a plan wraps.
var ErrInvalid = errors.New("invalid plan")

// rank is the one safe order within a stage: an op may follow only ops of the
// same or a smaller rank. Each step is there for a fault that was seen:
//
//   - descriptors are closed before anything can be reached through them;
//   - the control group is joined before the ids change, since a service
//     manager moves only processes of its own user, and before anything is
//     allocated, so that all of it is charged;
//   - the cgroup namespace comes after the ids, which its owner needs, and
//     after the move, since it keeps for ever the root that it was made with:
//     where the job has a leaf of its own, JobCgroup makes it there, and what
//     is mounted for the job to divide shows nothing above that root;
//   - sources are opened while the caller's ids apply, for afterwards the
//     caller's private directories cannot be read, and before anything is
//     mounted over their paths;
//   - the new root is there before things are put into it;
//   - the pivot follows every mount, and nothing is opened after it;
//   - the job's rlimits are set while it may still raise them, groups and ids
//     while it has capabilities, capabilities before no_new_privs takes the way
//     back, and the filter last, since it forbids most of the above.
var rank = [kindEnd]int{
	CloseDescriptors: 1, Cgroup: 2, MapIDs: 3, CgroupNamespace: 4, PrivateMounts: 5, Open: 6, SetIDs: 7,
	Scratch: 8, Upper: 9, Mkdir: 9, Symlink: 9, File: 9, Root: 10,
	Mountpoint: 11, Copy: 11, Bind: 11, Overlay: 11, Tmpfs: 11, Proc: 11, Devpts: 11,
	Mask: 11, Protect: 11, Sysctl: 11, Hostname: 11, Loopback: 11, Affinity: 11, OOMScore: 11,
	Pivot: 12, ReadOnlyRoot: 13, Fork: 14,
	InitIDs: 1, InitDrop: 2, Ready: 3, Release: 4,
	JobCgroup: 1, CgroupMount: 2, Session: 3, Rlimit: 4, JobIDs: 5, Capabilities: 6, Chdir: 7, NoNewPrivs: 8, Landlock: 9,
	AwaitInit: 10, Seccomp: 11, Exec: 12,
}

// required are the ops without which no plan is safe, each exactly once.
var required = []Kind{
	CloseDescriptors, MapIDs, PrivateMounts, Scratch, Root, Pivot, Fork,
	InitIDs, InitDrop, Ready, Release,
	Session, JobIDs, Capabilities, Chdir, NoNewPrivs, AwaitInit, Exec,
}

// single are the further ops that may come at most once.
var single = []Kind{
	Cgroup, JobCgroup, CgroupMount, CgroupNamespace, SetIDs, Upper, Proc, Devpts, Hostname, Loopback, Affinity, OOMScore,
	ReadOnlyRoot, Landlock, Seccomp,
}

// Check tells whether the plan is safe to carry out. Its errors wrap ErrOrder
// or ErrInvalid and name the op by its number, from 1, as String prints it.
func Check(p *Plan) error {
	if p.Version != Version {
		return fmt.Errorf("%w: version %d, this is version %d", ErrInvalid, p.Version, Version)
	}
	if len(p.Ops) > maxOps {
		return fmt.Errorf("%w: %d ops, the most is %d", ErrInvalid, len(p.Ops), maxOps)
	}
	for _, ns := range []Namespace{User, Mount, PID, IPC, UTS} {
		if !p.HasNamespace(ns) {
			return fmt.Errorf("%w: no %s namespace", ErrInvalid, ns)
		}
	}
	if err := p.checkWords(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := p.IDs.check(); err != nil {
		return err
	}
	var count [kindEnd]int
	handles := map[int]handleState{}
	sealed := false // the root has no upper
	for i := range p.Ops {
		op := &p.Ops[i]
		if op.Kind == 0 || op.Kind >= kindEnd {
			return fmt.Errorf("%w: op %d: %s", ErrInvalid, i+1, op.Kind)
		}
		count[op.Kind]++
		if i > 0 {
			if err := follows(p.Ops[i-1].Kind, op.Kind); err != nil {
				return fmt.Errorf("%w: op %d: %w", ErrOrder, i+1, err)
			}
		}
		err := op.check(handles)
		if err == nil {
			err = p.checkView(op)
		}
		if err != nil {
			return fmt.Errorf("%w: op %d (%s): %w", ErrInvalid, i+1, op.Kind, err)
		}
		if op.Kind == Root && op.Flags.Has(ReadOnly) {
			sealed = true
		} else if sealed && (op.Kind == Mountpoint || op.Kind == Copy) {
			return fmt.Errorf("%w: op %d: %s in a root without an upper", ErrInvalid, i+1, op.Kind)
		}
		if (op.Kind == Sysctl || op.Kind == OOMScore) && count[Proc] == 0 {
			return fmt.Errorf("%w: op %d: proc must come before %s", ErrOrder, i+1, op.Kind)
		}
	}
	if p.Stdio == Terminal && count[Devpts] == 0 {
		return fmt.Errorf("%w: a terminal without a devpts", ErrInvalid)
	}
	for _, k := range required {
		if count[k] != 1 {
			return fmt.Errorf("%w: %d ops %s, there must be one", ErrInvalid, count[k], k)
		}
	}
	for _, k := range single {
		if count[k] > 1 {
			return fmt.Errorf("%w: %d ops %s, there may be one", ErrInvalid, count[k], k)
		}
	}
	if count[Cgroup] != count[JobCgroup] || count[Cgroup] > 0 && count[CgroupNamespace] > 0 {
		return fmt.Errorf("%w: a control group is joined by init and by the job, whose cgroup namespace is made there", ErrInvalid)
	}
	if err := p.checkDelegation(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// follows tells why an op of kind b may not come right after one of kind a.
func follows(a, b Kind) error {
	switch {
	case b.Stage() < a.Stage():
		return fmt.Errorf("%s belongs before %s", b, a)
	case b.Stage() == a.Stage() && rank[b] < rank[a]:
		return fmt.Errorf("%s must come before %s", b, a)
	case b.Stage() > a.Stage() && a.Stage() == StageSetup && a != Fork:
		return fmt.Errorf("%s before the fork", b)
	}
	return nil
}

// handleState is what has become of a handle. Each is used once: the mount
// takes the descriptor, and its number may by then stand for another.
type handleState uint8

const (
	handleOpen handleState = iota + 1
	handleMapped
	handleUsed
)

// use takes a handle for an op that mounts it. One that is mapped is for overlays
// alone: through any other mount of it a job would own files of the host.
func use(handles map[int]handleState, h int, by Kind) error {
	switch state := handles[h]; {
	case state == handleOpen || state == handleMapped && by == Overlay:
		handles[h] = handleUsed
		return nil
	case state == handleMapped:
		return fmt.Errorf("handle %d has other owners, and is for an overlay only", h)
	case state == handleUsed:
		return fmt.Errorf("handle %d was used before", h)
	default:
		return fmt.Errorf("handle %d was never opened", h)
	}
}

// checkWords looks at the words of which the plan has a fixed set, and at the
// text that is printed as it stands.
func (p *Plan) checkWords() error {
	for i, ns := range p.Namespaces {
		if slices.Contains(p.Namespaces[:i], ns) || !slices.Contains([]Namespace{User, Mount, PID, Net, IPC, UTS}, ns) {
			return fmt.Errorf("namespace %q is unknown or there twice", ns)
		}
	}
	if !slices.Contains([]string{"isolated", "keep-id", "single"}, p.IDs.Map) {
		return fmt.Errorf("id map %q", p.IDs.Map)
	}
	if !slices.Contains([]MapWriter{ByInit, ByHelper, ByParent}, p.IDs.By) {
		return fmt.Errorf("id map written by %q", p.IDs.By)
	}
	if p.Stdio != Pipes && p.Stdio != Terminal {
		return fmt.Errorf("stdio %q", p.Stdio)
	}
	if len(p.Limits) > maxList || len(p.Notes) > maxList {
		return errors.New("too many limits or notes")
	}
	for _, l := range p.Limits {
		if l.Name == "" || l.Value == "" || l.Mechanism == "" {
			return fmt.Errorf("limit %q = %q by %q", l.Name, l.Value, l.Mechanism)
		}
	}
	return nil
}

// numbers looks at the fields that the kernel takes as numbers.
func (op *Op) numbers() error {
	switch {
	case op.Flags >= flagsEnd:
		return fmt.Errorf("unknown flags %#x", uint32(op.Flags))
	case op.Mode > 0o7777:
		return fmt.Errorf("mode %#o is more than permission bits", op.Mode)
	case op.Size < -1 || op.Inodes < -1:
		return fmt.Errorf("size %d or count %d below -1, which is unlimited", op.Size, op.Inodes)
	}
	return nil
}

// check looks at one op by itself, and at the handles opened so far.
func (op *Op) check(handles map[int]handleState) error {
	if err := op.numbers(); err != nil {
		return err
	}
	for _, s := range append([]string{op.Source, op.Target, op.Data}, append(op.Names, op.Write...)...) {
		if len(s) > maxString || (op.Kind != File && strings.ContainsRune(s, 0)) {
			return fmt.Errorf("a string of %d bytes is too long or holds a NUL", len(s))
		}
	}
	if len(op.Groups) > maxList || len(op.Names) > maxList || len(op.Write) > maxList {
		return errors.New("a list is too long")
	}
	switch op.Kind {
	case Open:
		if op.Handle < 1 || handles[op.Handle] != 0 {
			return fmt.Errorf("handle %d is taken or not positive", op.Handle)
		}
		if handles[op.Handle] = handleOpen; op.Flags.Has(Mapped) {
			handles[op.Handle] = handleMapped
		}
		return absolute("source", op.Source)
	case Copy:
		if err := absolute("source", op.Source); err != nil {
			return err
		}
		return absolute("target", op.Target)
	case Bind, Overlay:
		if err := use(handles, op.Handle, op.Kind); err != nil {
			return err
		}
		return absolute("target", op.Target)
	case Upper:
		return use(handles, op.Handle, op.Kind)
	case Root:
		return op.checkRoot(handles)
	case File:
		if op.Source != "" && op.Data != "" {
			return errors.New("a source and data")
		}
		if op.Source != "" {
			if err := absolute("source", op.Source); err != nil {
				return err
			}
		}
		return absolute("target", op.Target)
	case Mkdir, Symlink, Mountpoint, Tmpfs, Proc, Devpts, Mask, Protect, Chdir, CgroupMount:
		return absolute("target", op.Target)
	case Cgroup:
		return op.checkCgroup()
	case JobCgroup:
		if op.Data != "" && op.Data != CgroupRoot {
			return fmt.Errorf("data %q is no namespace", op.Data)
		}
	case Landlock:
		if op.Data != "" && op.Data != ScopeAbstract {
			return fmt.Errorf("data %q is no scope", op.Data)
		}
		for _, p := range append(append([]string(nil), op.Names...), op.Write...) {
			if err := absolute("path", p); err != nil {
				return err
			}
		}
	case Sysctl:
		if op.Target == "" || path.IsAbs(op.Target) || path.Clean(op.Target) != op.Target || strings.HasPrefix(op.Target, "..") {
			return fmt.Errorf("target %q is not a clean path below /proc", op.Target)
		}
	case Exec:
		if len(op.Names) == 0 || len(op.Write) == 0 {
			return errors.New("no command")
		}
	default:
	}
	return nil
}

// checkRoot looks at the layers of the root.
func (op *Op) checkRoot(handles map[int]handleState) error {
	switch {
	case !op.Flags.Has(InSource) && (len(op.Layers) > 0 || op.Flags.Has(ReadOnly)):
		return errors.New("layers, or a lack of an upper, without an overlay")
	case len(op.Layers) >= MaxLayers:
		return fmt.Errorf("%d layers, the most is %d", len(op.Layers)+1, MaxLayers)
	case !op.Flags.Has(InSource):
		return nil
	}
	for _, h := range append([]int{op.Handle}, op.Layers...) {
		if err := use(handles, h, op.Kind); err != nil {
			return err
		}
	}
	return nil
}

// checkCgroup looks at the group's driver and place. What a setting may be is
// the business of the package that writes it.
func (op *Op) checkCgroup() error {
	switch {
	case op.Data == "cgroupfs":
		return absolute("source", op.Source)
	case op.Data != "systemd":
		return fmt.Errorf("no driver %q", op.Data)
	case op.Source != Slice:
		return fmt.Errorf("source %q is not %s", op.Source, Slice)
	}
	return nil
}

func absolute(what, p string) error {
	if !path.IsAbs(p) || path.Clean(p) != p {
		return fmt.Errorf("%s %q is not an absolute, clean path", what, p)
	}
	return nil
}

// check tells whether the mappings keep host root, and ids twice, out.
func (m *IDs) check() error {
	if m.CloneUID == 0 {
		return fmt.Errorf("%w: the sandbox's first process is never host root", ErrInvalid)
	}
	for _, list := range [][]Mapping{m.UID, m.GID} {
		if len(list) == 0 || len(list) > 340 {
			return fmt.Errorf("%w: %d id mappings, the kernel takes 1 to 340", ErrInvalid, len(list))
		}
		for i, a := range list {
			if a.Count == 0 || uint64(a.Inside)+uint64(a.Count) > 1<<32-1 || uint64(a.Outside)+uint64(a.Count) > 1<<32-1 {
				return fmt.Errorf("%w: mapping of %d ids from %d to %d overflows", ErrInvalid, a.Count, a.Inside, a.Outside)
			}
			if a.Outside == 0 {
				return fmt.Errorf("%w: host root is never mapped", ErrInvalid)
			}
			for _, b := range list[:i] {
				if overlap(a.Inside, b.Inside, a.Count, b.Count) || overlap(a.Outside, b.Outside, a.Count, b.Count) {
					return fmt.Errorf("%w: mappings overlap at %d and %d", ErrInvalid, a.Inside, b.Inside)
				}
			}
		}
	}
	return nil
}

func overlap(a, b, na, nb uint32) bool {
	return uint64(a) < uint64(b)+uint64(nb) && uint64(b) < uint64(a)+uint64(na)
}
