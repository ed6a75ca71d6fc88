package launch

import (
	"testing"

	"golang.org/x/sys/unix"
)

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
