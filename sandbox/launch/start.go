package launch

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Config is what Start needs besides the plan.
type Config struct {
	Plan *plan.Plan
	// Env is the job's environment, "NAME=value".
	Env []string
	// Filters are the seccomp programs, in the order in which they are loaded;
	// needed where the plan has a Seccomp op.
	Filters [][]byte
	// Stdio are the job's descriptors 0, 1 and 2: ends of pipes or the null
	// device, never anything of the caller's. With a terminal they are the
	// null device until the job's process takes its own.
	Stdio [3]uintptr
	// WriteMaps writes the id maps of the process; needed where the plan says
	// that newuidmap or the parent writes them.
	WriteMaps func(pid int) error
	// Packs holds what the plan's Copy ops copy, in their order.
	Packs []*Pack
	// Handles are mounts for the plan's Open ops that come from the parent, in
	// their order.
	Handles []*os.File
	// StopAt makes init stop before that op, counted from 1; 0 for never. The
	// sandbox then waits until brig ends: a means to test what is left behind.
	StopAt int
}

// Sandbox is a sandbox that has been started. Its methods may be called from
// one goroutine, Kill from any.
type Sandbox struct {
	plan    *plan.Plan
	channel int
	pidfd   int
	pid     int
	// program is the block's memory file, shared with init: results of calls
	// appear in it. readBack says where, by op.
	program  int
	readBack map[int]uint64
	release  chan struct{} // ends the thread that cloned, where it is one of its own

	mu     sync.Mutex // pidfd: after Close its number may be another sandbox's
	closed bool
}

// ErrStopped is what Receive returns when Config.StopAt was reached.
var ErrStopped = errors.New("init has stopped before the op asked for")

// stopBeforeClone is set by the linker to measure what brig costs until its
// first clone: brig then ends there, with status 0.
var stopBeforeClone string

// Start clones a process into fresh namespaces and starts init in it. The plan
// must have passed plan.Check. The caller must receive messages until the end.
func Start(cfg *Config) (*Sandbox, error) {
	image, err := initImage()
	if err != nil {
		return nil, err
	}
	defer unix.Close(image)
	s := &Sandbox{plan: cfg.Plan, pidfd: -1, channel: -1}
	if err := s.start(cfg, image, func() error { return s.writeProgram(cfg) }); err != nil {
		return nil, err
	}
	return s, nil
}

// start clones the process. The clone takes longer than the writing of the
// program, which is done beside it.
func (s *Sandbox) start(cfg *Config, image int, write func() error) error {
	var err error
	if s.program, err = memfd("brig-program", unix.MFD_NOEXEC_SEAL); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		unix.Close(s.program)
		return fmt.Errorf("making the channel to init: %w", err)
	}
	s.channel = pair[0]
	written := make(chan error, 1)
	go func() { written <- write() }()
	if stopBeforeClone != "" {
		<-written
		os.Exit(0)
	}
	err = s.clone(image, pair[1], cfg)
	unix.Close(pair[1])
	werr := <-written
	if err != nil {
		unix.Close(s.channel)
		unix.Close(s.program)
		s.endThread()
		return errors.Join(err, werr)
	}
	if werr == nil {
		werr = s.setGoing(cfg)
	}
	if werr != nil {
		_, _ = s.Close()
		return werr
	}
	return nil
}

// writeProgram lowers the plan into the memory file that init will map.
func (s *Sandbox) writeProgram(cfg *Config) error {
	block, readBack, err := lower(cfg)
	if err != nil {
		return err
	}
	s.readBack = readBack
	if err := writeAll(s.program, block); err != nil {
		return fmt.Errorf("writing a memory file: %w", err)
	}
	return nil
}

// setGoing tells init that its program is there, and gives the user namespace
// its maps where init cannot.
func (s *Sandbox) setGoing(cfg *Config) error {
	if err := s.tell('P'); err != nil {
		return err
	}
	if cfg.Plan.IDs.By == plan.ByInit {
		return nil
	}
	if cfg.WriteMaps == nil {
		return errors.New("launch: nobody to write the id maps")
	}
	if err := cfg.WriteMaps(s.pid); err != nil {
		return err
	}
	return s.tell('M')
}

// tell sends init one byte. That init is gone is found when it is listened to.
func (s *Sandbox) tell(b byte) error {
	if err := unix.Send(s.channel, []byte{b}, unix.MSG_NOSIGNAL); err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("writing to init: %w", err)
	}
	return nil
}

// ErrClone is wrapped by what Start returns when the kernel refuses the clone;
// the reasons are told apart by package userns.
var ErrClone = errors.New("cannot make a sandbox's namespaces")

