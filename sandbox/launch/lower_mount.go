package launch

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// open opens a source while the caller's ids apply: as a detached copy of its
// mount, made read-only and harmless at once with everything below it, or, for
// a lower layer, in place. What it has become since the plan was made is
// compared: a source that was exchanged in between is refused.
func (l *lowering) open(op *plan.Op) error {
	var absent []unix.Errno
	if op.Flags.Has(plan.Optional) {
		absent = []unix.Errno{unix.ENOENT}
	}
	var h cell
	switch {
	case op.Flags.Has(plan.Mapped):
		var err error
		if h, err = l.view(); err != nil {
			return err
		}
	case op.Flags.Has(plan.InPlace):
		h = l.getOK(absent, unix.SYS_OPENAT, fd(unix.AT_FDCWD), l.str(op.Source),
			n(unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC), n(0))
	default:
		if a, ok := l.sourceAhead(op.Source); ok {
			h = a.cell()
			l.unlessAhead(a, func(out cell) { l.copyMount(out, op.Source, absent) })
			break
		}
		h = l.copyMount(l.cell(), op.Source, absent)
	}
	h = l.numberLayer(op.Handle, h)
	l.handles[op.Handle] = h
	if op.Inode != 0 || op.CharDevice != 0 {
		st := l.alloc(256)
		l.call(unix.SYS_STATX, h.val(), l.str(""), n(unix.AT_EMPTY_PATH), n(unix.STATX_BASIC_STATS), n(st))
		if op.Inode != 0 {
			l.compare(st+0x20, 8, ^uint64(0), op.Inode, unix.ESTALE)
			l.compare(st+0x88, 4, 1<<32-1, uint64(unix.Major(op.Device)), unix.ESTALE)
			l.compare(st+0x8c, 4, 1<<32-1, uint64(unix.Minor(op.Device)), unix.ESTALE)
		}
		if op.CharDevice != 0 {
			l.compare(st+0x1c, 2, unix.S_IFMT, unix.S_IFCHR, unix.ENODEV)
			l.compare(st+0x80, 4, 1<<32-1, op.CharDevice>>8, unix.ENODEV)
			l.compare(st+0x84, 4, 1<<32-1, op.CharDevice&0xff, unix.ENODEV)
		}
	}
	if !op.Flags.Has(plan.InPlace) { // a view has its attributes
		l.setattrOK(gone(op), h.val(), l.str(""), unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, mountAttrs(op.Flags))
	}
	return nil
}

// copyMount opens a detached copy of a mount. One that is not recursive would be
// refused: the mounts below are locked to each other in a new user namespace.
func (p *program) copyMount(out cell, source string, ok []unix.Errno) cell {
	return p.getInto(out, ok, unix.SYS_OPEN_TREE, fd(unix.AT_FDCWD), p.str(source),
		n(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW))
}

// privateMounts keeps what is mounted from now on from the caller's namespace.
func (p *program) privateMounts(out cell) {
	p.getInto(out, nil, unix.SYS_MOUNT, n(0), p.str("/"), n(0), n(unix.MS_REC|unix.MS_PRIVATE), n(0))
}

// gone are the errnos of calls on an optional source that was not there.
func gone(op *plan.Op) []unix.Errno {
	if op.Flags.Has(plan.Optional) {
		return []unix.Errno{unix.EBADF, unix.ENOENT}
	}
	return nil
}

func mountAttrs(f plan.Flags) uint64 {
	var a uint64
	for _, m := range [...]struct {
		flag plan.Flags
		attr uint64
	}{
		{plan.ReadOnly, unix.MOUNT_ATTR_RDONLY},
		{plan.NoSuid, unix.MOUNT_ATTR_NOSUID},
		{plan.NoDev, unix.MOUNT_ATTR_NODEV},
		{plan.NoExec, unix.MOUNT_ATTR_NOEXEC},
	} {
		if f.Has(m.flag) {
			a |= m.attr
		}
	}
	return a
}

func (l *lowering) setattr(dir, path arg, flags, set uint64) { l.setattrOK(nil, dir, path, flags, set) }

