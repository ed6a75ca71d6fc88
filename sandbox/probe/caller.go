package probe

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxPasswd is how much of /etc/passwd is read, in bytes: some ten thousand
// accounts. A caller further behind is known by its environment.
const maxPasswd = 1 << 20

// account fills in the caller's name and home directory: the name from
// /etc/passwd, the home from HOME, as shells have it. Users of a directory
// service are in no file; USER names them, and nothing is decided by it but
// whose lines of /etc/subuid apply, which newuidmap checks for itself.
func (h *Host) account() {
	var home string
	h.User, home = passwdEntry("/etc/passwd", h.UID)
	if h.User == "" {
		h.User = plainName(os.Getenv("USER"))
	}
	if h.HomeDir = os.Getenv("HOME"); !strings.HasPrefix(h.HomeDir, "/") {
		h.HomeDir = home
	}
}

// plainName returns the name if it can be one of passwd(5), else "".
func plainName(name string) string {
	if len(name) > 256 || strings.ContainsAny(name, ":\n\x00/ ") {
		return ""
	}
	return name
}

// passwdEntry finds the first line of a passwd file with the uid.
func passwdEntry(file string, uid uint32) (name, home string) {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", ""
	}
	defer unix.Close(fd)
	// Most files fit the first buffer.
	buf := make([]byte, 4<<10)
	n := 0
	for n < maxPasswd {
		if n == len(buf) {
			buf = append(buf, make([]byte, len(buf))...)
		}
		m, err := unix.Read(fd, buf[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || m <= 0 {
			break
		}
		n += m
	}
	return findPasswd(buf[:n], uid)
}

// findPasswd reads lines of name:password:uid:gid:gecos:home:shell.
func findPasswd(text []byte, uid uint32) (name, home string) {
	want := strconv.AppendUint(make([]byte, 0, 12), uint64(uid), 10)
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		user, rest, ok := bytes.Cut(line, []byte{':'})
		_, rest, ok2 := bytes.Cut(rest, []byte{':'})
		id, rest, ok3 := bytes.Cut(rest, []byte{':'})
		if !ok || !ok2 || !ok3 || len(user) == 0 || !bytes.Equal(id, want) {
			continue
		}
		fields := strings.SplitN(string(rest), ":", 4)
		if len(fields) > 2 {
			home = fields[2]
		}
		return string(user), home
	}
	return "", ""
}

// affinity returns the CPUs that the caller may use, in their order. The
// kernel has at most 8192.
func affinity() ([]int, error) {
	var mask [8192 / 64]uint64
	n, _, errno := unix.RawSyscall(unix.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return nil, fmt.Errorf("asking for the CPUs that may be used: %w", errno)
	}
	words := mask[:min(int(n)/8, len(mask))]
	count := 0
	for _, w := range words {
		for ; w != 0; w &= w - 1 {
			count++
		}
	}
	cpus := make([]int, 0, count)
	for i, w := range words {
		for bit := 0; w != 0; bit, w = bit+1, w>>1 {
			if w&1 != 0 {
				cpus = append(cpus, i*64+bit)
			}
		}
	}
	return cpus, nil
}

// online counts the host's CPUs. Where /sys is hidden it is at least those
// that the caller may use.
func online(usable int) int {
	var buf [4096]byte
	text, err := readSmall("/sys/devices/system/cpu/online", buf[:])
	if err != nil {
		return usable
	}
	return max(countList(strings.TrimSpace(text)), usable)
}

// memoryNodes lists the nodes that have memory, which cpuset.mems takes; nil
// where /sys does not tell.
func memoryNodes() []int {
	var buf [4096]byte
	text, err := readSmall("/sys/devices/system/node/has_memory", buf[:])
	if err != nil {
		return nil
	}
	return members(strings.TrimSpace(text))
}

// countList counts the members of a list such as "0-3,8"; 0 if it is none.
func countList(list string) int { return len(members(list)) }

// members lists the members of a list such as "0-3,8"; nil if it is none.
func members(list string) []int {
	var all []int
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 16)
		b, err2 := strconv.ParseUint(last, 10, 16)
		if err != nil || err2 != nil || b < a {
			return nil
		}
		for n := a; n <= b; n++ {
			all = append(all, int(n))
		}
	}
	return all
}
