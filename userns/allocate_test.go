package userns

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// rootHost is a host with an identity map and the given files.
func rootHost(pairs ...string) fstest.MapFS {
	const all = "         0          0 4294967295\n"
	fsys := host("proc/self/uid_map", all, "proc/self/gid_map", all)
	for name, f := range host(pairs...) {
		fsys[name] = f
	}
	return fsys
}

func lockDir(t testing.TB) string { return filepath.Join(t.TempDir(), "brig", "ranges") }

func TestAllocateRange(t *testing.T) {
	dir := lockDir(t)
	seen := map[Range]bool{}
	for range 300 {
		l, err := AllocateRange(AllocateOptions{FS: rootHost(), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		if seen[l.Range] {
			t.Fatalf("%v was given out twice", l.Range)
		}
		seen[l.Range] = true
		if l.Range.Count != 65536 || l.Range.Start%65536 != 0 {
			t.Errorf("%v is not an aligned slice", l.Range)
		}
		for _, other := range []Range{
			{0, 65536},                          // accounts, systemd's dynamic users, nobody
			{0x80000, 0x6FFFFFFF - 0x80000 + 1}, // systemd's containers
			{0x7FFE0000, 65536},                 // systemd's foreign ids
			{1 << 31, 1<<31 - 1},                // negative for some, FreeIPA's subordinate ids
			{100000, 600100000},                 // useradd's subordinate ids
			{200000, 2000200000},                // users of SSSD domains
		} {
			if l.Range.overlaps(other) {
				t.Errorf("%v overlaps %v", l.Range, other)
			}
		}
	}
	st, err := os.Stat(dir)
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v, want mode 0700", st.Mode(), err)
	}
}

func TestAllocateRangeAvoidsOthers(t *testing.T) {
	slice := func(n uint32) Range { return Range{firstSlice + n*WantIDs, WantIDs} }
	// Every slice but four is somebody's, and each of three files has one of these.
	rest := fmt.Sprintf("x:%d:%d\n", firstSlice, (Slices-4)*WantIDs)
	fsys := rootHost(
		"etc/subuid", rest,
		"etc/subgid", fmt.Sprintf("y:%d:1\n", slice(Slices-4).Start+65535),
		"etc/passwd", fmt.Sprintf("z:x:%d:1::/:\nbroken\n:::\n", slice(Slices-3).Start),
		"etc/group", fmt.Sprintf("z:x:%d:a,b\n", slice(Slices-2).Start+7),
	)
	dir := lockDir(t)
	l, err := AllocateRange(AllocateOptions{FS: fsys, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if want := slice(Slices - 1); l.Range != want {
		t.Errorf("got %v, only %v is free", l.Range, want)
	}
	_, err = AllocateRange(AllocateOptions{FS: fsys, Dir: dir})
	wantProblem(t, err, RangesExhausted, "all 1024 slices of 2013265920-2080374783 are in use or overlap 4 ranges of /etc/subuid, /etc/subgid, /etc/passwd and /etc/group")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if l, err = AllocateRange(AllocateOptions{FS: fsys, Dir: dir}); err != nil {
		t.Fatalf("after Close: %v", err)
	}
	// A removed lock file is another file with another lock.
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
}

func TestAllocateRangeRefuses(t *testing.T) {
	open := lockDir(t)
	if err := os.MkdirAll(open, 0o755); err != nil { //nolint:gosec // that is the fault
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "ranges")
	if err := os.Symlink(open, link); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		fsys   fstest.MapFS
		dir    string
		reason Reason
		cause  string
	}{
		"others may enter":  {rootHost(), open, LockDirUnsafe, open + " cannot be trusted with locks"},
		"symbolic link":     {rootHost(), link, LockDirUnsafe, "opening " + link},
		"no place":          {rootHost(), "/proc/brig/ranges", LockDirUnsafe, "opening /proc/brig/ranges"},
		"malformed subgid":  {rootHost("etc/subgid", "a:b:c\n"), lockDir(t), RangeMalformed, `/etc/subgid:1: "a:b:c": the start is not a plain decimal number`},
		"nested namespace":  {rootHost("proc/self/uid_map", "0 100000 65536\n"), lockDir(t), RangesUnmapped, "brig runs as root of a user namespace (/proc/self/uid_map) that does not have the ids 2013265920-2080374783"},
		"groups not mapped": {rootHost("proc/self/gid_map", "0 0 2013265921\n"), lockDir(t), RangesUnmapped, "brig runs as root of a user namespace (/proc/self/gid_map) that does not have the ids 2013265920-2080374783"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := AllocateRange(AllocateOptions{FS: tt.fsys, Dir: tt.dir})
			if l != nil {
				t.Errorf("got %v", l.Range)
			}
			wantProblem(t, err, tt.reason, tt.cause)
		})
	}
	if os.Geteuid() == 0 {
		foreign := lockDir(t)
		if err := os.MkdirAll(foreign, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(foreign, 12345, 0); err != nil {
			t.Fatal(err)
		}
		_, err := AllocateRange(AllocateOptions{FS: rootHost(), Dir: foreign})
		p := theProblem(t, err, LockDirUnsafe, foreign+" cannot be trusted with locks")
		if p.Err.Error() != "it belongs to uid 12345" {
			t.Error(p)
		}
	}
}

func TestAllocateRangeAtTheSameTime(t *testing.T) {
	dir := lockDir(t)
	var mu sync.Mutex
	held := map[Range]bool{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 50 {
				l, err := AllocateRange(AllocateOptions{FS: rootHost(), Dir: dir})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if held[l.Range] {
					t.Errorf("%v is held twice", l.Range)
				}
				held[l.Range] = true
				mu.Unlock()
				// Not held any more before the kernel can give it out again.
				mu.Lock()
				delete(held, l.Range)
				mu.Unlock()
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestMain lets the test binary stand for another brig.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BRIG_TEST_ALLOCATE"); dir != "" {
		l, err := AllocateRange(AllocateOptions{FS: rootHost(), Dir: dir})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(l.Range)
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the parent ends it
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Other processes hold different slices, and those of a killed one are free.
func TestAllocateRangeAcrossProcesses(t *testing.T) {
	dir := lockDir(t)
	const processes = 8
	var cmds []*exec.Cmd
	seen := map[string]bool{}
	for range processes {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), "BRIG_TEST_ALLOCATE="+dir)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stdin.Close() }()
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stdout).ReadString('\n')
		if err != nil || seen[line] {
			t.Fatalf("got %q again or failed: %v", line, err)
		}
		seen[line] = true
		cmds = append(cmds, cmd)
	}
	if n := lockedSlices(t, dir); n != processes {
		t.Errorf("%d slices are locked, want %d", n, processes)
	}
	for _, cmd := range cmds {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if n := lockedSlices(t, dir); n != 0 {
		t.Errorf("%d slices are locked after all holders were killed", n)
	}
}

func lockedSlices(t *testing.T, dir string) (locked int) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
			locked++
		}
		_ = f.Close()
	}
	return locked
}