func (l *lowering) setattrOK(ok []unix.Errno, dir, path arg, flags, set uint64) {
	if set == 0 {
		return
	}
	at := l.words(set, 0, 0, 0)
	l.callOK(ok, unix.SYS_MOUNT_SETATTR, dir, path, n(flags), n(at), n(32))
}

// newMount makes a detached mount of a fresh file system.
func (p *program) newMount(fstype string, attrs uint64, options ...string) cell {
	return p.newMountInto(p.cell(), fstype, attrs, options...)
}

func (p *program) newMountInto(out cell, fstype string, attrs uint64, options ...string) cell {
	f := p.get(unix.SYS_FSOPEN, p.str(fstype), n(unix.FSOPEN_CLOEXEC))
	for i := 0; i+1 < len(options); i += 2 {
		if options[i+1] == "" {
			p.call(unix.SYS_FSCONFIG, f.val(), n(unix.FSCONFIG_SET_FLAG), p.str(options[i]), n(0), n(0))
			continue
		}
		p.call(unix.SYS_FSCONFIG, f.val(), n(unix.FSCONFIG_SET_STRING), p.str(options[i]), p.str(options[i+1]), n(0))
	}
	p.call(unix.SYS_FSCONFIG, f.val(), n(unix.FSCONFIG_CMD_CREATE), n(0), n(0), n(0))
	p.getInto(out, nil, unix.SYS_FSMOUNT, f.val(), n(unix.FSMOUNT_CLOEXEC), n(attrs))
	p.call(unix.SYS_CLOSE, f.val())
	return out
}

func (l *lowering) tmpfs(op *plan.Op) cell {
	opts := []string{"mode", strconv.FormatUint(uint64(op.Mode), 8)}
	if op.Size >= 0 {
		opts = append(opts, "size", strconv.FormatInt(op.Size, 10))
	}
	if op.Inodes >= 0 {
		opts = append(opts, "nr_inodes", strconv.FormatInt(op.Inodes, 10))
	}
	return l.newMount("tmpfs", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|mountAttrs(op.Flags), opts...)
}

// scratchMount mounts the scratch where paths can name it: overlay takes its
// upper directories by path.
func (l *lowering) scratchMount(op *plan.Op) {
	root := l.plan.Find(plan.Root)
	if len(root.Layers) > 0 {
		// Opened while /proc is still the host's.
		l.layerDir = l.get(unix.SYS_OPENAT, fd(unix.AT_FDCWD), l.str("/proc/self/fd"), n(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), n(0))
	}
	if l.begun != nil {
		l.scratch, l.tree = l.begun.scratch, l.begun.tree
	} else {
		l.makeScratch(op, below(l.plan))
	}
	l.treePath = attachPoint
	if l.tree != l.scratch {
		l.treePath += rootInScratch
	}
	l.call(unix.SYS_MOVE_MOUNT, l.scratch.val(), l.str(""), fd(unix.AT_FDCWD), l.str(attachPoint), n(unix.MOVE_MOUNT_F_EMPTY_PATH))
	l.uppers, l.upperDir = l.scratch, attachPoint
}

// upper puts the uppers of overlays into a directory of the host, for kernels
// on which a tmpfs cannot hold them. Mounted below the scratch it has a path
// that only this mount namespace knows.
func (l *lowering) upper(op *plan.Op) {
	l.uppers, l.upperDir = l.handles[op.Handle], attachPoint+"/disk"
	l.call(unix.SYS_MKDIRAT, l.scratch.val(), l.str("disk"), n(0o700))
	l.call(unix.SYS_MOVE_MOUNT, l.uppers.val(), l.str(""), fd(unix.AT_FDCWD), l.str(l.upperDir), n(unix.MOVE_MOUNT_F_EMPTY_PATH))
}

