package sandboxtest

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// getActionAvailable asks the kernel whether filters may return an action; see
// SECCOMP_GET_ACTION_AVAIL in seccomp(2).
func getActionAvailable(action *uint32) error {
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0,
		uintptr(unsafe.Pointer(action)))
	if errno != 0 {
		return fmt.Errorf("seccomp filters: %w", errno)
	}
	return nil
}

// needLandlock wants ABI 2 or later, below which brig uses no Landlock.
func needLandlock() error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("landlock: %w", errno)
	}
	if abi < 2 {
		return fmt.Errorf("landlock ABI %d, 2 is needed", abi)
	}
	return nil
}
