package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/probe"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// newHost is this host, whose kernel has user.* attributes on a tmpfs.
func newHost(t *testing.T, spec *Spec) *probe.Host {
	t.Helper()
	sandboxtest.Need(t, "tmpfs-xattr")
	host, err := probe.Quick(spec.Question())
	if err != nil {
		t.Fatal(err)
	}
	return host
}

// TestHold: when the sandbox is gone, what the job changed is there, and the next
// sandbox reads it, until the last descriptor is closed.
func TestHold(t *testing.T) {
	spec, dir := cowSpec(t, `rm -r sub; mkdir sub; echo new >sub/new; chmod 0 sub; echo x >closed; chmod 0 closed`)
	var kept []string
	spec.Hold = &Hold{Resolved: func(res *Resolution) error {
		for _, op := range res.Kept() {
			kept = append(kept, op.Target+"="+op.Source)
		}
		return nil
	}}
	result, out := runOn(t, spec, newHost(t, spec))
	if result.Outcome != OutcomeOK || out != "" || len(kept) != 1 || kept[0] != "/work="+dir {
		t.Fatalf("%s %q %q", result.Outcome, out, kept)
	}
	f := spec.Hold.Scratch
	if f == nil {
		t.Fatal("nothing is held")
	}
	defer f.Close()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_, id, _ := strings.Cut(string(info), "mnt_id:\t")
	id, _, _ = strings.Cut(id, "\n")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || id == "" || strings.Contains("\n"+string(mounts), "\n"+id+" ") {
		t.Errorf("%q is mounted: %v", id, err)
	}
	upper, err := unix.Openat(int(f.Fd()), "upper1", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	reader, _ := cowSpec(t, `cd /proc/self/fd/3/.; ls -A; stat -c '%n %a %U' sub; chmod 700 sub closed; cat sub/new closed; ls /proc/self/fd/3/.. 2>/dev/null || echo apart`)
	reader.Hand = os.NewFile(uintptr(upper), "upper1")
	defer reader.Hand.Close()
	want, host := "closed\nsub\nsub 0 job\nnew\nx\napart\n", newHost(t, reader)
	if !host.Landlock.OK {
		want = "closed\nsub\nsub 0 job\nnew\nx\nroot\nupper1\nwork1\n"
	}
	if result, out := runOn(t, reader, host); result.Outcome != OutcomeOK || out != want {
		t.Errorf("%s: read %q, want %q", result.Outcome, out, want)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "sub")); err != nil || len(left) != 2 {
		t.Errorf("the host's directory has %v, %v", left, err)
	}
}

// What is held has the limit of any scratch: the job gets the error.
func TestHoldLimit(t *testing.T) {
	spec, _ := cowSpec(t, `head -c 9000000 /dev/zero >big`)
	spec.Hold = &Hold{}
	result, out := runOn(t, spec, newHost(t, spec))
	if result.ExitCode() == 0 || !strings.Contains(out, "No space left on device") {
		t.Errorf("%s: %q", result.Outcome, out)
	}
	spec.Hold.Scratch.Close()
}

// Where a tmpfs cannot hold the uppers they are kept in a directory.
func TestHoldFallsBack(t *testing.T) {
	spec, _ := cowSpec(t, `rm -r sub; echo new >new`)
	dir := t.TempDir()
	var ids plan.IDs
	t.Cleanup(func() {
		if err := RemoveOwned(context.Background(), &ids, filepath.Join(dir, "upper1"), filepath.Join(dir, "work1")); err != nil {
			t.Error(err)
		}
	})
	hold := &Hold{
		Resolved: func(*Resolution) error { return errors.New("it is not held") },
		Keep: func() (*Keep, error) {
			return &Keep{Dir: dir, Resolved: func(res *Resolution) error { ids = res.Plan.IDs; return nil }}, nil
		},
	}
	spec.Hold = hold
	if result, out := runOn(t, spec, oldHost(t, spec)); result.Outcome != OutcomeOK {
		t.Fatalf("%s %q", result.Outcome, out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "upper1/new")); string(b) != "new\n" || hold.Scratch != nil {
		t.Errorf("kept: %q %v; held %v", b, err, hold.Scratch)
	}
	spec, _ = cowSpec(t, `true`)
	spec.Hold = &Hold{Keep: func() (*Keep, error) { return nil, io.ErrShortWrite }}
	if _, err := start(t.Context(), spec, oldHost(t, spec), nil); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("error: %v", err)
	}
}

// A job without a directory that could hold anything is refused, and so is one
// that is given the place where what it changes may come to lie.
func TestHoldRefused(t *testing.T) {
	spec, dir := cowSpec(t, `true`)
	host := newHost(t, spec)
	spec.Hold = &Hold{Dir: filepath.Join(dir, "data")}
	if _, err := Resolve(spec, host); err == nil || !strings.Contains(err.Error(), "it holds "+dir+"/data, where what the job changes is kept") {
		t.Errorf("error: %v", err)
	}
	spec.Hold.Dir = "/elsewhere"
	spec.Policy.Filesystem.Mounts = nil
	if _, err := Resolve(spec, host); err == nil || !strings.Contains(err.Error(), "there is nothing to keep") {
		t.Errorf("error: %v", err)
	}
}
