package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy"
	"github.com/brig-sandbox/brig/sandbox/cgroup"
	"github.com/brig-sandbox/brig/sandbox/launch"
	"github.com/brig-sandbox/brig/sandbox/plan"
)

// supervisor watches one sandbox: it gathers the evidence, ends the sandbox
// where a limit is passed, and draws up the result.
//
//	init's messages ─┐
//	context          ├─▶ evidence ─▶ kill ─▶ close ─▶ Result
//	deadline, poller ┤
//	output cap       ┘
type supervisor struct {
	s       *attempt
	started time.Time

	mu       sync.Mutex // evidence, job, ended
	evidence Evidence
	job      *os.File    // the job's pidfd
	ended    bool        // nothing is added to the evidence any more
	draining bool        // but for output, when the job ended by itself
	late     *time.Timer // ends a job that was asked to end; nil where none was

	poller *poller
	group  *groupWatch
	// counters are the group's, read once, before its processes are ended.
	counters  cgroup.Counters
	countOnce sync.Once
	bounds    []cgroup.Bound // limits of enclosing groups that are below the group's own
	upper     *upperWatch
	ready     map[string]*os.File
	end       *launch.End
	digest    string
	began     bool   // the job's process was let go
	fix       string // what the user can do about a failure
	// upperPeak is what the upper directory held at most.
	upperPeak Amount
}

func newSupervisor(s *attempt) *supervisor {
	return &supervisor{s: s, evidence: Evidence{FileSizeRlimit: Unknown}, ready: map[string]*os.File{}}
}

// over records a passed limit and ends the sandbox. The first end counts: what
// follows from it is no evidence.
func (v *supervisor) over(set func(*Evidence)) {
	v.mu.Lock()
	first := !v.ended
	if first {
		set(&v.evidence)
		v.ended = true
	}
	v.mu.Unlock()
	if first && v.s.box != nil {
		v.kill()
	}
}

// kill ends every process of the sandbox. What the control group has counted is
// read first, since a manager removes it with its last process.
func (v *supervisor) kill() {
	if g := v.s.group; g != nil {
		v.count()
		// Init's death would do; this one no fork gets away from, and it does
		// not wait for init to be scheduled.
		_ = g.Kill()
	}
	v.s.box.Kill()
}

// count reads what the control group has counted, the first time.
func (v *supervisor) count() {
	v.countOnce.Do(func() {
		v.counters = cgroup.NoCounters()
		if v.s.group != nil {
			v.counters, _ = v.s.group.Read() // what is gone is unknown
		}
	})
}

// outputOver counts also after the job's end: what is still in the pipe then is
// the job's output all the same. It does not count after another end, since
// more output is then no news.
func (v *supervisor) outputOver(o Overrun) {
	v.over(func(e *Evidence) { e.Output = o })
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.draining {
		v.evidence.Output = o
	}
}

func (v *supervisor) cancel(sig unix.Signal) {
	v.over(func(e *Evidence) { e.Cancelled, e.CancelSignal = true, sig })
}

func (v *supervisor) signal(sig unix.Signal) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.job == nil {
		return fmt.Errorf("the job is not running: %w", os.ErrProcessDone)
	}
	err := unix.PidfdSendSignal(int(v.job.Fd()), sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("the job is not running: %w", os.ErrProcessDone)
	}
	return err
}

// run is the life of the sandbox, from its clone to its result.
func (v *supervisor) run(ctx context.Context) {
	s := v.s
	v.started = time.Now()
	stop := context.AfterFunc(ctx, func() { v.stop(signalOf(ctx)) })
	defer stop()
	var deadline *time.Timer
	if d := s.spec.Policy.Limits.WallTime; d != policy.Unlimited {
		deadline = time.AfterFunc(time.Duration(d), func() {
			v.over(func(e *Evidence) {
				e.Wall = Overrun{Over: true, Limit: int64(d), Seen: int64(time.Since(v.started))}
			})
		})
		defer deadline.Stop()
	}
	v.digest = s.res.Plan.Digest() // while the sandbox is being set up
	err := v.receive()
	wall := time.Since(v.started)
	v.mu.Lock()
	v.draining = !v.ended && err == nil
	v.ended = true
	if v.late != nil {
		v.late.Stop()
	}
	v.mu.Unlock()
	v.finish(err, wall)
}

