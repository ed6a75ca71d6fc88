package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// exitCode is exit(0) in the machine's language.
func exitCode() []byte {
	switch runtime.GOARCH {
	case "amd64": // xor edi, edi; mov eax, 60; syscall
		return []byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05}
	case "arm64": // mov x0, #0; mov x8, #93; svc #0
		return []byte{0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4}
	}
	return nil
}

// smallestProgram is an ELF executable that exits with status 0 at once: a
// header and one segment that holds the whole file, see elf(5).
func smallestProgram() []byte {
	const (
		base          = 0x400000
		headers       = 64 + 56
		executable    = 2
		emX8664       = 62
		emAArch64     = 183
		readAndExec   = 5
		segmentToLoad = 1
	)
	machine := uint16(emX8664)
	if runtime.GOARCH == "arm64" {
		machine = emAArch64
	}
	code := exitCode()
	size := uint64(headers + len(code))
	le := binary.LittleEndian
	b := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 9)...)
	for _, v := range [...]uint16{executable, machine} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // version
	for _, v := range [...]uint64{base + headers, 64, 0} {
		b = le.AppendUint64(b, v) // entry, where the segments are, no sections
	}
	b = le.AppendUint32(b, 0) // flags
	for _, v := range [...]uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v) // sizes and counts of the tables
	}
	for _, v := range [...]uint32{segmentToLoad, readAndExec} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range [...]uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v) // offset, addresses, sizes, alignment
	}
	return append(b, code...)
}

// errMemfd is wrapped where a program cannot be executed from memory.
var errMemfd = errors.New("executing from a memory file")

// tryMemfd executes a program from a memory file, as init is executed.
func tryMemfd() error {
	f, err := unix.MemfdCreate("brig-probe", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before 6.3 every memory file may be executed
		f, err = unix.MemfdCreate("brig-probe", unix.MFD_CLOEXEC)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errMemfd, err)
	}
	defer unix.Close(f)
	if _, err := unix.Write(f, smallestProgram()); err != nil {
		return fmt.Errorf("%w: %w", errMemfd, err)
	}
	pid, err := syscall.ForkExec("/proc/self/fd/"+strconv.Itoa(f), []string{"brig-probe"}, &syscall.ProcAttr{})
	if err != nil {
		return fmt.Errorf("%w: %w", errMemfd, err)
	}
	var status unix.WaitStatus
	for {
		_, err = unix.Wait4(pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errMemfd, err)
	}
	if status != 0 {
		return fmt.Errorf("%w: the program ended with status %#x", errMemfd, uint32(status))
	}
	return nil
}

// tryTmpfsXattr sets a user.* attribute on a memory file, which is one of
// tmpfs. It is for hosts on which no shell can try the real thing.
func tryTmpfsXattr() error {
	f, err := unix.MemfdCreate("brig-probe", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(f)
	return unix.Fsetxattr(f, "user.overlay.opaque", []byte("y"), 0)
}
