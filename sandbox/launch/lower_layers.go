package launch

import (
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// A root of many layers is mounted by the numbers of their descriptors, which
// are their names in /proc/self/fd. The paths themselves would not fit: mount(2)
// takes a page of options and fsconfig(2) strings of 255 bytes, while 499
// numbers take two kilobytes. An option for one layer at a time, lowerdir+,
// exists from Linux 6.7 on only, and would do no more: the kernel's own bound is
// 500 layers either way.

// layerBase is the descriptor of the bottom layer; the one above it has the
// next number. Below it there is room for everything else that is open then.
func (l *lowering) layerBase() int {
	opens := 0
	for i := range l.plan.Ops {
		if l.plan.Ops[i].Kind == plan.Open {
			opens++
		}
	}
	root := l.plan.Find(plan.Root)
	return max(aheadFD+int(aheadCount), firstFreeFD+32+len(l.cfg.Packs)+len(l.cfg.Views)+opens-len(root.Layers))
}

// numberLayer gives a layer of the root its own descriptor number.
func (l *lowering) numberLayer(handle int, h cell) cell {
	root := l.plan.Find(plan.Root)
	if len(root.Layers) == 0 {
		return h
	}
	at := -1
	if handle == root.Handle {
		at = 0
	}
	for i, layer := range root.Layers {
		if layer == handle {
			at = i + 1
		}
	}
	if at < 0 {
		return h
	}
	numbered := l.get(unix.SYS_DUP3, h.val(), fd(l.layerBase()+at), n(unix.O_CLOEXEC))
	l.call(unix.SYS_CLOSE, h.val())
	return numbered
}

// layeredRoot mounts the root of several layers on the tree that was made for
// it, which is its uppermost lower layer, and returns it.
func (l *lowering) layeredRoot(op *plan.Op) cell {
	base := l.layerBase()
	last := base + len(op.Layers)
	options := append([]byte("lowerdir="), l.treePath...)
	for i := last; i >= base; i-- {
		options = strconv.AppendInt(append(options, ':'), int64(i), 10)
	}
	options = append(options, ",userxattr"...)
	if !op.Flags.Has(plan.ReadOnly) {
		upper, work := l.newUpper(false)
		options = append(append(options, ",upperdir="...), upper...)
		options = append(append(options, ",workdir="...), work...)
		if l.kept() {
			options = append(options, ",index=off,xino=off"...)
		}
	}
	on := attachPoint + "/root"
	l.call(unix.SYS_FCHDIR, l.layerDir.val())
	l.call(unix.SYS_MOUNT, l.str("overlay"), l.str(on), l.str("overlay"), n(unix.MS_NOSUID|unix.MS_NODEV), l.str(string(options)))
	l.call(unix.SYS_CLOSE_RANGE, n(uint64(base)), n(uint64(last)), n(0))
	l.call(unix.SYS_CLOSE, l.layerDir.val())
	return l.get(unix.SYS_OPENAT, fd(unix.AT_FDCWD), l.str(on), n(unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC), n(0))
}

// overlay makes a detached overlay over the handle, which becomes the current
// directory so that no path of it need be named: lower says how the list of
// lower layers is put together around ".". With own the merged directory is the
// job's.
func (l *lowering) overlay(handle int, lower string, own, readOnly bool) cell {
	options := []string{"lowerdir", lower, "userxattr", ""}
	if !readOnly {
		upper, work := l.newUpper(own)
		options = append(options, "upperdir", upper, "workdir", work)
		if l.kept() {
			options = append(options, keptOptions[:]...)
		}
	}
	view := ""
	if l.isView(handle) {
		view = l.attachView(handle)
	}
	l.call(unix.SYS_FCHDIR, l.handles[handle].val())
	m := l.newMount("overlay", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV, options...)
	if l.root != 0 {
		l.call(unix.SYS_FCHDIR, l.root.val())
	}
	l.call(unix.SYS_CLOSE, l.handles[handle].val())
	if view != "" {
		l.detachView(view)
	}
	return m
}

// kept tells whether uppers may be those of an earlier sandbox.
func (l *lowering) kept() bool {
	op := l.plan.Find(plan.Upper)
	return op != nil && op.Flags.Has(plan.Kept)
}

// keptOptions are overlayfs's options for uppers that are mounted more than once:
// each time brig's own layer is a new one, which an index would refuse (ESTALE).
var keptOptions = [...]string{"index", "off", "xino", "off"}

// newUpper makes an upper and a work directory, which no two overlays share.
func (l *lowering) newUpper(own bool) (upper, work string) {
	l.layers++
	upper, work = "upper"+strconv.Itoa(l.layers), "work"+strconv.Itoa(l.layers)
	var ok []unix.Errno
	if l.kept() {
		ok = []unix.Errno{unix.EEXIST}
	}
	l.callOK(ok, unix.SYS_MKDIRAT, l.uppers.val(), l.str(upper), n(0o755))
	l.callOK(ok, unix.SYS_MKDIRAT, l.uppers.val(), l.str(work), n(0o755))
	if own && l.plan.Find(plan.SetIDs) != nil {
		// The upper's owner is the merged directory's.
		job := l.plan.Find(plan.JobIDs)
		l.call(unix.SYS_FCHOWNAT, l.uppers.val(), l.str(upper), n(uint64(job.UID)), n(uint64(job.GID)), n(unix.AT_SYMLINK_NOFOLLOW))
	}
	return l.upperDir + "/" + upper, l.upperDir + "/" + work
}