// receive takes init's messages until the end.
func (v *supervisor) receive() error {
	for {
		m, err := v.s.box.Receive()
		switch {
		case errors.Is(err, launch.ErrStopped):
			continue // until somebody ends it
		case err != nil:
			return err
		case m.Failed != nil:
			return m.Failed
		case m.End != nil:
			v.end = m.End
			if m.End.Failed != nil {
				return m.End.Failed
			}
			return nil
		}
		if err := v.begin(m.Ready); err != nil {
			return err
		}
	}
}

// begin takes the descriptors that init sent and starts to watch.
func (v *supervisor) begin(files []*os.File) error {
	names := v.s.res.Plan.Find(plan.Ready).Names
	for i, f := range files {
		if i < len(names) {
			v.ready[names[i]] = f
			continue
		}
		f.Close()
	}
	if len(files) != len(names) {
		return fmt.Errorf("init sent %d descriptors, not %d", len(files), len(names))
	}
	v.began = true
	v.mu.Lock()
	v.job = v.ready[launch.ReadyPidfd]
	v.mu.Unlock()
	if v.s.term != nil {
		if err := v.attach(v.ready[launch.ReadyMaster]); err != nil {
			return err
		}
	} else if err := v.s.io.start(); err != nil {
		return err
	}
	return v.watch()
}

// attach connects the caller's terminal with the job's. From then on the
// terminal's pump stands for the one that carries nothing.
func (v *supervisor) attach(master *os.File) error {
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("the job's terminal: %w", err)
	}
	pump, err := v.s.term.attach(fd, v.outputLimit(), v.outputOver, func() { v.cancel(unix.SIGHUP) })
	if err != nil {
		return err
	}
	master.Close()
	if err := v.s.io.finish(0); err != nil {
		pump.close()
		return err
	}
	v.s.io = pump
	return pump.start()
}

func (v *supervisor) outputLimit() Amount {
	if n := v.s.spec.Policy.Limits.Output; n != policy.Unlimited {
		return Amount(n)
	}
	return Unknown
}

// watch starts what watches the limits that the kernel does not hold.
func (v *supervisor) watch() error {
	l := &v.s.spec.Policy.Limits
	if v.s.upper != nil {
		v.upper = watchUpper(v.s.upper.data(), int64(l.Scratch), func(o Overrun) {
			v.over(func(e *Evidence) { e.Scratch = o })
		})
	}
	if v.s.group != nil {
		w := watchGroup(v.s.group, time.Duration(max(l.CPUTime, 0)), len(v.s.host.CPUs), func(o Overrun) {
			v.over(func(e *Evidence) { e.CPU = o })
		})
		v.mu.Lock()
		v.group = w
		v.mu.Unlock()
	}
	if !v.s.res.polls() {
		return nil
	}
	conf := pollerConfig{
		procFD: int(v.ready[launch.ReadyProc].Fd()), memoryLimit: Unknown, pids: Unknown,
		sysv: int(v.ready[launch.ReadyShm].Fd()), cpus: len(v.s.host.CPUs),
		over: func(memory, cpu Overrun) {
			v.over(func(e *Evidence) { e.Memory, e.CPU = memory, cpu })
		},
	}
	for name, f := range v.ready {
		if name == launch.ReadyScratch || len(name) > len(launch.ReadyTmpfs) && name[:len(launch.ReadyTmpfs)] == launch.ReadyTmpfs {
			conf.tmpfs = append(conf.tmpfs, int(f.Fd()))
		}
	}
	if l.Memory != policy.Unlimited {
		conf.memoryLimit = Amount(l.Memory)
	}
	if l.CPUTime != policy.Unlimited && v.group == nil {
		conf.cpuLimit = time.Duration(l.CPUTime)
	}
	if l.PIDs != policy.Unlimited {
		conf.pids = Amount(l.PIDs)
	}
	p, err := startPoller(conf)
	v.mu.Lock()
	v.poller = p
	v.mu.Unlock()
	return err
}