// enterRoot makes the new root's mount and enters it, so that from here on "."
// is the root. For an overlay the tree made so far becomes the layer right
// above the lower one: a hostile lower layer cannot make its mount points
// into links.
func (l *lowering) enterRoot(op *plan.Op) {
	l.root = l.scratch
	switch {
	case len(op.Layers) > 0:
		l.root = l.layeredRoot(op)
		l.call(unix.SYS_FCHDIR, l.root.val())
		return
	case op.Flags.Has(plan.InSource):
		l.root = l.overlay(op.Handle, l.treePath+":.", false, op.Flags.Has(plan.ReadOnly))
	case op.Flags.Has(plan.InScratch):
		l.root = l.get(unix.SYS_OPEN_TREE, l.tree.val(), l.str(""), n(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH))
	}
	if l.root != l.scratch {
		l.call(unix.SYS_MOVE_MOUNT, l.root.val(), l.str(""), fd(unix.AT_FDCWD), l.str(attachPoint+"/root"), n(unix.MOVE_MOUNT_F_EMPTY_PATH))
	}
	l.call(unix.SYS_FCHDIR, l.root.val())
}

// openHow is struct open_how of openat2(2).
func (l *lowering) openHow(flags, mode, resolve uint64) arg { return n(l.words(flags, mode, resolve)) }

// inRoot opens a path inside the new root: no component leads out of it, none
// is a magic link, and with nofollow none is a link at all.
func (l *lowering) inRoot(path string, flags uint64, nofollow bool, ok []unix.Errno) cell {
	resolve := uint64(unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS)
	if nofollow {
		resolve |= unix.RESOLVE_NO_SYMLINKS
	}
	return l.getOK(ok, unix.SYS_OPENAT2, l.root.val(), l.str(path), l.openHow(flags|unix.O_CLOEXEC, 0, resolve), n(24))
}

// attach mounts a detached mount on the op's target.
func (l *lowering) attach(m cell, op *plan.Op) {
	ok := gone(op)
	if l.ownTarget(op.Target) {
		l.callOK(ok, unix.SYS_MOVE_MOUNT, m.val(), l.str(""), l.root.val(), l.rel(op.Target), n(unix.MOVE_MOUNT_F_EMPTY_PATH))
	} else {
		t := l.inRoot(op.Target, unix.O_PATH, op.Flags.Has(plan.NoFollow), nil)
		l.callOK(ok, unix.SYS_MOVE_MOUNT, m.val(), l.str(""), t.val(), l.str(""), n(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
		l.call(unix.SYS_CLOSE, t.val())
	}
	if op.Kind != plan.Proc && op.Kind != plan.Tmpfs { // these are sent to the parent
		l.callOK(ok, unix.SYS_CLOSE, m.val())
	}
}

// ownTarget tells whether a path leads through nothing but directories that
// init itself has made in a scratch that nobody else has seen: then its name can
// be used as it is.
func (l *lowering) ownTarget(path string) bool {
	if l.root != l.scratch {
		return false
	}
	made := false
	for i := range l.program.plan {
		op := &l.plan.Ops[i]
		switch op.Kind {
		case plan.Mkdir, plan.File:
			made = made || op.Target == path
		case plan.Symlink, plan.Bind, plan.Overlay, plan.Tmpfs, plan.Proc, plan.Devpts, plan.CgroupMount, plan.Mountpoint, plan.Copy:
			if op.Target == path || strings.HasPrefix(path, op.Target) && path[len(op.Target)] == '/' {
				return false
			}
		default:
		}
	}
	return made
}

// mountpoint makes what is missing of a path, one component at a time, each
// below a descriptor of its parent, so that nothing is ever made outside.
func (l *lowering) mountpoint(op *plan.Op) {
	path := op.Target
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		parent, name := path[:lastSlash(path[:i])], path[lastSlash(path[:i])+1:i]
		if parent == "" {
			parent = "/"
		}
		d := l.inRoot(parent, unix.O_PATH|unix.O_DIRECTORY, false, nil)
		if i == len(path) && !op.Flags.Has(plan.Directory) {
			// Through the parent's descriptor and not followed: an existing
			// link is left for the mount to resolve.
			f := l.getOK([]unix.Errno{unix.EEXIST, unix.ELOOP}, unix.SYS_OPENAT, d.val(), l.str(name),
				n(unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC), n(0o644))
			l.callOK([]unix.Errno{unix.EBADF}, unix.SYS_CLOSE, f.val())
		} else {
			// A read-only file system says EROFS even for what exists; the
			// mount tells whether it does.
			l.callOK([]unix.Errno{unix.EEXIST, unix.EROFS}, unix.SYS_MKDIRAT, d.val(), l.str(name), n(0o755))
		}
		l.call(unix.SYS_CLOSE, d.val())
	}
}

func lastSlash(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '/' {
			return i
		}
	}
	return -1
}

