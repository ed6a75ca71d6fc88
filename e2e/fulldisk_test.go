package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// diskVariable names a directory of the caller's on a small file system that
// nobody else uses, see as-user.sh.
const diskVariable = "BRIG_TEST_DISK"

// disk is a small file system with what brig keeps on it.
type disk struct {
	dir   string
	store string // in it
	env   []string
}

// asRoot runs the test again, in a mount namespace of its own with a small file
// system in the place of root's store. It is gone with the last process in it,
// however that ends.
func asRoot(t *testing.T) {
	t.Helper()
	const place = "/var/lib/brig"
	if err := os.MkdirAll(place, 0o711); err != nil { //nolint:gosec // as brig makes it
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec", `mount -t tmpfs -o size=24m,mode=711 brig-test "$0"; exec "$@"`,
		place, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), diskVariable+"="+place)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("it did not run:\n%s", out)
	}
}

// smallDisk gives the small file system, empty.
func smallDisk(t *testing.T) *disk {
	t.Helper()
	dir := os.Getenv(diskVariable)
	if dir == "" {
		sandboxtest.Lacks(t, "disk", errors.New(diskVariable+" names no small file system: see e2e/as-user.sh"))
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks*uint64(st.Bsize) > 64<<20 {
		t.Fatalf("%s=%s is no small file system: %v", diskVariable, dir, err)
	}
	d := &disk{dir: dir, store: filepath.Join(dir, "brig"), env: append(os.Environ(), "XDG_DATA_HOME="+dir)}
	if os.Getuid() == 0 {
		d.store = dir
	}
	d.empty(t)
	t.Cleanup(func() { d.empty(t) })
	return d
}

// empty removes what brig keeps, and the filling.
func (d *disk) empty(t *testing.T) {
	t.Helper()
	d.leave(t, -1)
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) > 0 {
		d.ok(t, "prune", "--all", "--containers")
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(d.dir, e.Name())); err != nil && e.Name() != "range" {
			t.Error(err)
		}
	}
}

// leave fills the file system up but for so many bytes; -1 leaves all there is.
func (d *disk) leave(t *testing.T, room int64) {
	t.Helper()
	name := filepath.Join(d.dir, "fill")
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if room < 0 {
		return
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if size := int64(st.Bavail)*st.Bsize - room; size > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
			t.Fatal(err)
		}
	}
}

// command is brig with its store on the small file system.
func (d *disk) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(brigDir, "brig"), args...)
	cmd.Env, cmd.Dir = d.env, d.dir
	return cmd
}

