package probe

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// deniedVariable makes the test binary a host on which system calls fail: the
// numbers and errnos to be denied, as JSON. It then tries the host and prints
// what it found.
const deniedVariable = "BRIG_PROBE_DENIED"

// denial is a system call that fails with an errno. With a mask it is only
// denied where the first argument has one of its bits.
type denial struct {
	Number, Errno, Mask uint32
}

func TestMain(m *testing.M) {
	text, ok := os.LookupEnv(deniedVariable)
	if !ok {
		os.Exit(m.Run())
	}
	var denied []denial
	if err := json.Unmarshal([]byte(text), &denied); err != nil {
		panic(err)
	}
	if len(denied) > 0 {
		deny(denied)
	}
	h, err := Try(context.Background(), Question{})
	if err != nil {
		panic(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(h); err != nil {
		panic(err)
	}
}

// deny loads a filter into every thread, as a container's runtime would have.
func deny(list []denial) {
	var prog []byte
	add := func(code uint16, jf uint8, k uint32) {
		prog = binary.LittleEndian.AppendUint16(prog, code)
		prog = append(prog, 0, jf) // jumps where true, where not
		prog = binary.LittleEndian.AppendUint32(prog, k)
	}
	const load, equal, anyBit, ret = 0x20, 0x15, 0x45, 0x06
	for _, d := range list {
		add(load, 0, 0) // the number
		if d.Mask == 0 {
			add(equal, 1, d.Number)
		} else {
			add(equal, 3, d.Number)
			add(load, 0, 16) // the first argument's low half
			add(anyBit, 1, d.Mask)
		}
		add(ret, 0, unix.SECCOMP_RET_ERRNO|d.Errno)
	}
	add(ret, 0, unix.SECCOMP_RET_ALLOW)
	fprog := unix.SockFprog{Len: uint16(len(prog) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0]))}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		panic(errno)
	}
}