func (l *lowering) procMount(op *plan.Op) {
	l.proc, l.shm = aheadProc.cell(), aheadShm.cell()
	l.unlessAhead(aheadProc, func(out cell) { l.newMountInto(out, "proc", procAttrs) })
	// Opened inside the IPC namespace, it goes on showing that one's segments.
	l.unlessAhead(aheadShm, func(out cell) {
		l.getInto(out, []unix.Errno{unix.ENOENT}, unix.SYS_OPENAT, l.proc.val(), l.str(shmFile), n(unix.O_RDONLY|unix.O_CLOEXEC), n(0))
	})
	l.attach(l.proc, op)
}

func (l *lowering) devpts(op *plan.Op) {
	m := aheadDevpts.cell()
	l.unlessAhead(aheadDevpts, func(out cell) { l.newMountInto(out, "devpts", devptsAttrs, devptsOptions...) })
	if l.plan.Stdio == plan.Terminal {
		l.master = l.get(unix.SYS_OPENAT, m.val(), l.str("ptmx"), n(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC), n(0))
		l.call(unix.SYS_IOCTL, l.master.val(), n(unix.TIOCSPTLCK), n(l.words(0)))
		l.slave = l.get(unix.SYS_IOCTL, l.master.val(), n(unix.TIOCGPTPEER), n(unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC))
		job := l.plan.Find(plan.JobIDs)
		l.call(unix.SYS_FCHOWN, l.slave.val(), n(uint64(job.UID)), n(uint64(job.GID)))
	}
	l.attach(m, op)
}

// mask hides a file or directory of the sandbox's own procfs. What this kernel
// does not have is left out.
func (l *lowering) mask(op *plan.Op) {
	t := l.inRoot(op.Target, unix.O_PATH, true, []unix.Errno{unix.ENOENT, unix.EACCES})
	ok := []unix.Errno{unix.EBADF}
	var m cell
	if op.Flags.Has(plan.Directory) {
		if m = aheadMask.cell(); l.masks > 0 {
			m = l.newMount("tmpfs", maskAttrs, maskOptions...)
		} else {
			l.unlessAhead(aheadMask, func(out cell) { l.newMountInto(out, "tmpfs", maskAttrs, maskOptions...) })
		}
		l.masks++
	} else {
		// The sandbox's own null device: its source was checked to be one.
		if l.null == 0 {
			l.null = l.inRoot("/dev/null", unix.O_PATH, true, nil)
		}
		m = l.get(unix.SYS_OPEN_TREE, l.null.val(), l.str(""), n(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH))
	}
	l.callOK(ok, unix.SYS_MOVE_MOUNT, m.val(), l.str(""), t.val(), l.str(""), n(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
	l.call(unix.SYS_CLOSE, m.val())
	l.callOK(ok, unix.SYS_CLOSE, t.val())
}

// protect makes what is mounted at the target read-only, or, where it is no
// mount point, mounts it on itself read-only.
func (l *lowering) protect(op *plan.Op) {
	t := l.inRoot(op.Target, unix.O_PATH, true, nil)
	m := l.get(unix.SYS_OPEN_TREE, t.val(), l.str(""), n(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE))
	l.setattr(m.val(), l.str(""), unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|mountAttrs(op.Flags))
	l.callOK(nil, unix.SYS_MOVE_MOUNT, m.val(), l.str(""), t.val(), l.str(""), n(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
	l.call(unix.SYS_CLOSE, m.val())
	l.call(unix.SYS_CLOSE, t.val())
}

// pivot makes the current directory the root. With both arguments alike the old
// root lies on top of the new one and is the first to go, see pivot_root(2).
func (l *lowering) pivot() {
	l.call(unix.SYS_PIVOT_ROOT, l.str("."), l.str("."))
}

// leaveOldRoot lets go of the old root. Init does it while the job's process
// gets itself ready: that executes nothing before init has told it to.
func (l *lowering) leaveOldRoot() {
	l.call(unix.SYS_UMOUNT2, l.str("."), n(unix.MNT_DETACH))
	l.call(unix.SYS_CHDIR, l.str("/"))
}
