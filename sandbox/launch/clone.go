package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Child is a process in fresh namespaces that has executed init and waits for
// its program. It needs nothing but the namespaces and ids, so it can be made
// while a plan is still being resolved: making it takes about as long.
type Child struct {
	namespaces []plan.Namespace
	uid, gid   uint32
	made       chan struct{}
	err        error // of made

	channel int
	pidfd   int
	pid     int
	program int           // the memory file that init will map
	release chan struct{} // ends the thread that cloned
}

// stopBeforeClone is set by the linker to measure what brig costs until its
// first clone: brig then ends there, with status 0.
var stopBeforeClone string

// Clone begins to make a child, on a thread of its own, and returns at once.
// The child must be given to Start, in Config.Child, or to Discard. uid and gid
// are the ids outside with which it is cloned: the caller's, unless the caller
// is root.
func Clone(namespaces []plan.Namespace, uid, gid uint32) *Child {
	if stopBeforeClone != "" {
		os.Exit(0)
	}
	c := &Child{
		namespaces: namespaces, uid: uid, gid: gid, channel: -1, pidfd: -1, program: -1,
		made: make(chan struct{}), release: make(chan struct{}),
	}
	go func() {
		// The thread lives as long as the child, since init's parent-death
		// signal is sent when the thread that cloned it ends. It is never
		// unlocked, so it ends with this goroutine.
		runtime.LockOSThread()
		c.err = c.clone()
		close(c.made)
		<-c.release
	}()
	return c
}

// DefaultNamespaces are those of a sandbox with a network stack of its own.
func DefaultNamespaces() []plan.Namespace {
	return []plan.Namespace{plan.User, plan.Mount, plan.PID, plan.IPC, plan.UTS, plan.Net}
}

// fits tells whether the child is one that the plan would have made.
func (c *Child) fits(p *plan.Plan) bool {
	return c.uid == p.IDs.CloneUID && c.gid == p.IDs.CloneGID && slices.Equal(c.namespaces, p.Namespaces)
}

// Discard ends a child that is not needed, without waiting for it to be made.
// A nil child needs no ending.
func (c *Child) Discard() {
	if c == nil {
		return
	}
	go func() {
		<-c.made
		if c.err == nil {
			s := Sandbox{Child: c}
			_, _ = s.Close()
			return
		}
		close(c.release)
	}()
}

// ErrClone is wrapped by what Start returns when the kernel refuses the clone;
// the reasons are told apart by package userns.
var ErrClone = errors.New("cannot make a sandbox's namespaces")

var cloneFlags = map[plan.Namespace]uintptr{
	plan.User: unix.CLONE_NEWUSER, plan.Mount: unix.CLONE_NEWNS, plan.PID: unix.CLONE_NEWPID,
	plan.Net: unix.CLONE_NEWNET, plan.IPC: unix.CLONE_NEWIPC, plan.UTS: unix.CLONE_NEWUTS,
}

// clone makes the process, from the current thread. The capabilities it has in
// its new user namespace would end with its exec, hence the ambient ones.
func (c *Child) clone() (err error) {
	image, err := initImage()
	if err != nil {
		return err
	}
	defer unix.Close(image)
	if c.program, err = memfd("brig-program", unix.MFD_NOEXEC_SEAL); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		unix.Close(c.program)
		return fmt.Errorf("making the channel to init: %w", err)
	}
	c.channel = pair[0]
	defer unix.Close(pair[1])
	defer func() {
		if err != nil {
			unix.Close(c.program)
			unix.Close(c.channel)
		}
	}()
	if int(c.uid) != os.Getuid() || int(c.gid) != os.Getgid() {
		if err := becomeOnThread(int(c.uid), int(c.gid)); err != nil {
			return err
		}
	}
	program := uintptr(c.program)
	attr := &syscall.ProcAttr{
		// Standard descriptors come later, with the program; until then they
		// must be something that is neither the caller's nor missing.
		Files: []uintptr{program, program, program, uintptr(pair[1]), program},
		Sys:   &syscall.SysProcAttr{PidFD: &c.pidfd, AmbientCaps: allCapabilities()},
	}
	for _, ns := range c.namespaces {
		attr.Sys.Cloneflags |= cloneFlags[ns]
	}
	// The number must not be one of those that are passed on.
	exe, err := unix.FcntlInt(uintptr(image), unix.F_DUPFD_CLOEXEC, 64)
	if err != nil {
		return fmt.Errorf("opening init: %w", err)
	}
	defer unix.Close(exe)
	if c.pid, err = syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(exe), []string{"brig-init"}, attr); err != nil {
		return fmt.Errorf("%w: %w", ErrClone, err)
	}
	return nil
}

// allCapabilities lists what init needs until the fork. CAP_LAST_CAP of the
// build may be beyond the running kernel's, which would fail the clone; these
// are in every kernel brig supports.
func allCapabilities() []uintptr {
	return []uintptr{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID,
		unix.CAP_KILL, unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE,
		unix.CAP_NET_ADMIN, unix.CAP_NET_RAW, unix.CAP_IPC_OWNER, unix.CAP_SYS_CHROOT, unix.CAP_SYS_ADMIN,
		unix.CAP_SYS_NICE, unix.CAP_SYS_RESOURCE, unix.CAP_MKNOD, unix.CAP_AUDIT_WRITE, unix.CAP_SETFCAP,
	}
}

// becomeOnThread gives up root on the current thread alone: the raw calls,
// unlike those of package syscall, do not reach the process's other threads.
func becomeOnThread(uid, gid int) error {
	for _, c := range [...][4]uintptr{
		{unix.SYS_SETGROUPS, 0, 0, 0},
		{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
		{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
	} {
		if _, _, errno := syscall.RawSyscall(c[0], c[1], c[2], c[3]); errno != 0 {
			return fmt.Errorf("giving up the caller's ids for %d:%d: %w", uid, gid, errno)
		}
	}
	return nil
}

// wait waits for the process and gives back what the child holds.
func (c *Child) wait() (unix.WaitStatus, *unix.Rusage, error) {
	var status unix.WaitStatus
	var ru unix.Rusage
	var err error
	for {
		_, err = unix.Wait4(c.pid, &status, 0, &ru)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	unix.Close(c.channel)
	unix.Close(c.program)
	close(c.release)
	if err != nil {
		return 0, nil, fmt.Errorf("waiting for init: %w", err)
	}
	return status, &ru, nil
}
