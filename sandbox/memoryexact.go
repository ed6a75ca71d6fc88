package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// exactMemory is what a sandbox's processes hold of their own, every page
// counted once: proportional shares of anonymous memory, of swap, and of
// shared memory that is in no tmpfs and no SysV segment (those are counted
// where they live). Pages of files on the host's disks are not the job's.
type exactMemory struct {
	scan *procScan
	buf  []byte // for smaps, which is long; allocated on first use
	sum  int64
	err  error
}

// total is the least of some sums where one is doubtful: a job that takes more
// than it may does so a moment later as well.
func (x *exactMemory) total() (int64, error) {
	sum, doubtful, err := x.once()
	for range 2 {
		if err != nil || !doubtful {
			break
		}
		time.Sleep(2 * time.Millisecond)
		var again int64
		again, doubtful, err = x.once()
		sum = min(sum, again)
	}
	return sum, err
}

// once scans once more, since every process has to be asked anyway.
func (x *exactMemory) once() (sum int64, doubtful bool, err error) {
	x.sum, x.err = 0, nil
	all := map[int]procStat{}
	seen, err := x.scan.scan(func(pid int, st procStat) { all[pid] = st })
	if err != nil {
		return 0, false, err
	}
	// Time of the thread's own: that the job keeps all CPUs busy is no reason
	// to measure it by a coarser rule.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	end := threadTime() + exactBudget(seen.rssPages)
	own := make(map[int]int64, len(all))
	for pid, st := range all {
		before := x.sum
		if threadTime() > end {
			x.addResident(pid, st)
		} else {
			x.add(pid, st)
		}
		own[pid] = x.sum - before
	}
	twice, doubtful := lent(all, own, bootTicks(), x.scan.vforking)
	return x.sum - twice, doubtful, x.err
}

// exactBudget is the time that an exact sum may take: some, and several times
// what the kernel needs to walk that many pages. Beyond it the time goes into
// mappings without pages, which a job makes only to blind brig meanwhile.
func exactBudget(pages int64) time.Duration {
	return min(50*time.Millisecond+time.Duration(pages)*400*time.Nanosecond, time.Second)
}

// threadTime is the CPU time of the current thread. Where it cannot be had it
// is 0, so that the budget does not end.
func threadTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// addResident adds what the kernel's counters say without a walk: pages that
// processes share count once for each of them.
func (x *exactMemory) addResident(pid int, st procStat) {
	for _, key := range [...]string{"\nRssAnon:", "\nRssShmem:", "\nVmSwap:", "\nVmPTE:"} {
		n, err := x.scan.statusOf(pid, st, key)
		if err != nil {
			x.err = err
			return
		}
		x.sum += n
	}
}

// bootTicks is the time since boot in the unit of /proc.
func bootTicks() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 1 << 62 // nobody is young
	}
	return ts.Sec*userHZ + ts.Nsec/(1e9/userHZ)
}

func (x *exactMemory) add(pid int, st procStat) {
	dir, err := x.scan.memoryDir(pid, st)
	if err != nil {
		x.err = err
		return
	}
	tables, err := x.scan.tablesOf(pid, st)
	if err != nil {
		x.err = err
		return
	}
	x.sum += tables
	b, err := x.scan.read(pid, dir+"/smaps_rollup")
	switch {
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		// It executes a program that it may not read. That must not hide its
		// memory, so all that is resident counts as its own.
		x.sum += st.rssPages * int64(unix.Getpagesize())
		return
	case err != nil:
		x.err = fmt.Errorf("exact memory of a process: %w", err)
		return
	}
	var shared int64
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		key, value, _ := bytes.Cut(line, []byte(":"))
		switch string(key) {
		case "Pss_Anon", "SwapPss":
			x.sum += kilobytes(value)
		case "Pss_Shmem":
			shared = kilobytes(value)
		}
	}
	if shared > 0 {
		x.addShared(strconv.Itoa(pid)+dir, shared)
	}
}

// addShared adds the mappings of shared memory without a file system that
// anybody could see into: the kernel names them so, and a job that gives a
// file such a name only charges itself.
//
// all is what the process shares, of which these are a part.
func (x *exactMemory) addShared(process string, all int64) {
	if x.buf == nil {
		x.buf = make([]byte, 32<<10)
	}
	fd, err := unix.Openat(x.scan.dir, process+"/smaps", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		// It has changed its ids, or its program, since its sum was read.
		x.sum += all
		return
	default:
		x.err = fmt.Errorf("/proc/%s/smaps: %w", process, err)
		return
	}
	defer func() { _ = unix.Close(fd) }()
	counts := false
	err = eachLine(fd, x.buf, func(line []byte) {
		switch {
		case len(line) > 0 && (line[0] <= '9' || line[0] >= 'a' && line[0] <= 'f'):
			counts = bytes.Contains(line, []byte(" /dev/zero (deleted)")) ||
				bytes.Contains(line, []byte(" /memfd:")) || bytes.Contains(line, []byte(" [anon_shmem:"))
		case counts && bytes.HasPrefix(line, []byte("Pss:")):
			x.sum += kilobytes(line[4:])
		}
	})
	if err != nil && !errors.Is(err, unix.ESRCH) {
		x.err = fmt.Errorf("/proc/%s/smaps: %w", process, err)
	}
}

// kilobytes reads a value like "   1234 kB".
func kilobytes(b []byte) int64 {
	for {
		word, rest := nextWord(b)
		if len(word) > 0 || len(rest) == 0 {
			return number(word) << 10
		}
		b = rest
	}
}