// run runs brig and gives what it printed and its exit code.
func (d *disk) run(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	cmd := d.command(t, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// ok runs a command that has to succeed.
func (d *disk) ok(t *testing.T, args ...string) string {
	t.Helper()
	out, errs, code := d.run(t, args...)
	if code != 0 {
		t.Fatalf("brig %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// inOrder fails the test unless the store is whole and nothing was left in it.
func (d *disk) inOrder(t *testing.T) {
	t.Helper()
	if out, errs, code := d.run(t, "system", "check"); code != 0 || out != "the image store is in order\n" {
		t.Errorf("brig system check: exit code %d: %s%s", code, out, errs)
	}
	for _, pattern := range []string{"images/tmp/*", "*/.*", "images/blobs/sha256/.*"} {
		if left, _ := filepath.Glob(filepath.Join(d.store, pattern)); len(left) > 0 {
			t.Errorf("left behind: %q", left)
		}
	}
}

// sweep runs a command with ever more room, until it succeeds. Each time before,
// it is refused with the place that was full, and leaves the store as it was.
func (d *disk) sweep(t *testing.T, args ...string) {
	t.Helper()
	step := int64(min(slow(), 2)) * 512 << 10
	for room := int64(0); ; room += step {
		d.leave(t, room)
		out, errs, code := d.run(t, args...)
		if code == 0 {
			d.leave(t, -1)
			d.inOrder(t)
			if room < 2*step {
				t.Errorf("brig %s: a room of %d bytes is enough, so that nothing was tried", strings.Join(args, " "), room)
			}
			return
		}
		if code != 125 || !strings.Contains(errs, "no space left on device") || !strings.Contains(errs, d.dir) || out != "" {
			t.Fatalf("brig %s with a room of %d bytes: exit code %d: %s%s", strings.Join(args, " "), room, code, out, errs)
		}
		d.inOrder(t)
	}
}

// rootfs is an archive of a root file system for jobs that are given /usr, with
// a file that does not compress.
func rootfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	script := `for d in bin sbin lib lib64; do if [ -L /$d ]; then ln -s "$(readlink /$d)" root/$d; fi; done
		mkdir -p root/usr root/opt/many && head -c 1500000 /dev/urandom >root/opt/large
		i=0; while [ $i -lt 100 ]; do echo $i >root/opt/many/$i; i=$((i+1)); done
		chmod -R go=u-w root && tar -C root --owner=0 --group=0 -cf root.tar .`
	cmd := exec.Command("sh", "-ec", "mkdir root; "+script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return filepath.Join(dir, "root.tar")
}

// A disk that is full at any moment: each command says so, and leaves everything
// as it was.
func TestFullDisk(t *testing.T) {
	root := os.Getuid() == 0
	sandboxtest.Need(t, "subid", "overlay", "seccomp")
	sandboxtest.Leaks(t)
	if root && os.Getenv(diskVariable) == "" {
		asRoot(t)
		return
	}
	d := smallDisk(t)
	archive := rootfs(t)
	run := func(args ...string) []string {
		return append(append([]string{"run", "-v", "/usr:/usr:ro"}, args...), "--image", "web:1", "--")
	}

	d.sweep(t, "import", "-q", archive, "web:1")
	oci := filepath.Join(t.TempDir(), "web.tar")
	d.ok(t, "save", "-o", oci, "web:1")
	d.ok(t, "rmi", "web:1")
	d.sweep(t, "load", "-q", "-i", oci)
	if !root { // whose images are unpacked for one mapping
		d.sweep(t, append(run("--policy", "judge"), "true")...)
	}

	// A container is not made by half, and one that is there can be worked with.
	d.leave(t, 0)
	_, errs, code := d.run(t, append(run("--keep", "--name", "t"), "true")...)
	if code != 125 || !strings.Contains(errs, "no space left on device") || !strings.Contains(errs, d.dir) {
		t.Errorf("run --keep: exit code %d: %s", code, errs)
	}
	d.leave(t, -1)
	if out := d.ok(t, "ps", "-aq"); out != "" {
		t.Errorf("run --keep on a full disk left %q", out)
	}
	d.leave(t, 1<<20)
	_, errs, code = d.run(t, append(run("--keep", "--name", "t"), "sh", "-c", "echo kept >/opt/kept; cat /dev/urandom >/opt/new")...)
	if code != 1 || !strings.Contains(errs, "No space left on device") {
		t.Errorf("a job that fills the disk: exit code %d: %s", code, errs)
	}
	if out := d.ok(t, "diff", "t"); out != "A /opt/kept\nA /opt/new\n" {
		t.Errorf("what it changed: %q", out)
	}
	d.sweep(t, "commit", "t", "web:2")
	d.killCommits(t)

	// To make room takes none.
	d.leave(t, 0)
	d.ok(t, "rm", "t")
	d.leave(t, -1)
	if out := d.ok(t, "run", "-v", "/usr:/usr:ro", "--image", "web:2", "--", "cat", "/opt/kept"); out != "kept\n" {
		t.Errorf("the image that was committed: %q", out)
	}
	d.leave(t, 0)
	d.ok(t, "rmi", "web:1")
	d.ok(t, "rmi", "web:2")
	d.leave(t, -1)
	d.inOrder(t)
	if left := usedBelow(d.store); left > 64<<10 {
		t.Errorf("%d bytes are left of nothing", left)
	}
}

// A pull that does not fit is refused, and goes on where it stopped when there is
// room.
func TestFullDiskPull(t *testing.T) {
	sandboxtest.Need(t, "unprivileged", "subid", "docker-registry")
	sandboxtest.Leaks(t)
	d := smallDisk(t)
	host, stop, err := startRegistry(filepath.Join(t.TempDir(), "registry"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	name := host + "/web:1"
	d.ok(t, "import", "-q", rootfs(t), name)
	d.ok(t, "push", "-q", "--insecure", name)
	d.ok(t, "rmi", name)
	d.sweep(t, "pull", "-q", "--insecure", name)
	if out := d.ok(t, "images", "-q"); strings.Count(out, "\n") != 1 {
		t.Errorf("the images are %q", out)
	}
}

// killCommits kills commits of the container t at moments that lie ever further,
// on a disk that is about to be full.
func (d *disk) killCommits(t *testing.T) {
	t.Helper()
	tmp := filepath.Join(d.store, "images/tmp")
	killed := 0
	for i := 0; i < 12; i += min(slow(), 3) {
		d.leave(t, int64(i)*384<<10)
		cmd := d.command(t, "commit", "-m", rand.Text(), "t", "web:3")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for cmd.ProcessState == nil && usedBelow(tmp) < int64(i)*256<<10 {
			select {
			case err := <-ended:
				ended <- err
			case <-time.After(time.Millisecond):
				continue
			}
			break
		}
		_ = cmd.Process.Signal(syscall.SIGKILL) // it may have ended
		if err := <-ended; cmd.ProcessState.ExitCode() < 0 && err != nil {
			killed++
		}
		// What it left is found and removed, full as the disk is.
		if out, errs, code := d.run(t, "system", "check", "--repair"); code != 0 {
			t.Errorf("brig system check --repair: exit code %d: %s%s", code, out, errs)
		}
		d.inOrder(t)
		d.leave(t, -1)
		if out := d.ok(t, "images", "-q", "web:3"); out != "" {
			d.ok(t, "rmi", "web:3")
		}
	}
	if killed == 0 {
		t.Error("no commit was killed")
	}
}

// usedBelow is the size of the files below a directory; what goes meanwhile counts
// nothing.
func usedBelow(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil {
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// Changes that do not fit are not applied by half: each of the host's files is as
// it was or as the job left it, and the rest follows when there is room.
func TestFullDiskApply(t *testing.T) {
	sandboxtest.Need(t, "unprivileged", "overlay", "seccomp")
	sandboxtest.Leaks(t)
	d := smallDisk(t)
	project := filepath.Join(d.dir, "project")
	if err := os.Mkdir(project, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		if err := os.WriteFile(filepath.Join(project, fmt.Sprint(i)), []byte("old\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Not in the project: its upper lies on the same file system.
	d.ok(t, "run", "--policy", "ci", "--userns", "single", "--keep", "--name", "t", "-v", project+":/work:cow", "-w", "/work", "--",
		"sh", "-c", "for i in 0 1 2 3 4 5 6 7; do head -c 500000 /dev/urandom >$i; done; mkdir new; echo x >new/x")
	failed := 0
	for room := int64(0); ; room += 640 << 10 {
		d.leave(t, room)
		out, errs, code := d.run(t, "apply", "t")
		for i := range 8 {
			info, err := os.Stat(filepath.Join(project, fmt.Sprint(i)))
			if err != nil || info.Size() != 4 && info.Size() != 500000 {
				t.Errorf("file %d: %v, %v", i, info, err)
			}
		}
		entries, err := os.ReadDir(project)
		if err != nil || len(entries) > 9 {
			t.Errorf("left behind in the project: %v, %v", entries, err)
		}
		if code == 0 {
			break
		}
		failed++
		if code != 125 || !strings.Contains(errs, "no space left on device") || !strings.Contains(errs, d.dir) {
			t.Fatalf("apply with a room of %d bytes: exit code %d: %s%s", room, code, out, errs)
		}
	}
	d.leave(t, -1)
	if b, err := os.ReadFile(filepath.Join(project, "new/x")); failed == 0 || err != nil || string(b) != "x\n" {
		t.Errorf("%d refused; new/x is %q, %v", failed, b, err)
	}
	if out := d.ok(t, "diff", "t"); out != "" {
		t.Errorf("what was applied is still a change: %q", out)
	}
	d.ok(t, "rm", "t")
}
