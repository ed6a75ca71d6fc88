package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// regular writes a file, or a link to one that was written.
func (p *packer) regular(full, name string, f *found, hdr *tar.Header) error {
	id := inode{f.st.Dev, f.st.Ino}
	if f.st.Nlink > 1 {
		if first, ok := p.links[id]; ok {
			hdr.Typeflag, hdr.Linkname = tar.TypeLink, first
			return p.header(hdr)
		}
		p.links[id] = full
	}
	fd, err := unix.Openat(f.in.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Ino != f.st.Ino {
		return errors.New("it was replaced while it was read")
	}
	if err := p.xattrs(fd, hdr); err != nil {
		return err
	}
	hdr.Typeflag, hdr.Size = tar.TypeReg, st.Size
	if p.opts.Changes && st.Blocks*512 < st.Size {
		hdr.PAXRecords[paxHoles] = "1"
	}
	p.report.Bytes += st.Size
	if err := p.header(hdr); err != nil {
		return err
	}
	for left := st.Size; left > 0; {
		n, err := unix.Read(fd, p.buf[:min(left, int64(len(p.buf)))])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return errors.New("it became shorter while it was read")
		}
		if _, err := p.tw.Write(p.buf[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// xattrs adds the attributes user.* of an entry. Those of overlayfs are about
// the stack of layers, and not about the file.
func (p *packer) xattrs(fd int, hdr *tar.Header) error {
	list, err := listXattrs(fd)
	if err != nil {
		return err
	}
	for _, attr := range list {
		switch {
		case strings.HasPrefix(attr, "user.overlay."), !strings.HasPrefix(attr, "user."):
			continue
		case strings.Contains(attr, "="):
			p.notes.add("attributes with = in their names were left out: an archive cannot hold them", hdr.Name)
			continue
		}
		value, err := getXattr(fd, attr)
		if err != nil {
			return err
		}
		hdr.PAXRecords[paxXattr+attr] = value
	}
	return nil
}

func listXattrs(fd int) ([]string, error) {
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Flistxattr(fd, buf)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the attributes: %w", err)
	}
	list := strings.Split(string(buf[:n]), "\x00")
	return slices.DeleteFunc(list, func(s string) bool { return s == "" }), nil
}

func getXattr(fd int, attr string) (string, error) {
	buf := make([]byte, 64<<10) // XATTR_SIZE_MAX
	n, err := unix.Fgetxattr(fd, attr, buf)
	if err != nil {
		return "", fmt.Errorf("reading attribute %q: %w", shorten(attr), err)
	}
	return string(buf[:n]), nil
}
