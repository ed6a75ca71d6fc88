package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

const (
	// oldKernel is user-mode Linux: a kernel that is an ordinary process of the
	// host. Debian's is Linux 6.1.
	oldKernel = "linux.uml"
	// oldKernelTime bounds the whole life of the guest.
	oldKernelTime = 4 * time.Minute
	// guestDisk is the size of the guest's disk, which is sparse.
	guestDisk = 512 << 20
	// guestNobody is as whom root runs the guest: a kernel under test gets no
	// rights on the host.
	guestNobody = 65534
)

// keeper runs the guest and ends all of its processes when its own standard
// input ends, which the death of the test brings about, too. The guest's
// helpers would outlive a guest that is only killed, so it is ended as the
// process group that it makes itself.
const keeper = `
"$@" </dev/null &
guest=$!
(cat >/dev/null; kill -9 -"$guest" "$guest") 2>/dev/null <&3 3<&- &
watch=$!
exec 3<&-
wait "$guest"
code=$?
kill -9 -"$guest" 2>/dev/null
kill "$watch" 2>/dev/null
exit $code
`

// TestOldKernel runs brig on a kernel whose tmpfs has no user.* attributes, as
// before Linux 6.6: there what jobs change lies in directories that a janitor
// removes. The guest reports each of its checks, which are in oldkernel/checks,
// as a line on its console.
func TestOldKernel(t *testing.T) {
	kernel := needGuest(t)
	sandboxtest.Leaks(t)
	dir := guestDir(t)
	ctx, cancel := context.WithTimeout(t.Context(), oldKernelTime)
	defer cancel()
	begin := time.Now()
	console, err := runGuest(ctx, kernel, dir)
	t.Logf("the guest took %v", time.Since(begin).Round(time.Millisecond))
	r := readConsole(console)
	if !r.booted && ctx.Err() == nil {
		// It tries what it needs of the host, ptrace above all, before it is a
		// kernel. A kernel that panics is no reason to skip.
		sandboxtest.Lacks(t, "uml", fmt.Errorf("user-mode Linux does not start here; it said: %s", r.said))
	}
	if err != nil {
		t.Errorf("the guest: %v", err)
	}
	t.Logf("the guest's kernel is Linux %s", r.kernel)
	if r.broken != "" {
		t.Errorf("the guest cannot check anything: %s", r.broken)
	}
	for _, c := range r.checks {
		t.Run(c.name, func(t *testing.T) {
			if c.ok {
				t.Log(c.detail)
			} else {
				t.Error(strings.ReplaceAll(c.detail, "~", "\n"))
			}
		})
	}
	for _, name := range namedChecks(t) {
		if !r.has(name) {
			t.Errorf("%s did not report", name)
		}
	}
	if !r.ended {
		t.Error("the guest did not come to its end")
	}
	if t.Failed() {
		t.Logf("console:\n%s", console)
	}
}

// needGuest finds what the guest is made of: its kernel with the module for
// overlays, and the host's programs that prepare the guest from within.
func needGuest(t *testing.T) string {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		sandboxtest.Lacks(t, "uml", fmt.Errorf("user-mode Linux is for amd64, this is %s", runtime.GOARCH))
	}
	kernel, err := exec.LookPath(oldKernel)
	if err != nil {
		sandboxtest.Lacks(t, "uml", fmt.Errorf("%w (Debian: user-mode-linux)", err))
	}
	for _, tool := range []struct{ path, pkg string }{
		{"insmod", "kmod"}, {"mke2fs", "e2fsprogs"}, {"setpriv", "util-linux"}, {"unshare", "util-linux"}, {"script", "bsdutils"}, {"newuidmap", "uidmap"},
	} {
		var found bool
		for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"} {
			_, err := os.Stat(filepath.Join(dir, tool.path))
			found = found || err == nil
		}
		if !found {
			sandboxtest.Lacks(t, "uml", fmt.Errorf("the guest needs %s (Debian: %s)", tool.path, tool.pkg))
		}
	}
	return kernel
}

