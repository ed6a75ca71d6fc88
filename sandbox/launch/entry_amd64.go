package launch

import (
	_ "embed" // for entryAhead
	"time"

	"golang.org/x/sys/unix"
)

// entryAhead is aheadImage(true) of this architecture. A test writes it with
// -update, and compares.
//
//go:embed init/ahead_amd64
var entryAhead string

// What entry, the assembly in entry_amd64.s, reads and leaves behind. The Go
// runtime does not exist when it runs, and keeps these as they are.
var (
	// entryFlags are those of DefaultNamespaces, for the launcher's clone.
	entryFlags uint64 = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_PARENT | uint64(unix.SIGCHLD)
	// entryUTC is what entry puts into entryLocal.
	entryUTC, entryLocal = &time.UTC, &time.Local //nolint:unused // entry's
	// entryPair is the channel, entryProgram the program's memory file,
	// entryLauncher the launcher's process; 0 where there is none.
	entryPair     [2]int32
	entryProgram  int32
	entryLauncher int32
	// entryCPU are the CPUs of this process and of the launcher, entryMask those
	// that the launcher may use.
	entryCPU  [2]uint32         //nolint:unused // entry's
	entryMask [cpuMaskSize]byte //nolint:unused // entry's
)

// entry is the first code of a brig that was linked with it as its entry
// point. Where the command line asks for a run it starts the launcher, before
// the Go runtime is there: both take a millisecond, and need not wait for each
// other.
//
//nolint:unused // the linker's
func entry()

// Early hands over the child that entry has begun to make, of
// DefaultNamespaces and with the caller's ids. It is nil where there is none.
// Only the first call gets it.
func Early() *Child {
	if entryLauncher == 0 {
		return nil
	}
	c := &Child{
		namespaces: DefaultNamespaces(), uid: uint32(unix.Getuid()), gid: uint32(unix.Getgid()), early: true, ahead: true, leaf: -1,
		made: make(chan struct{}), release: make(chan struct{}),
		launcher: int(entryLauncher), channel: int(entryPair[0]), program: int(entryProgram), pidfd: -1,
	}
	close(c.made)
	entryLauncher = 0
	return c
}
