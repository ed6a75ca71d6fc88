package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// procScan reads the state of every process of a sandbox through the sandbox's
// own procfs, where nothing else is visible. One read of /proc/PID/stat tells
// all that is needed at each turn: threads, memory and CPU time.
type procScan struct {
	dir   int // an open description of our own, for its offset
	first int64
	// skip leaves processes out: the sandbox's init, which is brig's.
	skip func(pid int) bool
	dirs [8 << 10]byte
	file [8 << 10]byte
}

// procSeen is what one scan saw, summed over all processes.
type procSeen struct {
	vsize     int64 // bytes of address space
	processes int
	threads   int
	rssPages  int64 // shared pages count once for each process that maps them
	swapBytes int64
	cpuTicks  int64 // of the living, and of the dead that they waited for
}

// userHZ is the unit of times in /proc, the same on every Linux architecture
// that brig supports.
const userHZ = 100

func (s procSeen) cpu() time.Duration {
	return time.Duration(s.cpuTicks) * (time.Second / userHZ)
}

// The root of a procfs lists its fixed entries, then "self" and "thread-self",
// then processes by number. The position of "self" has been 256 for as long as
// pid namespaces exist (FIRST_PROCESS_ENTRY); starting there skips some sixty
// names at each turn. newProcScan checks it and otherwise starts at 0.
const procSelfOffset = 256

func newProcScan(procFD int, skip func(pid int) bool) (*procScan, error) {
	dir, err := unix.Openat(procFD, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the sandbox's procfs: %w", err)
	}
	p := &procScan{dir: dir, skip: skip}
	if _, err = unix.Seek(dir, procSelfOffset, unix.SEEK_SET); err == nil {
		var n int
		n, err = unix.Getdents(dir, p.dirs[:])
		if err == nil && n > direntName+4 && string(p.dirs[direntName:direntName+5]) == "self\x00" {
			p.first = procSelfOffset
		}
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("list the sandbox's procfs: %w", err)
	}
	// A kernel built without it would make every exact sum 0.
	var st unix.Stat_t
	if err := unix.Fstatat(dir, "1/smaps_rollup", &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		p.close()
		return nil, fmt.Errorf("this kernel has no smaps_rollup (CONFIG_PROC_PAGE_MONITOR): %w", err)
	}
	return p, nil
}

func (p *procScan) close() { closeFD(&p.dir) }

// scan calls each for every process and returns the sums. A process that ends
// while it is looked at is left out.
func (p *procScan) scan(each func(pid int, st procStat)) (procSeen, error) {
	var sum procSeen
	if _, err := unix.Seek(p.dir, p.first, unix.SEEK_SET); err != nil {
		return sum, fmt.Errorf("list the sandbox's procfs: %w", err)
	}
	for {
		n, err := unix.Getdents(p.dir, p.dirs[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return sum, fmt.Errorf("list the sandbox's procfs: %w", err)
		}
		if n == 0 {
			return sum, nil
		}
		for rest := p.dirs[:n]; len(rest) > direntName; {
			length := int(rest[16]) | int(rest[17])<<8
			if length <= direntName || length > len(rest) {
				return sum, fmt.Errorf("list the sandbox's procfs: record of %d bytes: %w", length, unix.EIO)
			}
			pid, ok := pidOf(rest[direntName:length])
			rest = rest[length:]
			if !ok {
				continue
			}
			if err := p.add(&sum, pid, each); err != nil {
				return sum, err
			}
		}
	}
}

// add reads one process. The time of init counts even where init is left out:
// what it has waited for is the job's.
func (p *procScan) add(sum *procSeen, pid int, each func(int, procStat)) error {
	b, err := p.read(pid, "/stat")
	if err != nil || b == nil {
		return err
	}
	st, ok := parseStat(b)
	if !ok {
		return fmt.Errorf("/proc/%d/stat: unknown format: %w", pid, unix.EIO)
	}
	if dir, err := p.memoryDir(pid, st); err != nil {
		return err
	} else if dir != "" {
		if b, err = p.read(pid, dir+"/stat"); err != nil {
			return err
		}
		thread, _ := parseStat(b) // gone meanwhile: without memory
		st.rssPages = thread.rssPages
	}
	skipped := p.skip != nil && p.skip(pid)
	sum.cpuTicks += st.childTicks
	if skipped {
		return nil
	}
	sum.cpuTicks += st.ownTicks
	sum.processes++
	sum.threads += st.threads
	sum.rssPages += st.rssPages
	sum.vsize += st.vsize
	if each != nil {
		each(pid, st)
	}
	return nil
}

// read returns a file of one process, cut at the buffer's size, or nil where
// the process is gone.
func (p *procScan) read(pid int, name string) ([]byte, error) {
	fd, err := unix.Openat(p.dir, strconv.Itoa(pid)+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		var n int
		n, err = unix.Read(fd, p.file[:])
		_ = unix.Close(fd)
		if err == nil {
			return p.file[:max(n, 0)], nil
		}
	}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return nil, nil
	}
	return nil, fmt.Errorf("/proc/%d%s: %w", pid, name, err)
}

