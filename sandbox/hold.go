package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/launch"
)

// Hold makes what the job changes outlast the sandbox for as long as the caller
// holds it: the uppers of its overlays, on the scratch's tmpfs, which dies with
// the last descriptor of it. It costs a run nothing.
type Hold struct {
	// Dir is a directory that what the job changes may come to lie in later: it
	// is in none that the job is given copy-on-write.
	Dir string
	// Resolved, where it is not nil, is told what will be done, as by Keep.
	Resolved func(*Resolution) error
	// Keep gives what holds the uppers on kernels whose tmpfs cannot (before
	// Linux 6.6). It is called once at most, before anything is done.
	Keep func() (*Keep, error)
	// Scratch is the root of that tmpfs, once the sandbox has ended: the uppers
	// are upper1, upper2 and so on, in the order of Resolution.Kept. It is nil
	// where nothing is held: the job never ran, or its changes are Keep's. The
	// caller closes it.
	//
	// What is below the uppers is hostile, and belongs to the sandbox's ids.
	Scratch *os.File
}

// fallBack has the changes kept in a directory.
func (h *Hold) fallBack(spec *Spec) error {
	k, err := h.Keep()
	if err != nil {
		return fmt.Errorf("keeping what the job changes: %w", err)
	}
	spec.Keep, spec.Hold = k, nil
	return nil
}

// take keeps the scratch's descriptor, which init has sent, beyond the sandbox.
func (h *Hold) take(ready map[string]*os.File) error {
	f := ready[launch.ReadyScratch]
	if f == nil {
		return errors.New("the scratch was not given")
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("holding the scratch: %w", err)
	}
	h.Scratch = os.NewFile(uintptr(fd), "scratch")
	return nil
}
