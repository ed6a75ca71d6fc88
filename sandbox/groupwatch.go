package sandbox

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
)

// groupWatch looks at what a control group has counted, for the limit that has
// no file of its own, CPU time, and for the peaks that older kernels do not
// keep. It is one read of a file a look, however many processes there are.
type groupWatch struct {
	group *cgroup.Group
	cpu   cpuWatch
	over  func(Overrun)

	mu    sync.Mutex
	timer *time.Timer
	done  bool
	// memoryPeak and pidsPeak are the most that was seen; Unknown before the
	// first look.
	memoryPeak, pidsPeak Amount
}

// watchGroup begins to watch. limit is the CPU time allowed, 0 for none, and
// cpus how many CPUs the sandbox can keep busy at once. over is called at most
// once.
func watchGroup(g *cgroup.Group, limit time.Duration, cpus int, over func(Overrun)) *groupWatch {
	w := &groupWatch{group: g, cpu: cpuWatch{limit: limit, cpus: cpus}, over: over, memoryPeak: Unknown, pidsPeak: Unknown}
	w.mu.Lock()
	w.timer = time.AfterFunc(shortestPoll, w.look)
	w.mu.Unlock()
	return w
}

// stop ends the watch.
func (w *groupWatch) stop() {
	w.mu.Lock()
	w.done = true
	w.timer.Stop()
	w.mu.Unlock()
}

func (w *groupWatch) look() {
	w.mu.Lock()
	if w.done {
		w.mu.Unlock()
		return
	}
	c, err := w.group.ReadUsage()
	if err != nil {
		// The group is gone, and with it every process in it.
		w.done = true
		w.mu.Unlock()
		return
	}
	w.cpu.see(c.User + c.System)
	w.memoryPeak = max(w.memoryPeak, Amount(c.Memory))
	w.pidsPeak = max(w.pidsPeak, Amount(c.PIDs))
	passed := w.cpu.over()
	if passed {
		w.done = true
	} else {
		w.timer.Reset(min(w.cpu.next(), longestPoll))
	}
	o := w.cpu.overrun()
	w.mu.Unlock()
	if passed {
		o.Kernel = true
		w.over(o)
	}
}

// peaks are the highest uses seen.
func (w *groupWatch) peaks() (memory, pids Amount) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.memoryPeak, w.pidsPeak
}

// freeze stops the job, or lets it go on.
func (v *supervisor) freeze(frozen bool) error {
	if v.s.group == nil {
		return newError(CodeCgroup, "the job cannot be frozen: it has no control group", "see brig doctor")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.job == nil {
		return fmt.Errorf("the job is not running: %w", os.ErrProcessDone)
	}
	return v.s.group.Freeze(frozen)
}
