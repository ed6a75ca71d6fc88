package cgroup_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/cgroup"
)

// Scopes that their manager could not remove go with the next one that may be
// divided; one that is still being made, or is another's, stays.
func TestSweepScopes(t *testing.T) {
	path := filepath.Join(config(t, cgroup.Cgroupfs).Parent, "brig-test-slice")
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	slice, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(slice)
	const left, fresh, own, other = "brig-1-00000001.scope", "brig-1-00000002.scope", "brig-1-00000003.scope", "brig.scope"
	for _, dir := range []string{
		left, left + "/init", left + "/job", left + "/job/ns", left + "/job/ns/a", left + "/job/ns/a/b",
		fresh, own, own + "/job", own + "/job/ns", other, other + "/job", other + "/job/ns",
	} {
		if err := os.Mkdir(filepath.Join(path, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(path, left, "job/ns/a"), 0); err != nil {
		t.Fatal(err)
	}
	cgroup.SweepScopes(slice, own)
	for name, want := range map[string]bool{left: false, fresh: true, own: true, other: true} {
		if _, err := os.Stat(filepath.Join(path, name)); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", name, err == nil, want)
		}
	}
	for _, dir := range []string{other + "/job/ns", other + "/job", other, own + "/job/ns", own + "/job", own, fresh, ""} {
		if err := os.Remove(filepath.Join(path, dir)); err != nil {
			t.Error(err)
		}
	}
}
