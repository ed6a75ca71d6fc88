package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// memoryWatch holds a memory limit on a sandbox where no control group does:
// the supervisor sums what the sandbox's processes have resident, the blocks
// of every tmpfs that brig made for it and its SysV segments.
//
// The sum is made in two ways. The quick one adds resident sets from
// /proc/PID/stat. It counts a page shared by ten processes ten times and the
// pages of host files as well, so it is nearly always too high: below the limit
// it settles the matter, above it the exact sum is made before anything is
// killed. That one adds, from /proc/PID/smaps_rollup, proportional shares of
// anonymous and shared memory and of swap.
type memoryWatch struct {
	limit int64 // bytes; 0 for none, the peak is still found
	// tmpfs are descriptors on the super blocks that brig made.
	tmpfs []int
	// sysv is /proc/sysvipc/shm opened inside the sandbox: what it lists
	// belongs to the reader's IPC namespace at the time of opening. -1 for none.
	sysv int

	peak    int64
	seen    int64 // the exact sum that passed the limit
	passed  bool
	quick   int64     // the last quick sum
	at      time.Time // when it was made
	growth  float64   // bytes a second, smoothed downwards only
	checked int64     // the quick sum at the last exact one
	excess  int64     // by how much the quick sum was too high then
	buf     [32 << 10]byte
}

// see takes a scan made at the given time and says whether the limit is
// passed. exact makes the exact sum of the processes' own memory.
func (m *memoryWatch) see(seen procSeen, at time.Time, exact func() (int64, error)) error {
	files, err := m.files()
	if err != nil {
		return err
	}
	quick := seen.rssPages*int64(unix.Getpagesize()) + seen.swapBytes + files
	m.learn(quick, at)
	// The kernel's own resident counters lag by some pages for each CPU and
	// thread, hence the margin. Growth by a quarter refreshes the excess, so
	// that the peak does not rest on an old one.
	// Page tables are in no resident set; they take at most a 512th of the
	// address space.
	suspect := m.limit > 0 && quick+m.limit/16+seen.vsize/512 > m.limit
	if !suspect && quick-m.checked <= m.checked/4 {
		m.peak = max(m.peak, quick-m.excess)
		return nil
	}
	own, err := exact()
	if err != nil {
		return err
	}
	total := own + files
	m.checked, m.excess = quick, max(quick-total, 0)
	m.peak = max(m.peak, total)
	if m.limit > 0 && total > m.limit {
		m.passed, m.seen = true, total
	}
	return nil
}

// learn keeps the rate of growth: a rise counts at once, a fall by halves, so
// that a job that allocates in bursts stays closely watched.
func (m *memoryWatch) learn(quick int64, at time.Time) {
	if dt := at.Sub(m.at).Seconds(); !m.at.IsZero() && dt > 0 {
		m.growth = max(float64(quick-m.quick)/dt, m.growth/2)
	}
	m.quick, m.at = quick, at
}

// used is what the last look found. The excess was that of an earlier one, which
// may have seen more processes than there are now.
func (m *memoryWatch) used() int64 { return max(m.quick-m.excess, 0) }

// memoryRate is what one job is expected to fill at most from standstill, in
// bytes a second; it sets how long brig may look away. Faster jobs (many
// threads, huge pages) overshoot by more: the receipt names that.
const memoryRate = 8 << 30

// next is the time until the next look: a quarter of the time in which the
// limit is reached at the present growth.
func (m *memoryWatch) next() time.Duration {
	if m.limit <= 0 {
		return longestPoll
	}
	left := float64(max(m.limit-m.used(), 0))
	wait := left / memoryRate
	if m.growth > 0 {
		wait = min(wait, left/m.growth/4)
	}
	return min(max(time.Duration(wait*float64(time.Second)), shortestPoll), longestPoll)
}

func (m *memoryWatch) overrun() Overrun {
	return Overrun{Over: m.passed, Limit: m.limit, Seen: m.seen}
}

// files is the memory that is in no process: tmpfs blocks and SysV segments.
func (m *memoryWatch) files() (int64, error) {
	var sum int64
	for _, fd := range m.tmpfs {
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil {
			return 0, fmt.Errorf("size of the sandbox's tmpfs: %w", err)
		}
		sum += int64(st.Blocks-st.Bfree) * st.Bsize
	}
	if m.sysv < 0 {
		return sum, nil
	}
	segments, err := sysvBytes(m.sysv, m.buf[:])
	if err != nil {
		return 0, fmt.Errorf("the sandbox's SysV segments: %w", err)
	}
	return sum + segments, nil
}

// sysvBytes sums the resident and swapped bytes of /proc/sysvipc/shm, the last
// two columns. They are counted here and not in the processes, since a segment
// lives on without any.
func sysvBytes(fd int, buf []byte) (int64, error) {
	var sum int64
	header := true
	err := eachLine(fd, buf, func(line []byte) {
		for column := 0; !header && len(line) > 0; {
			var word []byte
			if word, line = nextWord(line); len(word) == 0 {
				continue
			}
			if column == 14 || column == 15 {
				sum += number(word)
			}
			column++
		}
		header = false
	})
	return sum, err
}

// eachLine preads a procfs file from its start, however long it is. A line
// longer than the buffer comes in pieces.
func eachLine(fd int, buf []byte, line func([]byte)) error {
	have, offset := 0, int64(0)
	for {
		n, err := unix.Pread(fd, buf[have:], offset)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		}
		offset += int64(n)
		have += n
		rest := buf[:have]
		for {
			end := bytes.IndexByte(rest, '\n')
			if end < 0 {
				break
			}
			line(rest[:end])
			rest = rest[end+1:]
		}
		if len(rest) > 0 && (n == 0 || len(rest) == len(buf)) {
			line(rest)
			rest = nil
		}
		if n == 0 {
			return nil
		}
		have = copy(buf, rest)
	}
}

// memoryHoles names what the supervisor does not see or sees late, for the
// receipt. A memfd that no process maps is one more where memfd_create is
// allowed.
func memoryHoles() []string {
	return []string{
		"between two polls (1 to 20 ms, up to 200 ms and the time of the sum where the job has very many processes or mappings) a job can pass the limit by what it fills in that time",
		"while brig itself is stopped nothing is measured",
		"kernel memory (pipe and socket buffers, files opened and watched) and huge pages reserved by the host are not counted",
		"shared memory that a job has dropped from its page tables, or unmapped but for a part, is not counted",
	}
}
