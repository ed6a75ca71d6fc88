package launch

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/plan"
)

// helperVariable names what this binary does instead of running its tests.
const helperVariable = "BRIG_LAUNCH_HELPER"

// helpers are the other roles of this binary, by name.
var helpers = map[string]func(){
	"clone-refused": helpCloneRefused, "sleep": helpSleep,
	"view": helpView,
}

func TestMain(m *testing.M) {
	if help, ok := helpers[os.Getenv(helperVariable)]; ok {
		help()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// inside runs a helper as the job of a sandbox.
func inside(t *testing.T, helper string) string {
	t.Helper()
	self := filepath.Join(openDir(t), "helper")
	if b, err := os.ReadFile("/proc/self/exe"); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(self, b, 0o755); err != nil {
		t.Fatal(err)
	}
	p := small("helper")
	at := func(k plan.Kind) int { return slices.IndexFunc(p.Ops, func(o plan.Op) bool { return o.Kind == k }) }
	p.Ops = slices.Insert(p.Ops, at(plan.Scratch), plan.Op{Kind: plan.Open, Handle: 3, Source: self, Flags: plan.ReadOnly | plan.NoSuid | plan.NoDev})
	p.Ops = slices.Insert(p.Ops, at(plan.File), plan.Op{Kind: plan.File, Target: "/helper", Mode: 0o755})
	p.Ops = slices.Insert(p.Ops, at(plan.Bind), plan.Op{Kind: plan.Bind, Handle: 3, Target: "/helper"})
	p.Find(plan.Exec).Write = []string{"/helper"}
	out, end, err := start(t, p, func(c *Config) { c.Env = append(c.Env, helperVariable+"="+helper) })
	if err != nil || end.Status != 0 {
		t.Fatalf("the helper ended with %#x, %v:\n%s", uint32(end.Status), err, out)
	}
	return out
}

// outside returns a helper that runs beside this process.
func outside(helper string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+helper)
	cmd.Stderr = os.Stderr
	return cmd
}

// openDir returns a directory that the ids of a sandbox can reach also where
// they are not the tester's.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "brig-test-launch-") //nolint:usetesting // t.TempDir lies in a directory that only its owner may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
