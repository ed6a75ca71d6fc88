package launch

import (
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

func (l *lowering) hasGroup() bool { return l.plan.Find(plan.Cgroup) != nil }

// delegated tells whether the job may divide its part of the tree.
func (l *lowering) delegated() bool {
	op := l.plan.Find(plan.Cgroup)
	return op != nil && op.Flags.Has(plan.Delegated)
}

// groupFD is the descriptor of the cgroup.procs of the group that the job
// enters; that of its directory is the next, and behind it, for a job that may
// divide it, the cgroup.procs of the sandbox's whole group.
func (l *lowering) groupFD() int {
	at := l.keepFD()
	if l.cfg.Keep > 0 {
		at++
	}
	return at
}

// groupFDs is how many they are.
func (l *lowering) groupFDs() int {
	if l.delegated() {
		return 3
	}
	return 2
}

// intoLeaf tells whether the job is cloned into its leaf. The kernel asks for
// the right to write the leaf's cgroup.procs, which init has only where its id
// outside is the caller's.
func (l *lowering) intoLeaf() bool {
	return l.hasGroup() && l.into && l.plan.IDs.By == plan.ByInit
}

// cloneArgs is the struct clone_args with which the job is cloned into its leaf,
// see clone(2); 0 for a plain clone.
func (l *lowering) cloneArgs() uint64 {
	if !l.intoLeaf() {
		return 0
	}
	return l.words(unix.CLONE_INTO_CGROUP, 0, 0, 0, uint64(unix.SIGCHLD), 0, 0, 0, 0, 0, uint64(l.groupFD()+1))
}

// jobCgroup puts the job's process into its leaf where the clone has not, and
// makes the leaf the root of what the job sees. The kernel judges the move by
// the rights of the process that opened the file, which is brig.
//
// A job that may divide its group owns its files, and outside, by the same id,
// those of the groups above. It cannot name these; but a process is moved by
// whoever may write cgroup.procs of the group that holds both its old place and
// the new one, so the job could take init into its own part. That file is
// closed to its owner as well, when nobody has to pass any more. A root that
// called brig is its owner, and no id of the job's.
func (l *lowering) jobCgroup(op *plan.Op) {
	if !l.intoLeaf() {
		l.call(unix.SYS_WRITE, fd(l.groupFD()), l.str("0"), n(1))
	}
	if l.delegated() && l.plan.IDs.By != plan.ByParent {
		l.call(unix.SYS_FCHMOD, fd(l.groupFD()+2), n(0o444))
	}
	l.call(unix.SYS_CLOSE_RANGE, n(uint64(l.groupFD())), n(uint64(l.groupFD()+l.groupFDs()-1)), n(0))
	if op.Data == plan.CgroupRoot {
		l.call(unix.SYS_UNSHARE, n(unix.CLONE_NEWCGROUP))
	}
}
