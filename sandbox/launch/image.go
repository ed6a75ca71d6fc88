package launch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// InstalledInit is where `make install` puts a copy of init, for hosts that
// refuse to execute from a memfd (sysctl vm.memfd_noexec, some LSMs).
const InstalledInit = "/usr/local/libexec/brig/brig-init"

// initImage opens init for execution: a sealed memfd, so that nobody can
// change what will run.
func initImage() (int, error) {
	f, err := sealedMemfd("brig-init", []byte(image), unix.MFD_EXEC)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return installedImage([]byte(image), err)
	}
	return f, err
}

// sealedMemfd returns a memory file with the content that nobody can change,
// close-on-exec, with a number above those that are passed on.
func sealedMemfd(name string, content []byte, flags int) (int, error) {
	f, err := memfd(name, unix.MFD_ALLOW_SEALING|flags)
	if err != nil {
		return -1, err
	}
	if err := writeAll(f, content, 0); err != nil {
		unix.Close(f)
		return -1, fmt.Errorf("writing a memory file: %w", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(f), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(f)
		return -1, fmt.Errorf("sealing a memory file: %w", err)
	}
	return f, nil
}

// memfd makes a memory file, close-on-exec. Before 6.3 there was neither
// MFD_EXEC nor MFD_NOEXEC_SEAL, and every memory file could be executed.
func memfd(name string, flags int) (int, error) {
	f, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|flags)
	if errors.Is(err, unix.EINVAL) {
		f, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|flags&^(unix.MFD_EXEC|unix.MFD_NOEXEC_SEAL))
	}
	if err != nil {
		return -1, fmt.Errorf("making a memory file: %w", err)
	}
	return f, nil
}

func writeAll(f int, b []byte, at int64) error {
	for len(b) > 0 {
		w, err := unix.Pwrite(f, b, at)
		if err != nil {
			return err
		}
		b, at = b[w:], at+int64(w)
	}
	return nil
}

// installedImage opens the installed copy of init. It must be byte for byte
// the one this brig was built with, and in nobody's reach but root's.
func installedImage(want []byte, cause error) (int, error) {
	fail := func(err error) (int, error) {
		return -1, fmt.Errorf("this host does not execute from memory files (%w), and %s cannot be used: %w", cause, InstalledInit, err)
	}
	f, err := os.OpenFile(InstalledInit, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fail(err)
	}
	if st.Uid != 0 || st.Mode&0o022 != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fail(errors.New("it is not a file that only root can write"))
	}
	got, err := io.ReadAll(io.LimitReader(f, int64(len(want))+1))
	if err != nil {
		return fail(err)
	}
	if !bytes.Equal(got, want) {
		return fail(errors.New("it is not the one this brig was built with; run make install again"))
	}
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
}
