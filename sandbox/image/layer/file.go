package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// regular writes a file. Blocks of zeros become holes where the archive says
// that the file has some.
func (x *extractor) regular(parent int, base, name string, hdr *tar.Header, r io.Reader) error {
	x.report.Bytes += hdr.Size
	if l := x.opts.Limits.Bytes; l > 0 && (x.report.Bytes > l || x.report.Bytes < 0) {
		return fmt.Errorf("%w: the files of the layer have more than %d bytes", ErrLimit, l)
	}
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(parent, base, flags, 0o600)
	if errors.Is(err, unix.EEXIST) {
		if err = x.clear(parent, base, name); err == nil {
			fd, err = unix.Openat(parent, base, flags, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("making the file: %w", err)
	}
	defer unix.Close(fd)
	if err := x.fill(fd, hdr, r); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return x.attributes(fd, "", hdr)
}

func sparse(hdr *tar.Header) bool {
	return hdr.Typeflag == tar.TypeGNUSparse || hdr.PAXRecords["GNU.sparse.major"] != "" || hdr.PAXRecords["GNU.sparse.map"] != "" || hdr.PAXRecords[paxHoles] != ""
}

// block is the granularity of holes.
const block = 4096

func (x *extractor) fill(fd int, hdr *tar.Header, r io.Reader) error {
	holes := sparse(hdr)
	var at int64
	for {
		n, err := io.ReadFull(r, x.buf)
		data := x.buf[:n]
		for len(data) > 0 {
			part := data
			if holes {
				part = data[:min(block, len(data))]
			}
			if !holes || !zero(part) {
				if err := writeAt(fd, part, at); err != nil {
					return err
				}
			}
			at += int64(len(part))
			data = data[len(part):]
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && at == hdr.Size {
			break
		}
		if err != nil {
			return err
		}
	}
	if at != hdr.Size {
		return io.ErrUnexpectedEOF
	}
	if holes {
		return unix.Ftruncate(fd, at)
	}
	return nil
}

func writeAt(fd int, b []byte, at int64) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(fd, b, at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

var zeros [block]byte

func zero(b []byte) bool { return bytes.Equal(b, zeros[:len(b)]) }

// attributes sets owner, attributes, mode and time, in this order: a change of
// owner takes set-user-id bits and a write the time. An empty base means the
// descriptor itself.
func (x *extractor) attributes(fd int, base string, hdr *tar.Header) error {
	if err := x.owner(fd, base, hdr); err != nil {
		return err
	}
	link := hdr.Typeflag == tar.TypeSymlink
	if base == "" {
		if err := x.xattrs(fd, hdr); err != nil {
			return err
		}
	}
	if !link {
		mode := uint32(hdr.Mode & 0o7777)
		var err error
		if base == "" {
			err = unix.Fchmod(fd, mode)
		} else {
			// A fifo: made here, under O_EXCL rules, so no link is followed.
			err = unix.Fchmodat(fd, base, mode, 0)
		}
		if err != nil {
			return fmt.Errorf("setting the mode: %w", err)
		}
	}
	t := timespec(hdr.ModTime)
	times := []unix.Timespec{t, t}
	var err error
	if base == "" {
		err = futimens(fd, times)
	} else {
		err = unix.UtimesNanoAt(fd, base, times, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return fmt.Errorf("setting the time: %w", err)
	}
	return nil
}

func (x *extractor) owner(fd int, base string, hdr *tar.Header) error {
	if hdr.Uid == x.euid && hdr.Gid == x.egid {
		return nil
	}
	if x.opts.Squash {
		x.notes.add("owners were left out: there is one id only", hdr.Name)
		return nil
	}
	flags := unix.AT_SYMLINK_NOFOLLOW
	if base == "" {
		flags = unix.AT_EMPTY_PATH
	}
	err := unix.Fchownat(fd, base, hdr.Uid, hdr.Gid, flags)
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("its owner %d:%d is not among the subordinate ids\n  fix: give the user a longer range in /etc/subuid and /etc/subgid", hdr.Uid, hdr.Gid)
	}
	if err != nil {
		return fmt.Errorf("setting the owner: %w", err)
	}
	return nil
}

// xattrs sets user.* attributes. Those of overlayfs would change what the
// layers below show.
func (x *extractor) xattrs(fd int, hdr *tar.Header) error {
	if len(hdr.PAXRecords) == 0 {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(hdr.PAXRecords)) {
		attr, ok := strings.CutPrefix(key, paxXattr)
		if !ok {
			continue
		}
		switch {
		case attr == "security.capability":
			x.notes.add("file capabilities (security.capability) were left out: a sandbox sets no_new_privs, which makes them void", hdr.Name)
		case strings.HasPrefix(attr, "user.overlay."):
			x.notes.add("attributes of overlayfs (user.overlay.*) were left out", hdr.Name)
		case !strings.HasPrefix(attr, "user."):
			x.notes.add(fmt.Sprintf("attributes %q were left out: only user.* can be kept", shorten(attr)), hdr.Name)
		default:
			err := setXattr(fd, attr, hdr.PAXRecords[key])
			if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.E2BIG) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ERANGE) {
				x.notes.add("attributes user.* were left out: the file system does not take them", hdr.Name)
				continue
			}
			if err != nil {
				return fmt.Errorf("setting attribute %q: %w", shorten(attr), err)
			}
		}
	}
	return nil
}

func setXattr(fd int, name, value string) error {
	return unix.Fsetxattr(fd, name, []byte(value), 0)
}
