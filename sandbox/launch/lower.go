package launch

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// attachPoint is where the scratch is mounted until the pivot. Every Linux has
// this directory, nothing is opened below it once the set-up mounts begin, and
// it can be hidden from nobody: only the sandbox's mount namespace sees it.
const attachPoint = "/proc"

// lowering is the state of turning one plan into a program.
type lowering struct {
	*program
	cfg  *Config
	plan *plan.Plan

	handles  map[int]cell // what Open opened
	scratch  cell         // the scratch's root
	tree     cell         // where Mkdir, Symlink and File make things
	treePath string       // the same, as a path, for overlay's options
	root     cell         // the new root
	proc     cell         // the sandbox's procfs
	shm      cell         // its /proc/sysvipc/shm
	null     cell         // its null device
	master   cell         // its pseudo-terminal
	slave    cell
	uppers   cell // where overlays have their uppers, and the same as a path
	upperDir string
	taken    uint // of aheadSources
	layers   int  // uppers made so far
	masks    int  // directories masked
	layerDir cell // where the layers of the root are names, see layerBase
	jobPID   cell
	packs    int // taken from Config.Packs
	views    int // taken from Config.Views
	readBack map[int]uint64
	into     bool            // init may clone into the job's leaf
	begun    *begun          // what was done before this program; nil for nothing
	tmpfses  map[string]cell // further tmpfs mounts, by target
}

// lower turns the plan into a program's block, and tells where in it the values
// read back lie, by op. The plan has passed plan.Check. into says that clone3
// puts a process into a control group here, begun what the child has been told.
func lower(cfg *Config, into bool, begun *begun) (b block, readBack map[int]uint64, err error) {
	l := &lowering{
		program: newProgram(), cfg: cfg, plan: cfg.Plan, into: into, begun: begun,
		handles: map[int]cell{}, readBack: map[int]uint64{}, tmpfses: map[string]cell{},
	}
	treeAt := 0
	if begun != nil {
		treeAt = begun.treeAt(l.plan)
	}
	for i := range l.plan.Ops {
		if l.plan.Ops[i].Kind.Stage() == plan.StageJob {
			break // lowered at the fork
		}
		if begun.done(i, treeAt, &l.plan.Ops[i]) {
			continue
		}
		l.program.plan = uint32(i)
		if cfg.StopAt == i+1 {
			l.stop()
		}
		if err := l.lowerOp(&l.plan.Ops[i]); err != nil {
			return block{}, nil, err
		}
	}
	b, err = l.block()
	return b, l.readBack, err
}

