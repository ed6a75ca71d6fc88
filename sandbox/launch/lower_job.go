package launch

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// initDrop leaves init with nothing worth attacking: no capability, no way to
// gain one, no standard descriptors, and memory that /proc and ptrace refuse.
func (l *lowering) initDrop() {
	l.call(unix.SYS_PRCTL, n(unix.PR_CAP_AMBIENT), n(unix.PR_CAP_AMBIENT_CLEAR_ALL), n(0), n(0), n(0))
	l.capset(0, 0)
	l.call(unix.SYS_PRCTL, n(unix.PR_SET_NO_NEW_PRIVS), n(1), n(0), n(0), n(0))
	l.call(unix.SYS_PRCTL, n(unix.PR_SET_DUMPABLE), n(0), n(0), n(0), n(0))
	l.call(unix.SYS_PRCTL, n(unix.PR_SET_NAME), l.str("brig-init"), n(0), n(0), n(0))
	// Brig's death is first seen as the channel's end. This is the second
	// wall, set last because a change of ids clears it.
	l.call(unix.SYS_PRCTL, n(unix.PR_SET_PDEATHSIG), n(uint64(unix.SIGKILL)), n(0), n(0), n(0))
	l.call(unix.SYS_CLOSE_RANGE, n(0), n(2), n(0))
	if l.cfg.Keep > 0 {
		// Takes the place of the pipe's end, below what is closed later.
		l.call(unix.SYS_DUP3, fd(l.keepFD()), fd(releaseReadFD), n(unix.O_CLOEXEC))
		return
	}
	l.call(unix.SYS_CLOSE, fd(releaseReadFD))
}

// keepFD is the descriptor of Config.Keep, where there is one.
func (l *lowering) keepFD() int { return l.viewFD() + len(l.cfg.Views) }

// The descriptors that a plan's Ready op may name.
const (
	ReadyProc    = "procfs"   // the sandbox's procfs, a directory
	ReadyScratch = "scratch"  // the scratch's root, a directory
	ReadyShm     = "sysv-shm" // its /proc/sysvipc/shm
	ReadyPidfd   = "job"      // the job's process
	ReadyMaster  = "terminal" // the master of the job's terminal
	ReadyTmpfs   = "tmpfs:"   // with a Tmpfs op's target behind it: its root
)

// ready sends the descriptors the parent supervises with.
func (l *lowering) ready(op *plan.Op) error {
	if len(op.Names) > maxDescriptors {
		return fmt.Errorf("launch: %d descriptors to send, the kernel takes %d in one message: mount fewer tmpfs", len(op.Names), maxDescriptors)
	}
	var cells []cell
	for _, name := range op.Names {
		var c cell
		switch name {
		case ReadyProc:
			c = l.proc
		case ReadyScratch:
			c = l.scratch
		case ReadyShm:
			c = l.shm
		case ReadyMaster:
			c = l.master
		case ReadyPidfd:
			c = l.get(unix.SYS_PIDFD_OPEN, l.jobPID.val(), n(0))
		default:
			if target, ok := strings.CutPrefix(name, ReadyTmpfs); ok {
				c = l.tmpfses[target]
			}
		}
		if c == 0 {
			return fmt.Errorf("launch: no descriptor %q to send", name)
		}
		cells = append(cells, c)
	}
	iov := l.words(l.str("R").v, 1)
	msg := l.alloc(56)
	l.put64(msg+16, iov)
	l.put64(msg+24, 1)
	if len(cells) > 0 {
		// Room for the header and the descriptors. Each is copied into its
		// place by a call that returns its own argument: fcntl(F_DUPFD).
		size := 16 + 4*len(cells)
		cmsg := l.alloc((size + 7) &^ 7)
		l.put64(cmsg, uint64(size))
		l.put32(cmsg+8, unix.SOL_SOCKET)
		l.put32(cmsg+12, unix.SCM_RIGHTS)
		for i, c := range cells {
			l.op(kindCall, unix.SYS_FCNTL, cell(cmsg+16+4*uint64(i)), nil, c.val(), n(unix.F_DUPFD_CLOEXEC), n(firstFreeFD))
		}
		l.put64(msg+32, cmsg)
		l.put64(msg+40, uint64(size))
	}
	l.call(unix.SYS_SENDMSG, fd(channelFD), n(msg), n(unix.MSG_NOSIGNAL))
	return nil
}

