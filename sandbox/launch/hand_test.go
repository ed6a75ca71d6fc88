package launch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/plan"
	"github.com/brig-sandbox/brig/sandbox/sandboxtest"
)

// TestHand: the job has the directory as descriptor 3, may write it although
// Landlock knows no path of it, and has nothing else.
func TestHand(t *testing.T) {
	sandboxtest.Need(t, "userns", "unprivileged")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "given"), []byte("given\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const script = `for f in /proc/self/fd/*; do echo ${f##*/}; done; cat /proc/self/fd/3/./given; echo new >/proc/self/fd/3/./new; ls /proc/1/fd 2>&1`
	p := small("bash", "-c", script)
	at := slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.Session })
	p.Ops = slices.Insert(p.Ops, at, plan.Op{Kind: plan.Hand})
	out, end, err := start(t, p, func(c *Config) { c.Hand = fd })
	if err != nil {
		t.Fatal(err)
	}
	// 4 is what the shell reads the directory with, 1/fd is init's.
	if want := "0\n1\n2\n3\n4\ngiven\nls: cannot open directory '/proc/1/fd': Permission denied\n"; strings.ReplaceAll(out, "255\n", "") != want {
		t.Errorf("ended with %#x, and printed %q, want %q", uint32(end.Status), out, want)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "new")); string(b) != "new\n" {
		t.Errorf("written: %q %v", b, err)
	}
}

// A plan that hands something over is not carried out without it.
func TestHandNothing(t *testing.T) {
	sandboxtest.Need(t, "userns")
	sandboxtest.Leaks(t)
	p := small("true")
	at := slices.IndexFunc(p.Ops, func(op plan.Op) bool { return op.Kind == plan.Session })
	p.Ops = slices.Insert(p.Ops, at, plan.Op{Kind: plan.Hand})
	if _, err := launch(t, p, nil); err == nil || err.Error() != "launch: no directory to hand to the job" {
		t.Errorf("error: %v", err)
	}
}