func (l *lowering) lowerOp(op *plan.Op) error {
	switch op.Kind {
	case plan.CloseDescriptors:
		l.closeDescriptors()
	case plan.Cgroup:
		// Brig has put init there before it sent the descriptors.
	case plan.MapIDs:
		l.mapIDs()
	case plan.CgroupNamespace:
		l.call(unix.SYS_UNSHARE, n(unix.CLONE_NEWCGROUP))
	case plan.PrivateMounts:
		l.unlessAhead(aheadPrivate, l.privateMounts)
		if slices.Contains(l.plan.Namespaces, plan.Net) && l.plan.Find(plan.Loopback) == nil {
			l.loopback(l.cell(), 0) // it may have been brought up ahead
		}
	case plan.Open:
		return l.open(op)
	case plan.InitIDs:
		l.spareInit()
		l.setIDs(op)
	case plan.SetIDs, plan.JobIDs:
		l.setIDs(op)
	case plan.Scratch:
		l.scratchMount(op)
	case plan.Upper:
		l.upper(op)
	case plan.Mkdir:
		l.mkdir(op)
	case plan.Symlink:
		l.call(unix.SYS_SYMLINKAT, l.str(op.Data), l.tree.val(), l.rel(op.Target))
	case plan.File:
		return l.fileInTree(op)
	case plan.Root:
		l.enterRoot(op)
	case plan.Mountpoint:
		l.mountpoint(op)
	case plan.Copy:
		return l.copyIn(op)
	case plan.Bind:
		l.attach(l.handles[op.Handle], op)
	case plan.Overlay:
		l.attach(l.overlay(op.Handle, ".", true, false), op)
	case plan.Tmpfs:
		l.tmpfses[op.Target] = l.tmpfs(op)
		l.attach(l.tmpfses[op.Target], op)
	case plan.Proc:
		l.procMount(op)
	case plan.Devpts:
		l.devpts(op)
	case plan.Mask:
		// Lowered behind the fork.
	case plan.Protect:
		l.protect(op)
	case plan.Sysctl:
		l.sysctl(op)
	case plan.Hostname:
		l.call(unix.SYS_SETHOSTNAME, l.str(op.Data), n(uint64(len(op.Data))))
	case plan.Loopback:
		l.unlessAhead(aheadLoopback, func(out cell) { l.loopback(out, loopbackUp) })
	case plan.Affinity:
		return l.affinity(op)
	case plan.OOMScore:
		l.unlessAhead(aheadOOMScore, func(out cell) { l.openFile(out, l.proc.val(), oomScoreFile, nil) })
		l.writeOpen(aheadOOMScore.cell(), op.Data, nil)
	case plan.Pivot:
		l.pivot()
	case plan.ReadOnlyRoot:
		l.setattr(fd(unix.AT_FDCWD), l.str("/"), 0, unix.MOUNT_ATTR_RDONLY)
	case plan.Fork:
		return l.fork()
	case plan.InitDrop:
		l.initDrop()
	case plan.Ready:
		return l.ready(op)
	case plan.Release:
		l.release()
	case plan.JobCgroup:
		l.jobCgroup(op)
	case plan.CgroupMount:
		l.attach(l.newMount("cgroup2", mountAttrs(op.Flags)), op)
	case plan.Session:
		l.session()
	case plan.Rlimit:
		return l.rlimit(op)
	case plan.Capabilities:
		return l.capabilities(op)
	case plan.Chdir:
		l.chdir(op)
	case plan.NoNewPrivs:
		l.call(unix.SYS_PRCTL, n(unix.PR_SET_NO_NEW_PRIVS), n(1), n(0), n(0), n(0))
	case plan.Landlock:
		l.landlock(op)
	case plan.AwaitInit:
		l.awaitInit()
	case plan.Seccomp:
		return l.seccomp(op)
	case plan.Exec:
		l.exec(op)
	default:
		return fmt.Errorf("launch: op %s cannot be lowered", op.Kind)
	}
	return nil
}

// stop tells brig that the op it stands before is reached, and waits for ever:
// tests kill brig there and look at what is left. The wait ends with brig's end
// of the channel.
func (l *lowering) stop() {
	l.call(unix.SYS_SENDTO, fd(channelFD), l.str("S"), n(1), n(unix.MSG_NOSIGNAL), n(0), n(0))
	l.wait(channelFD, 'X')
}

// closeDescriptors: what init was started with is closed ahead.
func (l *lowering) closeDescriptors() {
	l.receiveDescriptors()
}

// receiveDescriptors takes what brig sends behind the program: the job's
// standard descriptors and the contents of what is copied. They get the next
// free numbers, from firstFreeFD.
func (l *lowering) receiveDescriptors() {
	count := l.groupFD() - firstFreeFD
	if l.hasGroup() {
		count += l.groupFDs()
	}
	size := 16 + 4*count
	buf := l.alloc(8)
	msg := l.alloc(56)
	l.put64(msg+16, l.words(buf, 1))
	l.put64(msg+24, 1)
	control := l.alloc((size + 7) &^ 7)
	l.put64(msg+32, control)
	l.put64(msg+40, uint64((size+7)&^7))
	l.call(unix.SYS_RECVMSG, fd(channelFD), n(msg), n(unix.MSG_CMSG_CLOEXEC))
	l.compare(buf, 1, 0xff, 'D', unix.EPROTO)
	l.compare(control, 8, ^uint64(0), uint64(size), unix.EPROTO) // cmsg_len: all of them
}