// memoryDir is what stands between /proc/PID and its files about memory. A
// process whose first thread has ended while others go on looks like a zombie
// without memory there: only its living threads show what they share.
func (p *procScan) memoryDir(pid int, st procStat) (string, error) {
	if st.state != 'Z' || st.threads < 2 {
		return "", nil
	}
	tid, err := p.livingThread(pid)
	if err != nil || tid == 0 {
		return "", err
	}
	return "/task/" + strconv.Itoa(tid), nil
}

// livingThread is a thread of the process that has memory, 0 where none has.
func (p *procScan) livingThread(pid int) (found int, err error) {
	err = p.threadsOf(pid, func(tid int) (bool, error) {
		if tid == pid {
			return true, nil
		}
		b, err := p.read(pid, "/task/"+strconv.Itoa(tid)+"/stat")
		if err != nil {
			return false, err
		}
		if st, ok := parseStat(b); ok && st.rssPages > 0 {
			found = tid
		}
		return found == 0, nil
	})
	return found, err
}

// threadsOf calls visit for the threads of a process until it says false, or
// fails. A process that is gone has none.
func (p *procScan) threadsOf(pid int, visit func(tid int) (bool, error)) error {
	fd, err := unix.Openat(p.dir, strconv.Itoa(pid)+"/task", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("/proc/%d/task: %w", pid, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var names [1 << 10]byte
	for {
		n, err := unix.Getdents(fd, names[:])
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH), err == nil && n == 0:
			return nil
		case err != nil:
			return fmt.Errorf("/proc/%d/task: %w", pid, err)
		}
		for rest := names[:n]; len(rest) > direntName; {
			length := int(rest[16]) | int(rest[17])<<8
			if length <= direntName || length > len(rest) {
				return fmt.Errorf("/proc/%d/task: record of %d bytes: %w", pid, length, unix.EIO)
			}
			tid, ok := pidOf(rest[direntName:length])
			rest = rest[length:]
			if !ok {
				continue
			}
			if more, err := visit(tid); err != nil || !more {
				return err
			}
		}
	}
}

// direntName is where the name starts in a linux_dirent64.
const direntName = 19

func pidOf(name []byte) (int, bool) {
	pid := 0
	for i, c := range name {
		if c == 0 {
			return pid, i > 0
		}
		if c < '0' || c > '9' || pid > 1<<26 {
			return 0, false
		}
		pid = pid*10 + int(c-'0')
	}
	return 0, false
}

// procStat is the part of /proc/PID/stat that is used; proc_pid_stat(5).
type procStat struct {
	state      byte
	ownTicks   int64 // utime + stime
	childTicks int64 // cutime + cstime
	threads    int
	rssPages   int64
	parent     int
	started    int64 // ticks since boot
	vsize      int64 // bytes
}

// parseStat starts behind the last parenthesis: the name before it is the
// process's own choice and may hold anything.
func parseStat(b []byte) (procStat, bool) {
	end := len(b) - 1
	for end >= 0 && b[end] != ')' {
		end--
	}
	if end < 0 || end+2 >= len(b) {
		return procStat{}, false
	}
	var st procStat
	field := 3 // as counted in the manual page; b[end+2:] starts with it
	for rest := b[end+2:]; len(rest) > 0; field++ {
		var word []byte
		word, rest = nextWord(rest)
		switch field {
		case 3:
			if len(word) > 0 {
				st.state = word[0]
			}
		case 4:
			st.parent = int(number(word))
		case 14, 15:
			st.ownTicks += number(word)
		case 16, 17:
			st.childTicks += number(word)
		case 20:
			st.threads = int(number(word))
		case 22:
			st.started = number(word)
		case 23:
			st.vsize = number(word)
		case 24:
			st.rssPages = number(word)
			return st, true
		}
	}
	return procStat{}, false
}

func nextWord(b []byte) (word, rest []byte) {
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	b = b[i:]
	for i = 0; i < len(b) && b[i] != ' ' && b[i] != '\t' && b[i] != '\n'; i++ {
	}
	if i < len(b) {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// number reads decimal digits; negative values, which the kernel prints for
// times that ran backwards, count as 0.
func number(b []byte) int64 {
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' || n > 1<<58 {
			return 0
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// swapOf is a process's VmSwap: swapped pages are no longer resident, and a
// job must not pass its limit by being swapped out.
func (p *procScan) swapOf(pid int, st procStat) (int64, error) {
	return p.statusOf(pid, st, "\nVmSwap:")
}

// tablesOf is the size of a process's page tables.
func (p *procScan) tablesOf(pid int, st procStat) (int64, error) {
	return p.statusOf(pid, st, "\nVmPTE:")
}

func (p *procScan) statusOf(pid int, st procStat, key string) (int64, error) {
	dir, err := p.memoryDir(pid, st)
	if err != nil {
		return 0, err
	}
	b, err := p.read(pid, dir+"/status")
	if err != nil {
		return 0, err
	}
	_, after, found := bytes.Cut(b, []byte(key))
	if !found {
		return 0, nil // a zombie or a process without memory
	}
	return kilobytes(after), nil
}
