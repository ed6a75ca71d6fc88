package sandbox

import (
	"bytes"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// A child made by vfork, as posix_spawn and most runtimes make theirs, lives in
// its parent's memory until its exec, and the kernel counts that memory for
// both. Such a child is told by sizes that are its parent's to the page, and by
// its age; on a busy host, where it may become old before its exec, by a thread
// of its parent's that stands in the kernel and waits for it. A job that
// imitates it gains at most what its old processes are counted with, once for as
// many young children as threads usually start at once. Nothing is gained with
// old ones: for each that does not count, one thread waits, for one that lives in
// the same memory.
//
// A child that the parent no longer waits for may still be on its way into its
// own memory, and sizes may change between the reading of one and the other: a
// sum with a child that is hardly older makes it doubtful.
const (
	maxBorrowers  = 4
	borrowerTicks = userHZ / 10
	doubtfulTicks = 2 * userHZ
)

// lent is what is counted twice because children live in their parents'
// memory: never more than is counted for the parent itself, so that a parent
// whose pages are those of a host file lends nothing. waiting tells how many
// threads of a process wait for a child made by vfork. The sum is doubtful where
// another child may be one as well.
func lent(all map[int]procStat, own map[int]int64, now int64, waiting func(pid int) int) (sum int64, doubtful bool) {
	waits := map[int]int{}
	waitsOf := func(pid int) int {
		n, ok := waits[pid]
		if !ok {
			n = waiting(pid)
			waits[pid] = n
		}
		return n
	}
	borrows := func(st procStat) (young, old bool) {
		parent, ok := all[st.parent]
		if !ok || st.rssPages != parent.rssPages || st.vsize != parent.vsize {
			return false, false
		}
		young = now-st.started <= borrowerTicks
		return young, !young && waitsOf(st.parent) > 0
	}
	youngs, olds := map[int]int{}, map[int]int{}
	for pid, st := range all {
		young, old := borrows(st)
		lender, ok := all[st.parent]
		if y, o := borrows(lender); y || o {
			young, old = false, false
		}
		switch {
		case young && youngs[st.parent] < maxBorrowers:
			youngs[st.parent]++
		case old && olds[st.parent] < waitsOf(st.parent):
			olds[st.parent]++
		default:
			doubtful = doubtful || ok && st.vsize == lender.vsize && now-st.started <= doubtfulTicks
			continue
		}
		sum += min(own[pid], own[st.parent])
	}
	return sum, doubtful
}

// vforking counts the threads of a process that wait in the kernel for a child
// made by vfork to execute a program: they cannot be interrupted, in clone or
// vfork, which no other call than those waits in. Where the kernel does not tell,
// nobody is known to wait.
func (p *procScan) vforking(pid int) int {
	n := 0
	_ = p.threadsOf(pid, func(tid int) (bool, error) {
		dir := "/task/" + strconv.Itoa(tid)
		b, err := p.read(pid, dir+"/stat")
		if err != nil || b == nil {
			return true, err
		}
		if st, ok := parseStat(b); !ok || st.state != 'D' {
			return true, nil
		}
		if b, err = p.read(pid, dir+"/syscall"); err != nil {
			return true, err
		}
		number, _, _ := bytes.Cut(b, []byte(" "))
		if isFork(string(number)) {
			n++
		}
		return n < maxBorrowers, nil
	})
	return n
}

// isFork tells whether a system call's number is of one that can wait as vfork
// does.
func isFork(number string) bool {
	const vfork = "58" // only amd64 has it
	return number == strconv.Itoa(unix.SYS_CLONE) || number == strconv.Itoa(unix.SYS_CLONE3) || number == vfork && runtime.GOARCH == "amd64"
}