// release lets the job's process go on and makes init what it stays. What it
// needs no longer it closes then: mounts among it, which take their time, and
// nothing that a process could reach through an init that is not dumpable.
func (l *lowering) release() {
	// Nobody reads where the job's process has failed by now; its end says how.
	l.callOK([]unix.Errno{unix.EPIPE}, unix.SYS_WRITE, fd(releaseWriteFD), l.str("G"), n(1))
	l.call(unix.SYS_CLOSE_RANGE, n(releaseWriteFD), n(1<<32-1), n(0))
	l.call(unix.SYS_CLOSE_RANGE, n(0), n(2), n(0)) // the pidfd took the lowest number
	// With a control group init stays when all is done, until brig has read
	// what the group counted: a manager removes it with its last process.
	stay := uint64(0)
	if l.hasGroup() {
		stay = 1
	}
	l.op(kindServe, 0, 0, nil, fd(signalFD), l.jobPID.val(), n(stay))
}

func (l *lowering) awaitInit() {
	l.wait(releaseReadFD, 'G')
	l.call(unix.SYS_CLOSE_RANGE, n(3), n(1<<32-1), n(0))
}

// session makes the job a session of its own, so that it cannot reach the
// caller's terminal, and gives it one from its own devpts where it has one.
func (l *lowering) session() {
	l.call(unix.SYS_UMASK, n(0o022))
	// What the caller ignores is no matter of the job's. Signals that Go's
	// runtime handles are already back at their defaults; these are the ones it
	// leaves as it found them, and those that an embedding program may ignore. A
	// zeroed struct sigaction is the default.
	dfl := l.alloc(32)
	for _, sig := range [...]unix.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGPIPE, unix.SIGTERM, unix.SIGCHLD,
		unix.SIGCONT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGUSR1, unix.SIGUSR2, 32, 33, 34,
	} {
		l.call(unix.SYS_RT_SIGACTION, n(uint64(sig)), n(dfl), n(0), n(8))
	}
	l.call(unix.SYS_SETSID)
	if l.plan.Stdio != plan.Terminal {
		for i := range 3 {
			l.call(unix.SYS_DUP3, fd(firstFreeFD+i), n(uint64(i)), n(0))
		}
		l.call(unix.SYS_CLOSE_RANGE, n(releaseWriteFD), n(1<<32-1), n(0))
		return
	}
	l.call(unix.SYS_IOCTL, l.slave.val(), n(unix.TIOCSCTTY), n(0))
	for i := range 3 {
		l.call(unix.SYS_DUP3, l.slave.val(), n(uint64(i)), n(0))
	}
	l.call(unix.SYS_CLOSE_RANGE, n(releaseWriteFD), n(1<<32-1), n(0))
}

var rlimitNumbers = []string{
	"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock",
	"as", "locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime",
}

func (l *lowering) rlimit(op *plan.Op) error {
	for i, name := range rlimitNumbers {
		if name == op.Data {
			l.call(unix.SYS_PRLIMIT64, n(0), n(uint64(i)), n(l.words(uint64(op.Size), uint64(op.Inodes))), n(0))
			at := l.alloc(16)
			l.readBack[int(l.program.plan)] = at
			l.call(unix.SYS_PRLIMIT64, n(0), n(uint64(i)), n(0), n(at))
			return nil
		}
	}
	return fmt.Errorf("launch: no rlimit %q", op.Data)
}

