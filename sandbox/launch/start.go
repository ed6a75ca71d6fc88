package launch

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// Config is what Start needs besides the plan.
type Config struct {
	Plan *plan.Plan
	// Child is a process made ahead of time; nil, or one that does not fit the
	// plan, and Start makes its own. It is Start's from then on.
	Child *Child
	// Env is the job's environment, "NAME=value".
	Env []string
	// Filters are the seccomp programs, in the order in which they are loaded;
	// needed where the plan has a Seccomp op.
	Filters [][]byte
	// FilterFirst says that the filters allow what the job's process waits with
	// for init: it then loads them before, while init is still at work.
	FilterFirst bool
	// Stdio are the job's descriptors 0, 1 and 2: ends of pipes or the null
	// device, never anything of the caller's. With a terminal they are the
	// null device until the job's process takes its own.
	Stdio [3]uintptr
	// WriteMaps writes the id maps of the process; needed where the plan says
	// that newuidmap or the parent writes them.
	WriteMaps func(pid int) error
	// Packs holds what the plan's Copy ops copy, in their order.
	Packs []*Pack
	// Views are what OpenViews made for the plan. They stay the caller's to close.
	Views []*View
	// Keep is a descriptor that init holds for the sandbox's life, such as the
	// lock of its ids; 0 for none. The job never has it.
	Keep int
	// Group is the sandbox's control group; needed where the plan has a Cgroup
	// op. Context ends the wait for it; nil for none.
	Group   Group
	Context context.Context
	// StopAt makes init stop before that op, counted from 1; 0 for never. The
	// sandbox then waits until brig ends: a means to test what is left behind.
	StopAt int
}

// Group is a control group, as package cgroup makes them.
type Group interface {
	// InitLeaf is a directory's descriptor that init can be cloned into, or -1.
	InitLeaf() int
	// Join puts init into the group and insists that it is there.
	Join(ctx context.Context, pid int) error
	// JobLeaf is the leaf that the job's process enters: its cgroup.procs, open
	// for writing, and its directory.
	JobLeaf() (procs, dir int)
	// Procs is the cgroup.procs of the whole group, for a job that may divide
	// its own.
	Procs() int
}

// Sandbox is a sandbox that has been started. Its methods may be called from
// one goroutine, Kill from any.
type Sandbox struct {
	*Child
	plan *plan.Plan
	// readBack says where in the program, which is shared with init, results
	// of calls appear, by op.
	readBack map[int]uint64

	mu     sync.Mutex // pidfd: after Close its number may be another sandbox's
	closed bool
}

// ErrStopped is what Receive returns when Config.StopAt was reached.
var ErrStopped = errors.New("init has stopped before the op asked for")

// Start starts a sandbox. The plan must have passed plan.Check. The caller must
// receive messages until the end.
func Start(cfg *Config) (*Sandbox, error) {
	c := cfg.Child
	leaf := -1
	if cfg.Group != nil {
		leaf = cfg.Group.InitLeaf()
	}
	// What is sent must come below what is kept of what is done ahead.
	ahead := firstFreeFD+3+len(cfg.Packs)+len(cfg.Views)+4 <= aheadFD
	if c != nil && (leaf >= 0 || !c.fits(cfg.Plan, ahead)) {
		c.Discard()
		c = nil
	}
	if c == nil {
		c = cloneInto(leaf, cfg.Plan.Namespaces, cfg.Plan.IDs.CloneUID, cfg.Plan.IDs.CloneGID, ahead && worthAhead(cfg.Plan.Namespaces))
	}
	if leaf >= 0 {
		<-c.made
	}
	// The clone takes longer than the lowering, which is done beside it.
	program, readBack, err := lower(cfg, c.inLeaf, c.begun)
	instruct := func() error { return c.instruct(cfg, program) }
	s, merr := c.start(cfg.Plan, instruct, err)
	if merr != nil && c.early && err == nil {
		// What entry could not do, or the same failure with its reason.
		c = cloneInto(leaf, cfg.Plan.Namespaces, cfg.Plan.IDs.CloneUID, cfg.Plan.IDs.CloneGID, c.ahead)
		program, readBack, err = lower(cfg, c.inLeaf, nil)
		s, merr = c.start(cfg.Plan, instruct, err)
	}
	if merr != nil {
		return nil, merr
	}
	s.readBack = readBack
	if err := s.setGoing(cfg); err != nil {
		_, _ = s.Close()
		return nil, err
	}
	return s, nil
}

// start gives the child its program, and waits for it. An error of making the
// program ends it. The launcher may not have spoken yet, for init is often at
// work before it is: whoever is adopted has been told what to do.
func (c *Child) start(p *plan.Plan, instruct func() error, err error) (*Sandbox, error) {
	<-c.made
	if c.err == nil && err == nil {
		err = instruct()
	}
	if cerr := c.wait(); cerr != nil {
		return nil, errors.Join(cerr, err)
	}
	s := &Sandbox{Child: c, plan: p}
	if err != nil {
		_, _ = s.Close()
		return nil, err
	}
	return s, nil
}

// instruct writes the program, and sends the descriptors where a control group
// adds none.
func (c *Child) instruct(cfg *Config, b block) error {
	err := c.hand(b)
	if err == nil && cfg.Plan.Find(plan.Cgroup) == nil {
		err = c.tell('D', cfg.descriptors())
	}
	return err
}

// hand writes the program and says that it is there.
func (c *Child) hand(b block) error {
	if err := b.write(c.program); err != nil {
		return fmt.Errorf("writing a memory file: %w", err)
	}
	return c.tell('P', nil)
}

// descriptors are what every init is sent.
func (cfg *Config) descriptors() []int {
	fds := []int{int(cfg.Stdio[0]), int(cfg.Stdio[1]), int(cfg.Stdio[2])}
	for _, p := range cfg.Packs {
		fds = append(fds, int(p.content.Fd()))
	}
	for _, v := range cfg.Views {
		fds = append(fds, v.fd)
	}
	if cfg.Keep > 0 {
		fds = append(fds, cfg.Keep)
	}
	return fds
}

// setGoing puts init into its control group, and gives the user namespace its
// maps where init cannot.
func (s *Sandbox) setGoing(cfg *Config) error {
	if cfg.Plan.Find(plan.Cgroup) != nil {
		fds := cfg.descriptors()
		if cfg.Group == nil {
			return errors.New("launch: nobody to make the control group")
		}
		ctx := cfg.Context
		if ctx == nil {
			ctx = context.Background()
		}
		// Before anything else: init has changed nothing of its own yet.
		if err := cfg.Group.Join(ctx, s.pid); err != nil {
			return err
		}
		procs, dir := cfg.Group.JobLeaf()
		fds = append(fds, procs, dir)
		if cfg.Plan.Find(plan.Cgroup).Flags.Has(plan.Delegated) {
			fds = append(fds, cfg.Group.Procs())
		}
		if err := s.tell('D', fds); err != nil {
			return err
		}
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
	return s.tell('M', nil)
}

// tell sends init one byte, with descriptors. That init is gone is found when
// it is listened to.
func (c *Child) tell(b byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	err := unix.Sendmsg(c.channel, []byte{b}, rights, nil, unix.MSG_NOSIGNAL)
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("writing to init: %w", err)
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
	if n, err := unix.Pread(s.program, b, int64(at-aheadAddress)); err != nil || n != size {
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
	_, ru, err := s.end()
	s.mu.Lock()
	s.closed = true
	unix.Close(s.pidfd)
	s.mu.Unlock()
	if err != nil {
		return Usage{}, err
	}
	return rusage(ru), nil
}
