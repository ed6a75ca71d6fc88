package probe

import "golang.org/x/sys/unix"

// recall replaces presumptions by what Try has found earlier.
func (h *Host) recall(_ *unix.Utsname) {}