// capset sets permitted and effective to set, inheritable to inheritable.
func (l *lowering) capset(set, inheritable uint64) {
	hdr := l.words(unix.LINUX_CAPABILITY_VERSION_3) // pid 0
	data := l.alloc(24)
	for half := range uint64(2) {
		l.put32(data+12*half, uint32(set>>(32*half)))
		l.put32(data+12*half+4, uint32(set>>(32*half)))
		l.put32(data+12*half+8, uint32(inheritable>>(32*half)))
	}
	l.call(unix.SYS_CAPSET, n(hdr), n(data))
}

// capabilities leaves the job with the named ones. The change of ids kept the
// permitted set (see setIDs); the bounding set is emptied first, for which
// CAP_SETPCAP must be effective.
func (l *lowering) capabilities(op *plan.Op) error {
	keep, err := capabilitySet(op.Names)
	if err != nil {
		return err
	}
	l.call(unix.SYS_PRCTL, n(unix.PR_CAP_AMBIENT), n(unix.PR_CAP_AMBIENT_CLEAR_ALL), n(0), n(0), n(0))
	l.capset(keep|1<<unix.CAP_SETPCAP, 0)
	if l.begun == nil {
		l.bound(keep)
	}
	// Only a job that is not root needs the ambient set, and with it the
	// inheritable one, to keep what it was given across its exec.
	ambient := keep
	if l.plan.Find(plan.JobIDs).UID == 0 {
		ambient = 0
	}
	l.capset(keep, ambient)
	for c := range uint64(64) {
		if ambient&(1<<c) != 0 {
			l.call(unix.SYS_PRCTL, n(unix.PR_CAP_AMBIENT), n(unix.PR_CAP_AMBIENT_RAISE), n(c), n(0), n(0))
		}
	}
	return nil
}

func capabilitySet(names []string) (set uint64, err error) {
	for _, name := range names {
		c, ok := capability(name)
		if !ok {
			return 0, fmt.Errorf("launch: no capability %q", name)
		}
		set |= 1 << c
	}
	return set, nil
}

// bound takes all but these from the bounding set. A capability that this kernel
// does not know needs no dropping.
func (l *lowering) bound(keep uint64) {
	for c := range uint64(unix.CAP_LAST_CAP + 1) {
		if keep&(1<<c) == 0 {
			l.callOK([]unix.Errno{unix.EINVAL}, unix.SYS_PRCTL, n(unix.PR_CAPBSET_DROP), n(c), n(0), n(0), n(0))
		}
	}
}

// chdir enters the working directory. The kernel names a directory that lies
// outside the root "(unreachable)", so a name that starts with a slash proves
// that it lies inside.
func (l *lowering) chdir(op *plan.Op) {
	l.call(unix.SYS_CHDIR, l.str(op.Target))
	buf := l.alloc(4096)
	l.call(unix.SYS_GETCWD, n(buf), n(4096))
	l.compare(buf, 1, 0xff, '/', unix.EXDEV)
}

// seccomp loads the filters in the order given. Each is a list of struct
// sock_filter in the machine's byte order.
func (l *lowering) seccomp(op *plan.Op) error {
	if len(l.cfg.Filters) == 0 {
		return fmt.Errorf("launch: no filter for %s", op.Data)
	}
	for _, f := range l.cfg.Filters {
		if len(f) == 0 || len(f)%8 != 0 || len(f)/8 > 4096 {
			return fmt.Errorf("launch: a filter of %d bytes", len(f))
		}
		prog := l.words(uint64(len(f)/8), l.bytes(f))
		l.call(unix.SYS_SECCOMP, n(unix.SECCOMP_SET_MODE_FILTER), n(0), n(prog))
	}
	return nil
}

func (l *lowering) exec(op *plan.Op) {
	paths := l.pointers(op.Write)
	argv := l.pointers(op.Names)
	envp := l.pointers(l.cfg.Env)
	l.op(kindExec, 0, 0, nil, n(paths), n(argv), n(envp))
}

// Access rights of Landlock's second ABI, see landlock(7).
const (
	landlockRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landlockAll   = 1<<14 - 1
	landlockFiles = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE
)

