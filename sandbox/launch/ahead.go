package launch

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// What init does before it is given a plan: brig needs a millisecond to make
// one, and much of what every sandbox gets depends on nothing. Init notes for
// each thing whether it could be had, and a plan that asks for it is lowered to
// ops that are left out then (see unlessAhead). What failed ahead is tried again
// when its turn comes, and fails with the op that asked for it.
//
// Nothing of it is an act on the job's behalf: the mounts are detached, files
// are only opened, and what no plan asks for is closed before the job starts.

// ahead is one of the things that are done ahead.
type ahead int

const (
	aheadPipe ahead = iota // the release pipe
	aheadPrivate
	aheadSetgroups // with the next two as in idFiles
	aheadUIDMap
	aheadGIDMap
	aheadProc
	aheadShm
	aheadOOMScore
	aheadNamespaces
	aheadDevpts
	aheadMask
	aheadLoopback
	aheadSource // the first of aheadSources
)

// aheadSources are what the sandboxes of nearly every policy are given.
var aheadSources = [...]string{"/usr", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}

const aheadCount = aheadSource + ahead(len(aheadSources))

// aheadFD is the lowest number of the descriptors that are kept: those that
// brig sends come below it.
const aheadFD = 64

// cell is where the descriptor is, or the result of a call that has none. The
// cells stand at the start, so that their addresses are known without making
// the program.
func (a ahead) cell() cell { return cell(aheadAddress + 8 + 8*uint64(a)) }

var (
	idFiles        = [...]string{"/proc/self/setgroups", "/proc/self/uid_map", "/proc/self/gid_map"}
	shmFile        = "sysvipc/shm"
	oomScoreFile   = "self/oom_score_adj"
	namespacesFile = "sys/user/max_user_namespaces"
	devptsOptions  = []string{"newinstance", "", "ptmxmode", "666", "mode", "620"}
	maskOptions    = []string{"nr_inodes", "1", "mode", "555"}
)

const (
	procAttrs   = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC
	devptsAttrs = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	maskAttrs   = procAttrs | unix.MOUNT_ATTR_RDONLY
	loopbackUp  = unix.IFF_UP | unix.IFF_RUNNING
)

// worthAhead tells whether a child in these namespaces does it all: with fewer,
// it would be the caller's own mounts or network that it tried to change.
func worthAhead(namespaces []plan.Namespace) bool {
	return slices.Equal(namespaces, DefaultNamespaces())
}

// aheadImage is the start of the memory file: the address of the first op, the
// cells, and the program. Without all it only gets init ready to be told.
func aheadImage(all bool) []byte {
	p := &program{base: aheadAddress, soft: true, plan: noOp}
	first := p.words(0)
	for range aheadCount {
		p.cell()
	}
	p.prepare()
	if all {
		p.doAhead()
	}
	p.waitOr(channelFD, 'A', 'P')
	p.op(kindJump, 0, 0, nil, n(earlyAddress))
	p.op(kindJump, 0, 0, nil, n(baseAddress))
	p.alloc(0)
	p.put64(first, aheadAddress+uint64(len(p.data)))
	return append(p.data, p.ops...)
}

// prepare closes all that init was started with but the channel, and opens what
// the numbers signalFD, releaseReadFD and releaseWriteFD follow from. The
// program stays mapped without its descriptor. Here every failure is one.
func (p *program) prepare() {
	p.op(kindCall, unix.SYS_CLOSE_RANGE, 0, nil, n(programFD), n(1<<32-1), n(0))
	// SIGCHLD is blocked so that it is read, not delivered.
	set := p.words(1 << (unix.SIGCHLD - 1))
	p.op(kindCall, unix.SYS_RT_SIGPROCMASK, 0, nil, n(unix.SIG_SETMASK), n(set), n(0), n(8))
	p.op(kindCall, unix.SYS_SIGNALFD4, 0, nil, fd(-1), n(set), n(8), n(unix.SFD_CLOEXEC))
	p.op(kindCall, unix.SYS_PIPE2, 0, nil, n(uint64(aheadPipe.cell())), n(unix.O_CLOEXEC))
	// The modes of what is made are the plan's; the job gets a usual mask.
	p.op(kindCall, unix.SYS_UMASK, 0, nil, n(0))
}

func (p *program) doAhead() {
	p.privateMounts(aheadPrivate.cell())
	p.keep(aheadProc, p.newMount("proc", procAttrs))
	proc := aheadProc.cell().val()
	p.keep(aheadShm, p.get(unix.SYS_OPENAT, proc, p.str(shmFile), n(unix.O_RDONLY|unix.O_CLOEXEC), n(0)))
	p.keep(aheadOOMScore, p.get(unix.SYS_OPENAT, proc, p.str(oomScoreFile), n(unix.O_WRONLY|unix.O_CLOEXEC), n(0)))
	p.keep(aheadNamespaces, p.get(unix.SYS_OPENAT, proc, p.str(namespacesFile), n(unix.O_WRONLY|unix.O_CLOEXEC), n(0)))
	for i, name := range idFiles {
		p.keep(aheadSetgroups+ahead(i), p.get(unix.SYS_OPENAT, fd(unix.AT_FDCWD), p.str(name), n(unix.O_WRONLY|unix.O_CLOEXEC), n(0)))
	}
	p.keep(aheadDevpts, p.newMount("devpts", devptsAttrs, devptsOptions...))
	p.keep(aheadMask, p.newMount("tmpfs", maskAttrs, maskOptions...))
	for i, name := range aheadSources {
		p.keep(aheadSource+ahead(i), p.copyMount(p.cell(), name, nil))
	}
	p.loopback(aheadLoopback.cell(), loopbackUp)
}

func (p *program) keep(a ahead, c cell) { p.outOfTheWay(a.cell(), c) }

// outOfTheWay moves a descriptor out of the way of those that brig will send.
func (p *program) outOfTheWay(out, c cell) cell {
	p.getInto(out, nil, unix.SYS_FCNTL, c.val(), n(unix.F_DUPFD_CLOEXEC), n(aheadFD))
	p.call(unix.SYS_CLOSE, c.val())
	return out
}

// unlessAhead lowers what do does, with its result in the cell of a, to ops that
// are left out where it was done ahead.
func (l *lowering) unlessAhead(a ahead, do func(out cell)) {
	at := l.op(kindSkip, 0, 0, nil, a.cell().val(), n(0))
	from := l.position()
	do(a.cell())
	l.setArg(at, 1, l.position()-from)
}

// sourceAhead finds a source among those that are opened ahead. Each is there
// once.
func (l *lowering) sourceAhead(name string) (ahead, bool) {
	i := slices.Index(aheadSources[:], name)
	if i < 0 || l.taken&(1<<i) != 0 {
		return 0, false
	}
	l.taken |= 1 << i
	return aheadSource + ahead(i), true
}
