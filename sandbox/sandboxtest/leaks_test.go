package sandboxtest

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// has reports whether one of the items begins with a prefix.
func has(items []string, prefix string) bool {
	return slices.ContainsFunc(items, func(item string) bool { return strings.HasPrefix(item, prefix) })
}

func TestLeaksFindsAnOrphan(t *testing.T) {
	before, err := Take(Descendants)
	if err != nil {
		t.Fatal(err)
	}
	// The shell ends at once; its child lives on as an orphan.
	out, err := exec.Command("/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("/bin/kill", "-KILL", pid).Run() })
	now, err := Take(Descendants)
	if err != nil {
		t.Fatal(err)
	}
	if left := now.since(before); !has(left, "process "+pid+" sleep ") {
		t.Errorf("an orphaned sleep with pid %s was not found: %v", pid, left)
	}
	if left := before.since(before); len(left) > 0 {
		t.Errorf("nothing has changed, yet: %v", left)
	}
}

func TestLeaksFindsDescriptorAndPath(t *testing.T) {
	before, err := Take(Descendants)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(os.TempDir(), "brig-left-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	})
	now, err := Take(Descendants)
	if err != nil {
		t.Fatal(err)
	}
	left := now.since(before)
	for _, want := range []string{"descriptor " + f.Name(), "path " + f.Name()} {
		if !has(left, want) {
			t.Errorf("%q was not found: %v", want, left)
		}
	}
}

func TestLeaksFindsMount(t *testing.T) {
	before := Snapshot{"mount": {"20 /", "21 /proc"}}
	now := Snapshot{"mount": {"20 /", "21 /proc", "22 /proc"}}
	if left := now.since(before); !slices.Equal(left, []string{"mount 22 /proc"}) {
		t.Errorf("left %v, want the mount on /proc that is new", left)
	}
}

func TestLeaksEndsQuietly(t *testing.T) {
	Leaks(t)
	if err := exec.Command("/bin/true").Run(); err != nil {
		t.Fatal(err)
	}
}