// landlock restricts the job to the named paths. A path that is not there
// needs no rule.
func (l *lowering) landlock(op *plan.Op) {
	// struct landlock_ruleset_attr: files, ports, scopes. Older kernels take it
	// as far as they know it.
	attr, size := l.words(landlockAll, 0, unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET), uint64(8)
	if op.Data == plan.ScopeAbstract {
		size = 24
	}
	rules := l.get(unix.SYS_LANDLOCK_CREATE_RULESET, n(attr), n(size), n(0))
	add := func(path string, access ...uint64) {
		// struct landlock_path_beneath_attr is packed: u64, s32. The call that
		// opens the path puts its descriptor there.
		at := l.alloc(16)
		dir := cell(at + 8)
		l.op(kindCall, unix.SYS_OPENAT, dir, []unix.Errno{unix.ENOENT}, fd(unix.AT_FDCWD), l.str(path), n(unix.O_PATH|unix.O_CLOEXEC), n(0))
		l.put64(at, access[0])
		l.callOK([]unix.Errno{unix.EBADF, unix.EINVAL}, unix.SYS_LANDLOCK_ADD_RULE, rules.val(), n(unix.LANDLOCK_RULE_PATH_BENEATH), n(at), n(0))
		if len(access) > 1 {
			also := l.alloc(16)
			l.put64(also, access[1])
			l.op(kindCall, unix.SYS_FCNTL, cell(also+8), []unix.Errno{unix.EBADF}, dir.val(), n(unix.F_DUPFD_CLOEXEC), n(0))
			l.callOK([]unix.Errno{unix.EBADF}, unix.SYS_LANDLOCK_ADD_RULE, rules.val(), n(unix.LANDLOCK_RULE_PATH_BENEATH), n(also), n(0))
			l.callOK([]unix.Errno{unix.EBADF}, unix.SYS_CLOSE, cell(also+8).val())
		}
		l.callOK([]unix.Errno{unix.EBADF}, unix.SYS_CLOSE, dir.val())
	}
	for _, p := range op.Names {
		add(p, landlockRead)
	}
	for _, p := range op.Write {
		// Rights on directories are refused for a file, which then has those
		// of files; for a directory these add nothing.
		add(p, landlockAll, landlockFiles)
	}
	l.call(unix.SYS_LANDLOCK_RESTRICT_SELF, rules.val(), n(0))
	l.call(unix.SYS_CLOSE, rules.val())
}

// capability is a capability's number by its name, in the kernel's order.
func capability(name string) (uint64, bool) {
	for i, c := range capabilityNames {
		if "CAP_"+c == name {
			return uint64(i), true
		}
	}
	return 0, false
}

var capabilityNames = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// cpuMaskSize is room for 1024 CPUs, as in glibc's cpu_set_t.
const cpuMaskSize = 128

// cpuMask turns a list like "0-1,3" into the mask sched_setaffinity(2) takes.
func cpuMask(list string) ([]byte, error) {
	mask := make([]byte, cpuMaskSize)
	for _, part := range strings.Split(list, ",") {
		lo, hi, isRange := strings.Cut(part, "-")
		if !isRange {
			hi = lo
		}
		a, err1 := strconv.ParseUint(lo, 10, 10)
		b, err2 := strconv.ParseUint(hi, 10, 10)
		if err1 != nil || err2 != nil || a > b {
			return nil, fmt.Errorf("launch: CPU list %q", list)
		}
		for c := a; c <= b; c++ {
			mask[c/8] |= 1 << (c % 8)
		}
	}
	return mask, nil
}

func (l *lowering) affinity(op *plan.Op) error {
	mask, err := cpuMask(op.Data)
	if err != nil {
		return err
	}
	l.call(unix.SYS_SCHED_SETAFFINITY, n(0), n(uint64(len(mask))), n(l.bytes(mask)))
	at := l.alloc(len(mask))
	l.readBack[int(l.program.plan)] = at
	l.call(unix.SYS_SCHED_GETAFFINITY, n(0), n(uint64(len(mask))), n(at))
	return nil
}