// Whoever inherits the descriptor keeps the slice when the holder is gone.
func TestLeaseIsInherited(t *testing.T) {
	dir := lockDir(t)
	l, err := AllocateRange(AllocateOptions{FS: rootHost(), Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	dup, err := unix.Dup(l.FD())
	if err != nil {
		t.Fatal(err)
	}
	heir := os.NewFile(uintptr(dup), "lease")
	cmd := exec.Command("/bin/cat")
	cmd.ExtraFiles = []*os.File{heir}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = heir.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := lockedSlices(t, dir); n != 1 {
		t.Errorf("%d slices are locked while an heir lives", n)
	}
	_ = stdin.Close()
	_ = cmd.Wait()
	if n := lockedSlices(t, dir); n != 0 {
		t.Errorf("%d slices are locked after the heir's end", n)
	}
}

// The lock does not reach programs that the holder runs.
func TestLeaseIsNotLeaked(t *testing.T) {
	l, err := AllocateRange(AllocateOptions{FS: rootHost(), Dir: lockDir(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	out, err := exec.Command("/bin/ls", "-l", "/proc/self/fd").Output()
	if err != nil || strings.Contains(string(out), "/ranges/") {
		t.Errorf("%v\n%s", err, out)
	}
}

func BenchmarkAllocateRange(b *testing.B) {
	if initial, err := InInitial(); err != nil || !initial {
		sandboxtest.Lacks(b, "initial-userns", errors.Join(errors.New("this is another user namespace"), err))
	}
	dir := lockDir(b)
	for b.Loop() {
		l, err := AllocateRange(AllocateOptions{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		_ = l.Close()
	}
}
