package launch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// View is a directory of the host with other owners than it has there: a detached
// idmapped mount, in no mount namespace until the sandbox's init attaches it in its
// own, and gone with its last descriptor. It is read-only whatever its owners are.
// Only host root can make one, so that brig does, not init.
type View struct{ fd int }

// ViewError says that the kernel, or the directory's file system, has no view of
// the directory to give. Where the directory itself is not what it was, that is
// found by the op.
type ViewError struct {
	Op  plan.Op
	Err error
}

func (e *ViewError) Error() string {
	return fmt.Sprintf("an idmapped mount of %s: %v", e.Op.Source, e.Err)
}

// Unwrap returns the error number.
func (e *ViewError) Unwrap() error { return e.Err }

// Close closes the view.
func (v *View) Close() { unix.Close(v.fd) }

// OpenViews makes the views that a plan asks for, in its order. write writes the id
// maps of a process. An error is a *ViewError where a plan without that view may do.
func OpenViews(p *plan.Plan, write func(pid int, uid, gid []plan.Mapping) error) (views []*View, err error) {
	var made []*idMap
	defer func() {
		for _, m := range made {
			unix.Close(m.fd)
		}
		if err != nil {
			CloseViews(views)
			views = nil
		}
	}()
	for i := range p.Ops {
		op := &p.Ops[i]
		if !op.Flags.Has(plan.Mapped) {
			continue
		}
		uid, gid := p.IDs.View(op)
		at := slices.IndexFunc(made, func(m *idMap) bool { return slices.Equal(m.uid, uid) && slices.Equal(m.gid, gid) })
		if at < 0 {
			m := &idMap{uid: uid, gid: gid}
			if m.fd, err = m.namespace(p.IDs.CloneUID, p.IDs.CloneGID, write); err != nil {
				return views, viewError(op, err)
			}
			at, made = len(made), append(made, m)
		}
		v, err := openView(op.Source, made[at].fd)
		if err != nil {
			return views, viewError(op, err)
		}
		views = append(views, v)
	}
	return views, nil
}

// CloseViews closes what OpenViews made.
func CloseViews(views []*View) {
	for _, v := range views {
		v.Close()
	}
}

// viewError tells what a plan without a view may mend.
func viewError(op *plan.Op, err error) error {
	for _, errno := range [...]unix.Errno{unix.EINVAL, unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EOPNOTSUPP} {
		if errors.Is(err, errno) && !errors.Is(err, ErrClone) {
			return &ViewError{*op, errno}
		}
	}
	return fmt.Errorf("an idmapped mount of %s: %w", op.Source, err)
}

// openView copies the mount at a directory, without what is mounted below it, and
// changes its owners. It may be another directory by now, or lead to one: the op
// compares what is here with what the plan saw, before anything is done with it.
func openView(source string, namespace int) (*View, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW) //nolint:forbidigo // in no namespace, least of all the caller's
	if err != nil {
		return nil, err
	}
	// In one call, since the mount must not be in a peer group for a moment longer
	// than it has to: what is mounted below the directory would be here as well.
	attr := unix.MountAttr{
		Attr_set:    unix.MOUNT_ATTR_IDMAP | unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV,
		Propagation: unix.MS_PRIVATE, Userns_fd: uint64(namespace),
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil { //nolint:forbidigo // the detached mount's
		unix.Close(fd)
		return nil, err
	}
	return &View{fd}, nil
}

// idMap is what the owners of files become, which the kernel takes as a user
// namespace.
type idMap struct {
	uid, gid []plan.Mapping
	fd       int
}

// namespace makes a user namespace with the maps. The process that it needs for a
// moment is init, which waits for a program and ends when there will be none, in
// whatever way brig ended.
func (m *idMap) namespace(cloneUID, cloneGID uint32, write func(pid int, uid, gid []plan.Mapping) error) (int, error) {
	c := Clone([]plan.Namespace{plan.User}, cloneUID, cloneGID)
	if err := c.wait(); err != nil {
		return -1, err
	}
	s := Sandbox{Child: c}
	fd, err := -1, write(c.pid, m.uid, m.gid)
	if err == nil {
		fd, err = unix.Open("/proc/"+strconv.Itoa(c.pid)+"/ns/user", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if _, cerr := s.Close(); err == nil && cerr != nil {
		unix.Close(fd)
		err = cerr
	}
	if err != nil {
		return -1, err
	}
	return fd, nil
}

// errNoView says that Config.Views is shorter than the plan's list of views.
var errNoView = fmt.Errorf("launch: a view of other owners that nobody has made: %w", os.ErrInvalid)

// view is the descriptor of the view that brig sends for an op.
func (l *lowering) view() (cell, error) {
	if l.views >= len(l.cfg.Views) {
		return 0, errNoView
	}
	h := l.cell()
	l.put32(uint64(h), uint32(l.viewFD()+l.views))
	l.views++
	return h, nil
}

// viewFD is the descriptor of the first view.
func (l *lowering) viewFD() int { return firstFreeFD + 3 + len(l.cfg.Packs) }

// isView tells whether what is behind a handle is a view.
func (l *lowering) isView(handle int) bool {
	return slices.ContainsFunc(l.plan.Ops, func(op plan.Op) bool { return op.Handle == handle && op.Flags.Has(plan.Mapped) })
}

// attachView mounts the view behind a handle where nobody but init can name it:
// overlayfs takes no layer that is in no mount namespace. detachView takes it away
// again when overlayfs has made its own copy, so that nobody ever can.
func (l *lowering) attachView(handle int) (at string) {
	h, name := l.handles[handle], "view"+strconv.Itoa(handle)
	at = attachPoint + "/" + name
	l.call(unix.SYS_MKDIRAT, l.scratch.val(), l.str(name), n(0o700))
	l.call(unix.SYS_MOVE_MOUNT, h.val(), l.str(""), fd(unix.AT_FDCWD), l.str(at), n(unix.MOVE_MOUNT_F_EMPTY_PATH))
	return at
}

func (l *lowering) detachView(at string) {
	l.call(unix.SYS_UMOUNT2, l.str(at), n(unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW))
	l.call(unix.SYS_UNLINKAT, fd(unix.AT_FDCWD), l.str(at), n(unix.AT_REMOVEDIR))
}