var cloneFlags = map[plan.Namespace]uintptr{
	plan.User: unix.CLONE_NEWUSER, plan.Mount: unix.CLONE_NEWNS, plan.PID: unix.CLONE_NEWPID,
	plan.Net: unix.CLONE_NEWNET, plan.IPC: unix.CLONE_NEWIPC, plan.UTS: unix.CLONE_NEWUTS,
}

// clone makes the process. The capabilities it has in its new user namespace
// would end with its exec, hence the ambient ones.
func (s *Sandbox) clone(image, channel int, cfg *Config) error {
	attr := &syscall.ProcAttr{
		Files: []uintptr{cfg.Stdio[0], cfg.Stdio[1], cfg.Stdio[2], uintptr(channel), uintptr(s.program)},
		Sys:   &syscall.SysProcAttr{PidFD: &s.pidfd, AmbientCaps: allCapabilities()},
	}
	for _, p := range cfg.Packs {
		attr.Files = append(attr.Files, p.content.Fd())
	}
	for _, h := range cfg.Handles {
		attr.Files = append(attr.Files, h.Fd())
	}
	for _, ns := range cfg.Plan.Namespaces {
		attr.Sys.Cloneflags |= cloneFlags[ns]
	}
	// The number must not be one of those that are passed on.
	exe, err := unix.FcntlInt(uintptr(image), unix.F_DUPFD_CLOEXEC, 64+len(attr.Files))
	if err != nil {
		return fmt.Errorf("opening init: %w", err)
	}
	defer unix.Close(exe)
	path := "/proc/self/fd/" + strconv.Itoa(exe)
	ids := &cfg.Plan.IDs
	err = s.onLastingThread(int(ids.CloneUID), int(ids.CloneGID), func() error {
		pid, err := syscall.ForkExec(path, []string{"brig-init"}, attr)
		s.pid = pid
		return err
	})
	if err != nil {
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

// onLastingThread runs f on a thread that lives at least as long as the
// sandbox, since init's parent-death signal is sent when the cloning thread
// ends, with the ids given. The process's first thread is such a thread; for
// other callers, and for other ids, one is set aside.
func (s *Sandbox) onLastingThread(uid, gid int, f func() error) error {
	change := uid != os.Getuid() || gid != os.Getgid()
	if !change {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			return f()
		}
		runtime.UnlockOSThread()
	}
	done := make(chan error)
	s.release = make(chan struct{})
	release := s.release
	go func() {
		// Never unlocked: the thread ends with this goroutine.
		runtime.LockOSThread()
		if change {
			if err := becomeOnThread(uid, gid); err != nil {
				done <- err
				return
			}
		}
		done <- f()
		<-release
	}()
	return <-done
}

// endThread lets go of the thread that was set aside, if one was.
func (s *Sandbox) endThread() {
	if s.release != nil {
		close(s.release)
		s.release = nil
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

// ReadBack returns what the kernel said when init asked it for the value that
// the op, numbered from 0, had set: for an Rlimit the soft and the hard limit
// as two 64-bit words, for Affinity the mask. Before the op was carried out it
// is zeroes; nil means that the op has nothing to read back.
func (s *Sandbox) ReadBack(op int) []byte {
	at, ok := s.readBack[op]
	if !ok {
		return nil
	}
	size := 16
	if s.plan.Ops[op].Kind == plan.Affinity {
		size = cpuMaskSize
	}
	b := make([]byte, size)
	if n, err := unix.Pread(s.program, b, int64(at-baseAddress)); err != nil || n != size {
		return nil
	}
	return b
}

// PID is init's process id in the caller's PID namespace.
func (s *Sandbox) PID() int { return s.pid }

// Receive waits for init's next message. After an End, or an error, there is
// none.
func (s *Sandbox) Receive() (Message, error) { return s.receive() }

// Kill ends every process of the sandbox, now. It may be called at any time,
// from any goroutine, and more than once; after Close it does nothing.
func (s *Sandbox) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	// Init's death is that of its PID namespace, see pid_namespaces(7).
	_ = unix.PidfdSendSignal(s.pidfd, unix.SIGKILL, nil, 0)
}

// Close ends the sandbox, waits until every process of it is gone, and
// releases what it held. The usage is that of init with all it has reaped.
func (s *Sandbox) Close() (Usage, error) {
	s.Kill()
	var ru unix.Rusage
	var err error
	for {
		_, err = unix.Wait4(s.pid, nil, 0, &ru)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	s.mu.Lock()
	s.closed = true
	unix.Close(s.pidfd)
	s.mu.Unlock()
	unix.Close(s.channel)
	unix.Close(s.program)
	s.endThread()
	if err != nil {
		return Usage{}, fmt.Errorf("waiting for init: %w", err)
	}
	return rusage(&ru), nil
}