// guestDir is the directory that the guest begins in: brig, the scripts, an
// empty disk and the place where the guest mounts it. Other users can enter it,
// unlike those of t.TempDir, since root runs the guest as nobody. Its name is
// one that the leak tests of packages tested at the same time pass over.
func guestDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "brig-test-oldkernel-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	for _, f := range []struct{ from, to string }{
		{filepath.Join(brigDir, "brig"), "brig"},
		{filepath.Join(brigDir, "brig-image"), "brig-image"},
		{filepath.Join("oldkernel", "guest-init"), "guest-init"},
		{filepath.Join("oldkernel", "checks"), "checks"},
	} {
		data, err := os.ReadFile(f.from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.to), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	disk := filepath.Join(dir, "disk")
	err = errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, guestDisk), os.Mkdir(filepath.Join(dir, "root"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		for _, name := range []string{dir, disk} {
			if err := os.Chown(name, guestNobody, guestNobody); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// runGuest runs the guest to its end and returns what it wrote on its console.
// Whatever happens, nothing of the guest is left when it returns.
func runGuest(ctx context.Context, kernel, dir string) ([]byte, error) {
	lifeline, held, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer held.Close()
	cmd := exec.Command("/bin/sh", "-c", keeper, "keeper", kernel,
		"mem=512M", "rootfstype=hostfs", "ro", "init="+filepath.Join(dir, "guest-init"),
		"ubd0="+filepath.Join(dir, "disk"), "con=null", "con0=null,fd:1", "ssl=null",
		"uml_dir="+dir, "umid=guest", "lsm=yama", "quiet")
	// The guest's memory is a file in TMPDIR: /dev/shm, which it would take
	// else, may be too small in a container.
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + dir, "TMPDIR=" + dir}
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{lifeline}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: guestNobody, Gid: guestNobody}}
	}
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	if err := cmd.Start(); err != nil {
		lifeline.Close()
		return nil, err
	}
	lifeline.Close()
	stop := context.AfterFunc(ctx, func() { held.Close() })
	err = cmd.Wait()
	if !stop() {
		err = context.Cause(ctx)
	}
	return console.Bytes(), err
}

// report is what the guest has said on its console.
type report struct {
	booted bool   // it has become a kernel, whatever came of that
	said   string // its last line before
	kernel string // as uname -r
	broken string // why it could check nothing
	checks []check
	ended  bool
}

type check struct {
	name   string
	ok     bool
	detail string
}

func (r *report) has(name string) bool {
	for _, c := range r.checks {
		if c.name == name {
			return true
		}
	}
	return false
}

// readConsole takes the report's lines out of what the kernel wrote.
func readConsole(console []byte) *report {
	r := &report{}
	in := bufio.NewReader(bytes.NewReader(console))
	for {
		line, err := in.ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		r.booted = r.booted || strings.Contains(line, "@@ ") || strings.Contains(line, "Kernel panic")
		if !r.booted && line != "" {
			r.said = line
		}
		// A message of the kernel may stand before it on the same line.
		if _, said, ok := strings.Cut(line, "@@ "); ok {
			word, rest, _ := strings.Cut(said, " ")
			name, detail, _ := strings.Cut(rest, " ")
			switch word {
			case "kernel":
				r.kernel = rest
			case "broken":
				r.broken = rest
			case "ok", "FAIL":
				r.checks = append(r.checks, check{strings.TrimSuffix(name, ":"), word == "ok", detail})
			case "end":
				r.ended = true
			}
		}
		if errors.Is(err, io.EOF) {
			return r
		}
	}
}

// namedChecks are the checks that the script has.
func namedChecks(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("oldkernel", "checks"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		name, ok := strings.CutSuffix(strings.TrimSpace(line), "() {")
		if ok && (strings.HasPrefix(name, "user_") || strings.HasPrefix(name, "root_")) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		t.Fatal("the script has no checks")
	}
	return names
}
