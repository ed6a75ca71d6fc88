package launch

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// viewed is the small plan of a sandbox whose /work is an overlay over a view of
// each directory: of the second as /work1, and so on.
func viewed(t *testing.T, dirs []string, argv ...string) *plan.Plan {
	t.Helper()
	p := small(argv...)
	whole := []plan.Mapping{{Inside: 0, Outside: 1 << 20, Count: 65536}}
	p.IDs = plan.IDs{Map: "keep-id", By: plan.ByParent, CloneUID: 1 << 20, CloneGID: 1 << 20, UID: whole, GID: whole}
	at := func(k plan.Kind) int {
		return slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == k })
	}
	p.Find(plan.Root).Flags = plan.InScratch
	for i, dir := range dirs {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			t.Fatal(err)
		}
		target := "/work" + strings.Repeat("1", i)
		p.Ops = slices.Insert(p.Ops, at(plan.Scratch), plan.Op{
			Kind: plan.Open, Handle: 3 + i, Source: dir, Device: st.Dev, Inode: st.Ino, Flags: plan.Mapped, UID: 1000, GID: 1000,
		})
		p.Ops = slices.Insert(p.Ops, at(plan.File), plan.Op{Kind: plan.Mkdir, Target: target, Mode: 0o755})
		p.Ops = slices.Insert(p.Ops, at(plan.Sysctl), plan.Op{Kind: plan.Overlay, Handle: 3 + i, Target: target})
	}
	p.Ops = slices.Insert(p.Ops, at(plan.Scratch), plan.Op{Kind: plan.SetIDs, Flags: plan.KeepSetgrps})
	p.Find(plan.InitIDs).UID, p.Find(plan.InitIDs).GID, p.Find(plan.InitIDs).Flags = 65535, 65535, plan.KeepSetgrps
	p.Find(plan.JobIDs).Flags = plan.KeepSetgrps
	return p
}

// writeView writes the maps of a view.
func writeView(pid int, uid, gid []plan.Mapping) error {
	return writeMapsDirect(pid, &plan.IDs{UID: uid, GID: gid})
}

// views makes the views of a plan, until the test ends.
func views(t *testing.T, p *plan.Plan) func(*Config) {
	t.Helper()
	list, err := OpenViews(p, writeView)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { CloseViews(list) })
	return func(c *Config) { c.Views = list }
}

// Several directories, each in its place, beside what else is sent to init.
func TestViews(t *testing.T) {
	sandboxtest.Need(t, "root", "overlay", "idmap")
	sandboxtest.Leaks(t)
	var dirs []string
	for i := range 3 {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "name"), fmt.Appendf(nil, "%d\n", i), 0o600); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	p := viewed(t, dirs, "sh", "-c", "cat /work/name /work1/name /work11/name; stat -c %u:%g /work*/name; ls /proc/self/fd")
	lock, err := os.Open(dirs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	out, end, err := start(t, p, views(t, p), func(c *Config) { c.Keep = int(lock.Fd()) })
	if want := "0\n1\n2\n1000:1000\n1000:1000\n1000:1000\n0\n1\n2\n3\n"; err != nil || out != want {
		t.Errorf("got %q, %#x, %v\nwant %q", out, uint32(end.Status), err, want)
	}
	// A plan with views that nobody has made is refused.
	if _, err := launch(t, p, nil); !errors.Is(err, errNoView) {
		t.Errorf("without views: %v", err)
	}
}

// A view cannot be written, whatever its owners are.
func TestViewIsReadOnly(t *testing.T) {
	sandboxtest.Need(t, "root", "overlay", "idmap")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "name"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	p := viewed(t, []string{dir}, "true")
	list, err := OpenViews(p, writeView)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseViews(list)
	fd := list[0].fd
	if _, err := unix.Openat(fd, "name", unix.O_RDWR|unix.O_CLOEXEC, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("opened for writing: %v", err)
	}
	if err := unix.Fchmodat(fd, "name", 0o4777, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("chmod: %v", err)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(fd, "name", &st, 0); err != nil || st.Uid != 1<<20+1000 || st.Gid != 1<<20+1000 {
		t.Errorf("it belongs to %d:%d, %v", st.Uid, st.Gid, err)
	}
	var fs unix.Statfs_t
	if err := unix.Fstatfs(fd, &fs); err != nil || fs.Flags&(unix.ST_RDONLY|unix.ST_NOSUID|unix.ST_NODEV) != unix.ST_RDONLY|unix.ST_NOSUID|unix.ST_NODEV {
		t.Errorf("its flags are %#x, %v", fs.Flags, err)
	}
}

// What the kernel refuses is told from what is not there.
func TestViewErrors(t *testing.T) {
	sandboxtest.Need(t, "root", "overlay", "idmap")
	sandboxtest.Leaks(t)
	dir := t.TempDir()
	p := viewed(t, []string{dir}, "true")
	op := &p.Ops[slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Flags.Has(plan.Mapped) })]
	op.Source = "/proc"
	_, err := OpenViews(p, writeView)
	if refused := (*ViewError)(nil); !errors.As(err, &refused) || refused.Op.Source != "/proc" || !errors.Is(err, unix.EINVAL) || err.Error() != "an idmapped mount of /proc: invalid argument" {
		t.Errorf("of a procfs: %v", err)
	}
	op.Source = filepath.Join(dir, "absent")
	_, err = OpenViews(p, writeView)
	if refused := (*ViewError)(nil); errors.As(err, &refused) || !errors.Is(err, unix.ENOENT) {
		t.Errorf("of nothing: %v", err)
	}
	full := errors.New("no maps today")
	if _, err = OpenViews(p, func(int, []plan.Mapping, []plan.Mapping) error { return full }); !errors.Is(err, full) {
		t.Errorf("without maps: %v", err)
	}
}

// helpView makes a view and stops while its namespace is being made.
func helpView() {
	wd, err := os.Getwd()
	if err != nil {
		fmt.Println(err)
		return
	}
	p := &plan.Plan{
		IDs: plan.IDs{CloneUID: 1 << 20, CloneGID: 1 << 20, UID: []plan.Mapping{{Outside: 1 << 20, Count: 1}}},
		Ops: []plan.Op{{Kind: plan.Open, Source: wd, Flags: plan.Mapped}},
	}
	_, err = OpenViews(p, func(pid int, _, _ []plan.Mapping) error {
		fmt.Println("pid", pid)
		select {}
	})
	fmt.Println(err)
}

// The process that a view needs for a moment ends with brig.
func TestViewEndsWithBrig(t *testing.T) {
	sandboxtest.Need(t, "root", "userns")
	sandboxtest.Leaks(t)
	cmd := outside("view")
	r, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(r).ReadString('\n')
	var pid int
	_, scanErr := fmt.Sscanf(line, "pid %d\n", &pid)
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if scanErr != nil {
		t.Fatalf("it says %q", line)
	}
	for range 500 {
		if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
			return
		}
		// A zombie is gone as well: somebody else has to wait for it.
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}
