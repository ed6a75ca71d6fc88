package libseccomp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy/seccomp"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// victimEnv makes the test binary a victim: it loads the program in the file,
// then makes the system call or executes the command of its arguments.
const victimEnv = "BRIG_SECCOMP_VICTIM"

func TestMain(m *testing.M) {
	if file := os.Getenv(victimEnv); file != "" {
		if err := victim(file, os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "victim:", err)
			os.Exit(99)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// install loads the filters onto all threads, in order.
func install(c *seccomp.Compiled) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	for i, insns := range c.Filters {
		filters := make([]unix.SockFilter, len(insns))
		for j, in := range insns {
			filters[j] = unix.SockFilter{Code: in.Code, Jt: in.JT, Jf: in.JF, K: in.K}
		}
		prog := unix.SockFprog{Len: uint16(len(filters)), Filter: &filters[0]}
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
		runtime.KeepAlive(filters)
		if errno != 0 {
			return fmt.Errorf("loading filter %d: %w", i, errno)
		}
	}
	return nil
}

// victim writes the errno of one call, the time to load, or becomes a command.
func victim(file string, args []string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c seccomp.Compiled
	if err := c.UnmarshalBinary(b); err != nil {
		return err
	}
	runtime.LockOSThread()
	start := time.Now()
	if err := install(&c); err != nil {
		return err
	}
	took := time.Since(start)
	switch args[0] {
	case "load":
		fmt.Println(took.Nanoseconds())
		return nil
	case "exec":
		if err := os.Unsetenv(victimEnv); err != nil {
			return err
		}
		return syscall.Exec(args[1], args[1:], os.Environ())
	}
	var v [7]uintptr
	for i := range min(len(args), len(v)) {
		n, err := strconv.ParseUint(args[i], 0, 64)
		if err != nil {
			return err
		}
		v[i] = uintptr(n)
	}
	_, _, errno := unix.RawSyscall6(v[0], v[1], v[2], v[3], v[4], v[5], v[6])
	fmt.Println(int(errno))
	return nil
}

// program compiles settings for this machine into a file that anybody can read.
func program(t testing.TB, s seccomp.Settings, o seccomp.Options) string {
	t.Helper()
	p, err := seccomp.Resolve(s, o, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "filter.bpf")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// underFilter runs the victim. killed tells that the filter ended it.
func underFilter(t testing.TB, file string, args ...string) (output string, killed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), victimEnv+"="+file)
	var out, diag bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &diag
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status, ok := exit.Sys().(syscall.WaitStatus)
		if ok && status.Signaled() && status.Signal() == unix.SIGSYS {
			return out.String(), true
		}
	}
	if err != nil {
		t.Fatalf("victim %q: %v\n%s%s", args, err, out.String(), diag.String())
	}
	return strings.TrimSpace(out.String()), false
}