// tryWith tries a host on which the system calls are denied.
func tryWith(t *testing.T, cache string, denied []denial, change func(*exec.Cmd)) *Host {
	t.Helper()
	text, err := json.Marshal(denied)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), deniedVariable+"="+string(text), "XDG_CACHE_HOME="+cache)
	cmd.Stderr = os.Stderr
	if change != nil {
		change(cmd)
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	h, err := Decode(out)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestTry finds that the machine at hand has what brig's other tests need.
func TestTry(t *testing.T) {
	sandboxtest.Need(t, "userns", "overlay", "tmpfs-xattr", "seccomp", "landlock", "subid")
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	h, err := Try(t.Context(), Question{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range FactNames() {
		if f := *h.Fact(name); f != (Fact{OK: true, Tried: true}) {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if list, err := os.ReadDir(cache); err != nil || len(list) > 0 {
		t.Errorf("a host without surprises left a cache: %v, %v", list, err)
	}
}

// TestTryDenied denies one mechanism after the other, with a filter around the
// process as a container has one, and looks that it alone is found missing.
func TestTryDenied(t *testing.T) {
	sandboxtest.Need(t, "userns", "overlay", "tmpfs-xattr", "seccomp", "landlock", "subid")
	for _, tt := range []struct {
		name    string
		denied  []denial
		missing map[FactName]string // with the cause
		cached  bool
	}{
		{"clone as in docker", []denial{{unix.SYS_CLONE, uint32(unix.EPERM), unix.CLONE_NEWUSER}}, map[FactName]string{
			UserNS: "a seccomp filter around brig denies user namespaces, as the default one of Docker and Kubernetes does",
		}, false},
		{"network namespace", []denial{{unix.SYS_CLONE, uint32(unix.ENOSPC), unix.CLONE_NEWNET}}, map[FactName]string{
			NetNS: "this user has as many network namespaces as the sysctl user.max_net_namespaces allows",
		}, false},
		{"unshare", []denial{{unix.SYS_UNSHARE, uint32(unix.EPERM), 0}}, map[FactName]string{
			CgroupNS: "a cgroup namespace was refused: a seccomp filter around brig denies user namespaces, as the default one of Docker and Kubernetes does",
		}, true},
		{"mount_setattr", []denial{{unix.SYS_MOUNT_SETATTR, uint32(unix.ENOSYS), 0}}, map[FactName]string{
			MountAttr: "the kernel, or a filter around brig, does not have mount_setattr",
		}, true},
		{"landlock", []denial{{unix.SYS_LANDLOCK_RESTRICT_SELF, uint32(unix.EOPNOTSUPP), 0}}, map[FactName]string{
			Landlock: "Landlock is built in, but not switched on",
		}, true},
		{"no landlock at all", []denial{{unix.SYS_LANDLOCK_CREATE_RULESET, uint32(unix.ENOSYS), 0}}, map[FactName]string{
			Landlock: "the kernel has no Landlock, or it is not switched on",
		}, false},
		{"two", []denial{{unix.SYS_UNSHARE, uint32(unix.EINVAL), 0}, {unix.SYS_MOUNT_SETATTR, uint32(unix.EPERM), 0}}, map[FactName]string{
			CgroupNS:  "the kernel is built without control groups",
			MountAttr: "a filter or security module around brig denies open_tree or mount_setattr",
		}, true},
		{"mounts", []denial{{unix.SYS_MOUNT, uint32(unix.EPERM), 0}}, map[FactName]string{
			UserNS: "a seccomp filter around brig denies user namespaces, as the default one of Docker and Kubernetes does",
		}, false},
		{"seccomp", []denial{{unix.SYS_SECCOMP, uint32(unix.ENOSYS), 0}}, map[FactName]string{
			Seccomp: "the kernel, or a filter around brig, does not have seccomp",
		}, true},
		{"memory files", []denial{{unix.SYS_MEMFD_CREATE, uint32(unix.EACCES), 0}}, map[FactName]string{
			MemfdExec: "executing from a memory file: permission denied: the sysctl vm.memfd_noexec or a security module forbids it",
			UserNS:    "executing from a memory file: permission denied: the sysctl vm.memfd_noexec or a security module forbids it",
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cache := t.TempDir()
			h := tryWith(t, cache, tt.denied, nil)
			for _, name := range FactNames() {
				f := *h.Fact(name)
				cause, missing := tt.missing[name]
				switch {
				case name == IDMaps && os.Getuid() != 0:
					// The filter brings no_new_privs, with which newuidmap is nothing.
				case !missing && !f.OK:
					t.Errorf("%s is found missing: %+v", name, f)
				case missing && (f.OK || !f.Tried || f.Cause != cause || f.Fix == ""):
					t.Errorf("%s: %+v, want the cause %q", name, f, cause)
				}
			}
			_, err := os.Stat(filepath.Join(cache, "brig", cacheName))
			if want := tt.cached || !h.IDMaps.OK; (err == nil) != want {
				t.Errorf("cache: %v, want one: %v", err, want)
			}
		})
	}
}

// TestTryMaskedProc tries a host whose /proc is covered in part, as a
// container's is.
func TestTryMaskedProc(t *testing.T) {
	sandboxtest.Need(t, "userns")
	h := tryInside(t, "mount -t tmpfs none /proc/bus")
	want := "parts of /proc are masked here, as in a container, and the kernel mounts a fresh procfs only where all of it is seen"
	if f := h.Proc; f.OK || f.Cause != want || !strings.Contains(f.Fix, "systempaths=unconfined") {
		t.Errorf("procfs: %+v", f)
	}
	if !h.UserNS.OK || !h.MountAttr.OK || !h.Devpts.OK {
		t.Errorf("more than procfs is found missing: %+v", h)
	}
}

// TestTryNoNamespaces tries a host whose administrator has switched user
// namespaces off.
func TestTryNoNamespaces(t *testing.T) {
	sandboxtest.Need(t, "userns")
	h := tryInside(t, "echo 0 > /proc/sys/user/max_user_namespaces")
	want := "user namespaces are switched off by the sysctl user.max_user_namespaces=0"
	if f := h.UserNS; f.OK || f.Cause != want || !strings.Contains(f.Fix, "user.max_user_namespaces=15000") {
		t.Errorf("user namespace: %+v", f)
	}
}

// tryInside prepares a mount namespace with a shell command, then tries it as
// an ordinary user of it.
func tryInside(t *testing.T, prepare string) *Host {
	t.Helper()
	return tryWith(t, t.TempDir(), nil, func(cmd *exec.Cmd) {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-ec", "mount -t proc none /proc\n" + prepare + "\nexec setpriv --inh-caps=-all --ambient-caps=-all " + exe}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: os.Getgid(), Size: 1}},
			AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_RESOURCE, unix.CAP_DAC_OVERRIDE, unix.CAP_SETPCAP},
			Pdeathsig:   syscall.SIGKILL,
		}
	})
}

// TestScriptIsRun: the trial's job must be what decides about the attributes.
func TestScriptIsRun(t *testing.T) {
	sandboxtest.Need(t, "userns", "overlay", "tmpfs-xattr")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	h, err := Quick(Question{})
	if err != nil {
		t.Fatal(err)
	}
	tr, done, err := (&trier{host: h, transient: map[FactName]bool{}}).newTrial()
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if !tr.runsScript() {
		t.Fatal("no script")
	}
	if err := tr.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	tr.script = "rmdir /proc"
	if err := tr.run(t.Context()); !errors.Is(err, errScript) {
		t.Errorf("a script that fails: %v", err)
	}
}

// TestTryCancelled: a trial ends with its context and leaves nothing.
func TestTryCancelled(t *testing.T) {
	sandboxtest.Need(t, "userns")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	sandboxtest.Leaks(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Try(ctx, Question{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkTry(b *testing.B) {
	for b.Loop() {
		if _, err := Try(b.Context(), Question{}); err != nil {
			b.Fatal(err)
		}
	}
}
