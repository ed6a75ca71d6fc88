package launch

import (
	"encoding/binary"
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
	early      bool  // made by entry, which leaves its failures to adopt
	ahead      bool  // it does ahead what can be done ahead
	begun      *begun
	unread     []said // what init said before it was adopted

	channel  int
	pidfd    int
	pid      int
	launcher int           // the process that cloned it; it has ended, or is about to
	program  int           // the memory file that init will map
	release  chan struct{} // ends the thread that cloned
	leaf     int           // the control group to be cloned into; -1 for the caller's
	inLeaf   bool          // it was
}

// Clone begins to make a child and returns without waiting for it.
// The child must be given to Start, in Config.Child, or to Discard. uid and gid
// are the ids outside with which it is cloned: the caller's, unless the caller
// is root.
func Clone(namespaces []plan.Namespace, uid, gid uint32) *Child {
	return cloneInto(-1, namespaces, uid, gid, worthAhead(namespaces))
}

// cloneInto is Clone into the control group whose directory leaf is; -1 for the
// caller's.
func cloneInto(leaf int, namespaces []plan.Namespace, uid, gid uint32, ahead bool) *Child {
	c := &Child{
		namespaces: namespaces, uid: uid, gid: gid, channel: -1, pidfd: -1, program: -1, leaf: leaf, ahead: ahead,
		made: make(chan struct{}), release: make(chan struct{}),
	}
	// The thread must live as long as the child, since init's parent-death
	// signal is sent when the thread that cloned it ends. The process's first
	// thread does; for other callers, and for other ids, one is set aside, which
	// is never unlocked and so ends with its goroutine.
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() && int(uid) == os.Getuid() && int(gid) == os.Getgid() {
		c.err = c.execute()
		runtime.UnlockOSThread()
		close(c.made)
		return c
	}
	runtime.UnlockOSThread()
	go func() {
		runtime.LockOSThread()
		if c.err = becomeOnThread(int(uid), int(gid)); c.err == nil {
			c.err = c.execute()
		}
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
func (c *Child) fits(p *plan.Plan, ahead bool) bool {
	if c.begun != nil && !c.begun.Fits(p) {
		return false
	}
	return (ahead || !c.ahead) && c.uid == p.IDs.CloneUID && c.gid == p.IDs.CloneGID && slices.Equal(c.namespaces, p.Namespaces)
}

// Discard ends a child that is not needed, without waiting for it to be made.
// A nil child needs no ending.
func (c *Child) Discard() {
	if c == nil {
		return
	}
	go func() {
		if c.wait() == nil {
			s := Sandbox{Child: c}
			_, _ = s.Close()
		}
	}()
}

// ErrClone is wrapped by what Start returns when the kernel refuses the clone;
// the reasons are told apart by package userns.
var ErrClone = errors.New("cannot make a sandbox's namespaces")

var cloneFlags = map[plan.Namespace]uint64{
	plan.User: unix.CLONE_NEWUSER, plan.Mount: unix.CLONE_NEWNS, plan.PID: unix.CLONE_NEWPID,
	plan.Net: unix.CLONE_NEWNET, plan.IPC: unix.CLONE_NEWIPC, plan.UTS: unix.CLONE_NEWUTS,
}

// execute starts the launcher, from the current thread.
func (c *Child) execute() (err error) {
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
	if err := writeAll(c.program, aheadImage(c.ahead), 0); err != nil {
		return fmt.Errorf("writing a memory file: %w", err)
	}
	program := uintptr(c.program)
	attr := &syscall.ProcAttr{
		// Standard descriptors come later, with the program; until then they
		// must be something that is neither the caller's nor missing.
		Files: []uintptr{program, program, program, uintptr(pair[1]), program},
	}
	flags := uint64(unix.CLONE_PARENT | unix.SIGCHLD)
	for _, ns := range c.namespaces {
		flags |= cloneFlags[ns]
	}
	if _, err := unix.Write(c.channel, binary.NativeEndian.AppendUint64(nil, flags)); err != nil {
		return fmt.Errorf("writing to init: %w", err)
	}
	// The number must be none of those that are passed on, nor one of those
	// right behind the highest of them, which package syscall uses to sort them.
	above := slices.Max(attr.Files) + uintptr(len(attr.Files)) + 2
	exe, err := unix.FcntlInt(uintptr(image), unix.F_DUPFD_CLOEXEC, int(max(above, 64)))
	if err != nil {
		return fmt.Errorf("opening init: %w", err)
	}
	defer unix.Close(exe)
	name, argv := "/proc/self/fd/"+strconv.Itoa(exe), []string{"brig-init"}
	if c.leaf >= 0 {
		attr.Sys = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: c.leaf}
		if c.launcher, err = syscall.ForkExec(name, argv, attr); err == nil {
			c.inLeaf = true
			return nil
		}
		// A filter around brig that has no clone3, or other ids than those that
		// own the group: init is moved there later, which costs more.
		attr.Sys = nil
	}
	if c.launcher, err = syscall.ForkExec(name, argv, attr); err != nil {
		return fmt.Errorf("executing init: %w", err)
	}
	return nil
}

// wait waits until the child is there. It is called once; after an error the
// child is gone, with all that it held.
func (c *Child) wait() error {
	<-c.made
	err := c.err
	if err == nil {
		if err = c.adopt(); err != nil {
			_ = reap(c.launcher, nil, nil)
			c.closeUnread()
			unix.Close(c.program)
			unix.Close(c.channel)
		}
	}
	if err != nil {
		close(c.release)
	}
	return err
}

// adopt waits for the launcher to say which process it has cloned. That is a
// child of this process, so its number cannot become another's before it is
// waited for.
func (c *Child) adopt() error {
	said, err := c.read()
	// Init may have been quicker than its launcher.
	for err == nil && !said.is('C', 8) && said.size > 0 {
		c.unread = append(c.unread, said)
		said, err = c.read()
	}
	if err != nil || said.size == 0 {
		return fmt.Errorf("executing init: %w", ErrInitGone)
	}
	pid := int32(binary.NativeEndian.Uint32(said.data[4:]))
	if pid < 0 {
		return fmt.Errorf("%w: %w", ErrClone, unix.Errno(-pid))
	}
	c.pid = int(pid)
	if c.pidfd, err = unix.PidfdOpen(c.pid, 0); err != nil {
		_ = unix.Kill(c.pid, unix.SIGKILL)
		_ = reap(c.pid, nil, nil)
		return fmt.Errorf("opening init's process: %w", err)
	}
	return nil
}

// reapLauncher waits for the launcher, which ends as soon as it has spoken. It
// is done while init is at work, so as not to wait.
func (c *Child) reapLauncher() {
	if c.launcher != 0 {
		_ = reap(c.launcher, nil, nil)
		c.launcher = 0
	}
}

// reap waits for a child.
func reap(pid int, status *unix.WaitStatus, ru *unix.Rusage) error {
	for {
		_, err := unix.Wait4(pid, status, 0, ru)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// becomeOnThread gives up root on the current thread alone: the raw calls,
// unlike those of package syscall, do not reach the process's other threads.
func becomeOnThread(uid, gid int) error {
	if uid == os.Getuid() && gid == os.Getgid() {
		return nil
	}
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

// end waits for the end of the process and gives back what the child holds.
func (c *Child) end() (unix.WaitStatus, *unix.Rusage, error) {
	var status unix.WaitStatus
	var ru unix.Rusage
	c.reapLauncher()
	err := reap(c.pid, &status, &ru)
	c.closeUnread()
	unix.Close(c.channel)
	unix.Close(c.program)
	close(c.release)
	if err != nil {
		return 0, nil, fmt.Errorf("waiting for init: %w", err)
	}
	return status, &ru, nil
}