func (l *lowering) mapIDs() {
	if l.plan.IDs.By != plan.ByInit {
		l.wait(channelFD, 'M')
		return
	}
	// A map of one id needs no privilege, but setgroups must be given up
	// first, see user_namespaces(7).
	for i, text := range [...]string{"deny", mapText(l.plan.IDs.UID), mapText(l.plan.IDs.GID)} {
		a := aheadSetgroups + ahead(i)
		l.unlessAhead(a, func(out cell) { l.openFile(out, fd(unix.AT_FDCWD), idFiles[i], nil) })
		l.writeOpen(a.cell(), text, nil)
	}
}

func mapText(list []plan.Mapping) string {
	var b []byte
	for _, m := range list {
		b = fmt.Appendf(b, "%d %d %d\n", m.Inside, m.Outside, m.Count)
	}
	return string(b)
}

// openFile opens an existing file below dir for writing.
func (l *lowering) openFile(out cell, dir arg, path string, ok []unix.Errno) {
	l.getInto(out, ok, unix.SYS_OPENAT, dir, l.str(path), n(unix.O_WRONLY|unix.O_CLOEXEC), n(0))
}

// writeOpen writes text to a file that is open, unless ok let it be absent, and
// closes it.
func (l *lowering) writeOpen(f cell, text string, ok []unix.Errno) {
	if len(ok) > 0 {
		ok = []unix.Errno{unix.EBADF}
	}
	l.callOK(ok, unix.SYS_WRITE, f.val(), l.str(text), n(uint64(len(text))))
	l.callOK(ok, unix.SYS_CLOSE, f.val())
}

// sysctl writes to a file of the sandbox's own procfs, reached through the
// descriptor its mount gave, so that no path of the job's world is followed.
// What this kernel does not have is left out.
func (l *lowering) sysctl(op *plan.Op) {
	absent := []unix.Errno{unix.ENOENT}
	if op.Target == namespacesFile {
		l.unlessAhead(aheadNamespaces, func(out cell) { l.openFile(out, l.proc.val(), op.Target, absent) })
		l.writeOpen(aheadNamespaces.cell(), op.Data, absent)
		return
	}
	f := l.cell()
	l.openFile(f, l.proc.val(), op.Target, absent)
	l.writeOpen(f, op.Data, absent)
}

// spareInit lets the kernel choose any process of the job before init when the
// memory of their control group ends. It comes before init's ids change, since
// afterwards init cannot write its own files in /proc. Where brig's own score may
// not be lowered, init keeps the job's.
func (l *lowering) spareInit() {
	if l.hasGroup() && l.plan.Find(plan.OOMScore) != nil {
		f := l.get(unix.SYS_OPENAT, l.proc.val(), l.str("self/oom_score_adj"), n(unix.O_WRONLY|unix.O_CLOEXEC), n(0))
		l.callOK([]unix.Errno{unix.EACCES, unix.EPERM}, unix.SYS_WRITE, f.val(), l.str("0"), n(1))
		l.call(unix.SYS_CLOSE, f.val())
	}
}

// setIDs takes groups, gid and uid, in the order in which each is still allowed.
func (l *lowering) setIDs(op *plan.Op) {
	if op.Flags.Has(plan.KeepSetgrps) {
		groups := make([]byte, 4*len(op.Groups))
		at := l.bytes(groups)
		for i, g := range op.Groups {
			l.put32(at+4*uint64(i), g)
		}
		l.call(unix.SYS_SETGROUPS, n(uint64(len(op.Groups))), n(at))
	}
	if op.Kind == plan.JobIDs {
		// Leaving user 0 would otherwise take the capabilities with which the
		// bounding set is emptied.
		l.call(unix.SYS_PRCTL, n(unix.PR_SET_KEEPCAPS), n(1), n(0), n(0), n(0))
	}
	g, u := n(uint64(op.GID)), n(uint64(op.UID))
	l.call(unix.SYS_SETRESGID, g, g, g)
	l.call(unix.SYS_SETRESUID, u, u, u)
	if op.Kind == plan.SetIDs {
		// A process that has changed its ids is not dumpable, and its files in
		// /proc then belong to the root of the namespace in which its program
		// was executed: the host's, so that init could not write its own
		// oom_score_adj. InitDrop takes this back.
		l.call(unix.SYS_PRCTL, n(unix.PR_SET_DUMPABLE), n(1), n(0), n(0), n(0))
	}
}