// finish ends what is left of the sandbox and draws up the result. Evidence
// that the kernel loses with the sandbox is read first.
func (v *supervisor) finish(err error, wall time.Duration) {
	s := v.s
	if v.upper != nil {
		v.upperPeak = Amount(v.upper.stop())
	}
	var seen *pollerSeen
	if v.poller != nil {
		got := v.poller.stop()
		seen = &got
		// It then ended the sandbox itself, or the sandbox's end ended it.
		if seen.Err != nil && v.end == nil && !v.killed() {
			err = fmt.Errorf("the limits could not be watched: %w", seen.Err)
		}
	}
	if v.group != nil {
		v.group.stop()
	}
	v.count()
	if s.group != nil {
		v.bounds = s.group.Above(cgroup.MemoryMax, cgroup.CPUMax, cgroup.PIDsMax)
	}
	proof := v.proof()
	v.mu.Lock()
	v.job = nil
	v.mu.Unlock()
	if h := s.spec.Hold; h != nil && v.began {
		if herr := h.take(v.ready); err == nil {
			err = herr
		}
	}
	for _, f := range v.ready {
		f.Close()
	}
	draw := func(total launch.Usage, cerr error) { v.draw(err, cerr, total, wall, proof, seen) }
	var cerr, ioerr error
	if v.end != nil && v.end.Alone {
		// Nobody writes any more. The kernel takes the sandbox down while the
		// rest is delivered and the result drawn up, which needs nothing of it.
		ioerr = s.io.finish(-1)
		draw(launch.Usage{}, nil)
		var total launch.Usage
		if total, cerr = s.box.Close(); cerr == nil {
			cerr = v.release()
		}
		if cerr != nil {
			draw(total, cerr)
		}
	} else {
		var total launch.Usage
		total, cerr = s.box.Close()
		ioerr = s.io.finish(outputPatience)
		if rerr := v.release(); cerr == nil {
			cerr = rerr
		}
		draw(total, cerr)
	}
	if s.term != nil {
		s.term.restore()
	}
	if v.evidence.Failure.Kind == BrigFailed {
		s.err = v.failure(err)
	}
	if ioerr != nil && s.err == nil {
		s.err = &Error{Code: CodeStdio, Message: SafeText(ioerr.Error()), Cause: ioerr}
	}
}

// release gives back what was held for the sandbox, once it is gone.
func (v *supervisor) release() (err error) {
	if v.s.upper != nil {
		err = v.s.upper.close()
	}
	if v.s.group != nil {
		if gerr := v.s.group.Close(); err == nil {
			err = gerr
		}
	}
	if v.s.lease != nil {
		v.s.lease.Close()
	}
	return err
}

// draw draws up the result.
func (v *supervisor) draw(err, closeErr error, total launch.Usage, wall time.Duration, p proof, seen *pollerSeen) {
	s := v.s
	e := &v.evidence
	if d := s.spec.Policy.Limits.WallTime; d != policy.Unlimited && wall > time.Duration(d) && !v.killed() && v.end != nil {
		// Brig was itself stopped or starved while the deadline passed.
		e.Wall = Overrun{Over: true, Limit: int64(d), Seen: int64(wall)}
	}
	v.conclude(err, closeErr, total, seen)
	r := NewResult(*e)
	r.PlanDigest = v.digest
	r.StartedAt = v.started.UTC()
	r.Usage.Wall = wall
	r.Usage.OutputBytes = Amount(s.io.outputBytes())
	v.peaks(r, seen)
	r.Receipt = v.receipts(p, seen, r)
	s.result = r
}

// peaks fills in what the job used at most. A job that ended before the first
// look is known by its largest process alone, which is a lower bound.
func (v *supervisor) peaks(r *Result, seen *pollerSeen) {
	if seen != nil {
		r.Usage.MemoryPeakBytes, r.Usage.PIDsPeak = seen.MemoryPeak, seen.PIDsPeak
	}
	defer v.groupUsage(r)
	if v.end == nil {
		return
	}
	r.Usage.Rusage.MaxRSS = v.end.Sandbox.MaxRSS
	r.Usage.MemoryPeakBytes = max(r.Usage.MemoryPeakBytes, Amount(v.end.Sandbox.MaxRSS))
	r.Usage.ReadBytes, r.Usage.WriteBytes = Amount(v.end.Sandbox.Read), Amount(v.end.Sandbox.Written)
	r.Usage.PIDsPeak = max(r.Usage.PIDsPeak, 1)
}

// outputPatience is how long brig waits for a caller who takes no output once
// the sandbox has been ended by force.
const outputPatience = 2 * time.Second
