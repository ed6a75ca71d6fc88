package sandbox

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the time between two looks. A look at a small job takes some 20 µs.
const (
	shortestPoll = time.Millisecond
	longestPoll  = 20 * time.Millisecond
	never        = time.Duration(1<<63 - 1)
)

// pollShare bounds what watching costs: after a look that took d, the next one
// comes after pollShare × d at the earliest, so that a sandbox full of
// processes is looked at more rarely instead of taking more than 5 % of a CPU.
// longestPause bounds it in turn: a job that makes looks slow, with many
// mappings in many processes, must not win itself minutes unwatched.
const (
	pollShare    = 20
	longestPause = 200 * time.Millisecond
)

// pollerConfig says what to watch. Nothing in it is closed by the poller.
type pollerConfig struct {
	procFD      int                // root of the sandbox's own procfs
	skip        func(pid int) bool // nil leaves out pid 1, brig's init
	memoryLimit Amount             // bytes; Unknown for none
	tmpfs       []int              // descriptors on the tmpfs brig made
	sysv        int                // /proc/sysvipc/shm opened inside; -1 for none
	cpuLimit    time.Duration      // 0 for none
	cpus        int                // that the sandbox can keep busy at once
	pids        Amount             // processes and threads allowed; Unknown for none
	// over is called at most once, from the poller's goroutine, with one of
	// the two set. The caller kills; the poller goes on counting until stop.
	over func(memory, cpu Overrun)
}

// pollerSeen is what a poller has learnt.
type pollerSeen struct {
	MemoryPeak Amount // bytes; Unknown when the job ended before the first look
	PIDsPeak   Amount // threads of all processes; Unknown likewise
	// PIDsReached says that as many threads were seen as are allowed. Not
	// having seen it proves nothing.
	PIDsReached bool
	CPU         time.Duration // highest sum seen
	Looks       int
	Err         error // the first failure to look; the limits did not hold from then on
}

// poller watches a sandbox that has no control group, in one goroutine.
type poller struct {
	conf   pollerConfig
	scan   *procScan
	memory memoryWatch
	cpu    cpuWatch
	exact  exactMemory
	swap   bool
	mu     sync.Mutex // of seen and what follows, for now
	seen   pollerSeen
	// memoryNow and threadsNow are what the last look found.
	memoryNow, threadsNow Amount
	first                 *time.Timer // begins run; a job that ends before costs no goroutine
	quit                  chan struct{}
	done                  chan struct{}
	once                  sync.Once
}

// firstLook is when a job is looked at first. One that is done by then has
// cost nothing; a greedy one has had 24 MB at the most, see memoryRate.
const firstLook = 3 * time.Millisecond

// startPoller begins to watch.
func startPoller(conf pollerConfig) (*poller, error) {
	if conf.skip == nil {
		conf.skip = func(pid int) bool { return pid == 1 }
	}
	scan, err := newProcScan(conf.procFD, conf.skip)
	if err != nil {
		return nil, err
	}
	p := &poller{
		conf: conf, scan: scan,
		memory:    memoryWatch{limit: max(int64(conf.memoryLimit), 0), tmpfs: conf.tmpfs, sysv: conf.sysv},
		cpu:       cpuWatch{limit: conf.cpuLimit, cpus: conf.cpus},
		exact:     exactMemory{scan: scan},
		seen:      pollerSeen{MemoryPeak: Unknown, PIDsPeak: Unknown},
		memoryNow: Unknown, threadsNow: Unknown,
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	p.swap = hostSwaps()
	p.first = time.AfterFunc(firstLook, p.run)
	return p, nil
}

// hostSwaps also holds where it cannot be found out.
func hostSwaps() bool {
	var host unix.Sysinfo_t
	return unix.Sysinfo(&host) != nil || host.Totalswap > 0
}

// stop ends the watch and returns what was seen.
func (p *poller) stop() pollerSeen {
	p.once.Do(func() {
		close(p.quit)
		if p.first.Stop() {
			p.scan.close()
			close(p.done)
		}
	})
	<-p.done
	return p.seen
}

func (p *poller) run() {
	defer close(p.done)
	defer p.scan.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	told := false
	for {
		select {
		case <-p.quit:
			return
		case <-timer.C:
		}
		if p.seen.Looks == 0 {
			// What a look costs is this thread's CPU time. Wall time would
			// count the waiting for a busy host's CPUs, and brig would look
			// away longest where a job is greediest.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
		}
		used := threadTime()
		err := p.look(time.Now())
		if p.stopping() {
			return // what is seen of a sandbox that is being torn down is no evidence
		}
		if err != nil && p.seen.Err == nil {
			p.mu.Lock()
			p.seen.Err = err
			p.mu.Unlock()
		}
		// A supervisor that cannot see must not let the job run on: the
		// caller gets the call, finds Err and reports a failure of brig.
		if over := p.memory.passed || p.cpu.over() || err != nil; over && !told {
			told = true
			p.conf.over(p.memory.overrun(), p.cpu.overrun())
		}
		if err != nil {
			return
		}
		next := min(p.memory.next(), p.cpu.next())
		timer.Reset(max(next, min(pollShare*(threadTime()-used), longestPause)))
	}
}

func (p *poller) stopping() bool {
	select {
	case <-p.quit:
		return true
	default:
		return false
	}
}

// now is what the last look found, while the watch goes on.
func (p *poller) now() (seen pollerSeen, memory, threads Amount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen, p.memoryNow, p.threadsNow
}

// look is one turn.
func (p *poller) look(now time.Time) error {
	var swapped int64
	var each func(int, procStat)
	var swapErr error
	if p.swap {
		each = func(pid int, st procStat) {
			n, err := p.scan.swapOf(pid, st)
			swapped, swapErr = swapped+n, errors.Join(swapErr, err)
		}
	}
	seen, err := p.scan.scan(each)
	if err = errors.Join(err, swapErr); err != nil {
		return err
	}
	seen.swapBytes = swapped
	p.cpu.see(seen.cpu())
	if err := p.memory.see(seen, now, p.exact.total); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memoryNow, p.threadsNow = Amount(p.memory.used()), Amount(seen.threads)
	p.seen.Looks++
	p.seen.CPU = p.cpu.used
	p.seen.MemoryPeak = Amount(p.memory.peak)
	p.seen.PIDsPeak = max(p.seen.PIDsPeak, Amount(seen.threads))
	if p.conf.pids >= 0 && p.seen.PIDsPeak >= p.conf.pids {
		p.seen.PIDsReached = true
	}
	return nil
}