// rel is a path inside as one relative to a directory's descriptor.
func (l *lowering) rel(path string) arg {
	if path == "/" {
		return l.str(".")
	}
	return l.str(path[1:])
}

// fork makes the job's process. The job's ops stand right behind it in the
// program, though last in the plan; init goes on behind them.
func (l *lowering) fork() error {
	forkIndex := l.program.plan
	l.jobPID = l.cell()
	at := l.op(kindFork, 0, l.jobPID, nil, n(0), n(l.cloneArgs()))
	// The job has no business with the channel: only init may speak for it.
	l.call(unix.SYS_CLOSE_RANGE, n(channelFD), n(signalFD), n(0))
	l.call(unix.SYS_CLOSE, fd(releaseWriteFD))
	l.call(unix.SYS_RT_SIGPROCMASK, n(unix.SIG_SETMASK), n(l.words(0)), n(0), n(8))
	for _, i := range l.jobOps() {
		l.program.plan = uint32(i)
		if l.cfg.StopAt == i+1 {
			// For ever, like stop: the job's process ends with init.
			l.call(unix.SYS_PPOLL, n(0), n(0), n(0), n(0), n(0))
		}
		if err := l.lowerOp(&l.plan.Ops[i]); err != nil {
			return err
		}
	}
	l.setArg(at, 0, l.position())
	l.behindFork()
	l.program.plan = forkIndex
	return nil
}

// jobOps are the places of the job's ops. Where the filters allow it they are
// loaded while init is still at work, not when it is waited for.
func (l *lowering) jobOps() []int {
	var list []int
	await := -1
	for i := range l.plan.Ops {
		switch kind := l.plan.Ops[i].Kind; {
		case kind.Stage() != plan.StageJob:
			continue
		case kind == plan.AwaitInit:
			await = len(list)
		case kind == plan.Seccomp && await >= 0 && l.cfg.FilterFirst && l.cfg.StopAt == 0:
			list = slices.Insert(list, await, i)
			continue
		}
		list = append(list, i)
	}
	return list
}

// behindFork is what init does while the job's process gets itself ready, which
// takes about as long. That process executes nothing before init has told it to,
// in release, and needs neither the old root nor what is masked.
func (l *lowering) behindFork() {
	for i := range l.plan.Ops {
		l.program.plan = uint32(i)
		switch op := &l.plan.Ops[i]; op.Kind {
		case plan.Mask:
			l.mask(op)
		case plan.Pivot:
			l.leaveOldRoot()
		default:
		}
	}
}

func (l *lowering) mkdir(op *plan.Op) {
	l.callOK([]unix.Errno{unix.EEXIST}, unix.SYS_MKDIRAT, l.tree.val(), l.rel(op.Target), n(uint64(op.Mode)))
	if op.Flags.Has(plan.JobOwned) && l.plan.Find(plan.SetIDs) != nil {
		job := l.plan.Find(plan.JobIDs)
		l.call(unix.SYS_FCHOWNAT, l.tree.val(), l.rel(op.Target), n(uint64(job.UID)), n(uint64(job.GID)), n(unix.AT_SYMLINK_NOFOLLOW))
	}
}

// loopback brings the sandbox's own loopback up, or takes it down where the
// plan wants none.
func (p *program) loopback(out cell, flags uint16) {
	s := p.get(unix.SYS_SOCKET, n(unix.AF_INET), n(unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), n(0))
	request := p.alloc(40) // struct ifreq
	copy(p.data[request-p.base:], "lo")
	p.put16(request+16, flags)
	p.getInto(out, nil, unix.SYS_IOCTL, s.val(), n(unix.SIOCSIFFLAGS), n(request))
	p.call(unix.SYS_CLOSE, s.val())
}
