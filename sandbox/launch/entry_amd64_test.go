package launch

import (
	"flag"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write what is embedded anew")

// TestEntryAhead: what the assembly gives init is what Clone gives it.
func TestEntryAhead(t *testing.T) {
	want := aheadImage(true)
	if *update {
		if err := os.WriteFile("init/ahead_amd64", want, 0o600); err != nil {
			t.Fatal(err)
		}
	} else if entryAhead != string(want) {
		t.Error("init/ahead_amd64 is out of date: go test ./sandbox/launch -run TestEntryAhead -update")
	}
}

// TestEntryFlags: what the assembly clones is what Early says it has cloned.
func TestEntryFlags(t *testing.T) {
	want := uint64(unix.CLONE_PARENT | unix.SIGCHLD)
	for _, ns := range DefaultNamespaces() {
		want |= cloneFlags[ns]
	}
	if entryFlags != want {
		t.Errorf("entry clones with %#x, Clone with %#x", entryFlags, want)
	}
}

// TestEarlyElsewhere: a program with another entry point has no early child.
func TestEarlyElsewhere(t *testing.T) {
	if c := Early(); c != nil {
		c.Discard()
		t.Error("a child that nobody has begun")
	}
}
