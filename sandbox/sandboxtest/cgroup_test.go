package sandboxtest

import (
	"os"
	"path/filepath"
	"testing"
)

// group makes a directory that looks like a control group.
func group(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A group that holds processes and passes nothing on cannot be divided, unless
// it is the root of all.
func TestUnoccupied(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  bool
	}{
		{"empty", map[string]string{"cgroup.events": "", "cgroup.procs": "", "cgroup.subtree_control": ""}, true},
		{"processes", map[string]string{"cgroup.events": "", "cgroup.procs": "1\n", "cgroup.subtree_control": "\n"}, false},
		{"passes on", map[string]string{"cgroup.events": "", "cgroup.procs": "", "cgroup.subtree_control": "cpu\n"}, true},
		{"root", map[string]string{"cgroup.procs": "1\n", "cgroup.subtree_control": ""}, true},
	} {
		if got := unoccupied(group(t, tt.files)); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestLacking(t *testing.T) {
	dir := group(t, map[string]string{"cgroup.controllers": "cpuset cpu io memory\n"})
	if err := lacking(dir); err == nil || err.Error() != dir+" has no pids controller" {
		t.Errorf("got %v", err)
	}
	if err := lacking(group(t, map[string]string{"cgroup.controllers": "cpu memory pids\n"})); err != nil {
		t.Error(err)
	}
}

// What is found is told with its reason, and is the same for Has.
func TestCgroup2(t *testing.T) {
	if err := needCgroup2(); err != nil {
		t.Logf("not here: %v", err)
	} else if Has("cgroupv2") != nil {
		t.Error("found, and not found")
	}
}