// TestKernelDeniesWhatTheProfileDenies makes real calls under the real filter.
// Every call here would do something else, or fail otherwise, without it.
func TestKernelDeniesWhatTheProfileDenies(t *testing.T) {
	soft := program(t, seccomp.Settings{Base: "default", OnDeny: "EXDEV"}, seccomp.Options{SupervisedMemory: true})
	hard := program(t, seccomp.Settings{Base: "default", OnDeny: "kill"}, seccomp.Options{})
	const high = "0xabcdef0100000000"
	with := func(low uint64) string {
		h, err := strconv.ParseUint(high, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%#x", h|low)
	}
	n := func(v uint64) string { return fmt.Sprintf("%#x", v) }
	tests := []struct {
		name   string
		args   []string
		errno  unix.Errno // under EXDEV
		killed bool       // under kill
	}{
		{"unshare user", []string{n(unix.SYS_UNSHARE), n(unix.CLONE_NEWUSER)}, unix.EXDEV, true},
		{"clone user", []string{n(unix.SYS_CLONE), n(unix.CLONE_NEWUSER | uint64(unix.SIGCHLD))}, unix.EXDEV, true},
		{"setns", []string{n(unix.SYS_SETNS), "0", "0"}, unix.EXDEV, true},
		{"mount", []string{n(unix.SYS_MOUNT)}, unix.EXDEV, true},
		{"fsopen", []string{n(unix.SYS_FSOPEN)}, unix.EXDEV, true},
		{"keyctl", []string{n(unix.SYS_KEYCTL)}, unix.EXDEV, true},
		{"bpf", []string{n(unix.SYS_BPF)}, unix.EXDEV, true},
		{"perf", []string{n(unix.SYS_PERF_EVENT_OPEN)}, unix.EXDEV, true},
		{"userfaultfd", []string{n(unix.SYS_USERFAULTFD)}, unix.EXDEV, true},
		{"vsock", []string{n(unix.SYS_SOCKET), n(unix.AF_VSOCK), "1"}, unix.EXDEV, true},
		{"vsock, high bits", []string{n(unix.SYS_SOCKET), with(unix.AF_VSOCK), "1"}, unix.EXDEV, true},
		{"alg", []string{n(unix.SYS_SOCKET), n(unix.AF_ALG), "5"}, unix.EXDEV, true},
		{"packet", []string{n(unix.SYS_SOCKET), n(unix.AF_PACKET), "3"}, unix.EXDEV, true},
		{"packet by inet", []string{n(unix.SYS_SOCKET), n(unix.AF_INET), n(unix.SOCK_PACKET | unix.SOCK_CLOEXEC)}, unix.EXDEV, true},
		{"netfilter", []string{n(unix.SYS_SOCKET), n(unix.AF_NETLINK), "3", n(unix.NETLINK_NETFILTER)}, unix.EXDEV, true},
		{"route", []string{n(unix.SYS_SOCKET), n(unix.AF_NETLINK), "3", "0"}, 0, false},
		{"unix", []string{n(unix.SYS_SOCKET), n(unix.AF_UNIX), "1", "0"}, 0, false},
		{"TIOCSTI", []string{n(unix.SYS_IOCTL), "0", n(unix.TIOCSTI), "0"}, unix.EXDEV, true},
		{"TIOCSTI, high bits", []string{n(unix.SYS_IOCTL), "0", with(unix.TIOCSTI), "0"}, unix.EXDEV, true},
		{"TIOCLINUX, high bits", []string{n(unix.SYS_IOCTL), "0", with(0x541c), "0"}, unix.EXDEV, true},
		{"another ioctl", []string{n(unix.SYS_IOCTL), "1000", n(unix.TIOCGWINSZ), "0"}, unix.EBADF, false},
		{"clone3", []string{n(unix.SYS_CLONE3), "0", "0"}, unix.ENOSYS, false},
		{"io_uring", []string{n(unix.SYS_IO_URING_SETUP), "1", "0"}, unix.ENOSYS, false},
		{"process 1's limits", []string{n(unix.SYS_PRLIMIT64), with(1), "7", "0", "0"}, unix.EPERM, false},
		{"own limits", []string{n(unix.SYS_PRLIMIT64), "0", "7", "0", "0"}, 0, false},
		{"process 1's priority", []string{n(unix.SYS_SETPRIORITY), "0", "1", "0"}, unix.EPERM, false},
		{"newer than brig", []string{"1000"}, unix.ENOSYS, false},
		{"no call", []string{n(1<<64 - 1)}, unix.ENOSYS, false},
	}
	for _, test := range tests {
		out, killed := underFilter(t, soft, test.args...)
		if killed || out != strconv.Itoa(int(test.errno)) {
			t.Errorf("%s: errno %s (killed: %v), want %d", test.name, out, killed, int(test.errno))
		}
		if _, killed := underFilter(t, hard, test.args...); killed != test.killed {
			t.Errorf("%s with on_deny = kill: killed %v, want %v", test.name, killed, test.killed)
		}
	}
	if out, _ := underFilter(t, soft, n(unix.SYS_MEMFD_CREATE), "0"); out != strconv.Itoa(int(unix.ENOSYS)) {
		t.Errorf("memfd_create with supervised memory: errno %s, want ENOSYS", out)
	}
	if out, _ := underFilter(t, hard, n(unix.SYS_MEMFD_CREATE), "0"); out != strconv.Itoa(int(unix.EFAULT)) {
		t.Errorf("memfd_create otherwise: errno %s, want EFAULT", out)
	}
}

// TestForeignCallsEndTheProcess enters the kernel by the 32-bit door (int 0x80)
// and with x32 numbers: a filter that looks at numbers only would take them for
// other calls.
func TestForeignCallsEndTheProcess(t *testing.T) {
	sandboxtest.Need(t, "amd64")
	file := program(t, seccomp.Settings{Base: "default"}, seccomp.Options{})
	for name, code := range map[string][]byte{
		"int 0x80": {0xb8, 20, 0, 0, 0, 0xcd, 0x80},            // eax = getpid of i386
		"x32":      {0xb8, 0x27, 0x00, 0x00, 0x40, 0x0f, 0x05}, // eax = getpid | x32 bit
	} {
		t.Run(name, func(t *testing.T) {
			exe := tinyProgram(t, code)
			if err := exec.CommandContext(t.Context(), exe).Run(); err != nil {
				sandboxtest.Lacks(t, name, fmt.Errorf("it fails even without a filter: %w", err))
			}
			if _, killed := underFilter(t, file, "exec", exe); !killed {
				t.Error("the process lived on")
			}
		})
	}
}

// tinyProgram writes an ELF executable that runs the code and exits with 0.
func tinyProgram(t *testing.T, code []byte) string {
	t.Helper()
	code = append(code, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05) // exit(0)
	const base, head = 0x400000, 64 + 56
	size := uint64(head + len(code))
	b := append([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1}, make([]byte, 9)...)
	le := binary.LittleEndian
	b = le.AppendUint16(b, 2)
	b = le.AppendUint16(b, 62)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+head)
	b = le.AppendUint64(b, 64)
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // read, execute
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	file := filepath.Join(t.TempDir(), "tiny")
	if err := os.WriteFile(file, append(b, code...), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}
