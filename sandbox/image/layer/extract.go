package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Limits bound an unpacking. Zero is no limit.
type Limits struct {
	Bytes int64 // of all regular files, holes included
	Files int64 // entries
	Depth int   // names in a path
}

// Options say how to unpack.
type Options struct {
	Limits Limits
	// Squash leaves the owners out: all files belong to who unpacks.
	Squash bool
}

// Report says what was unpacked. Notes are in the order of their first cause.
type Report struct {
	Files int64    `json:"files"`
	Bytes int64    `json:"bytes"`
	Notes []string `json:"notes,omitempty"`
}

// ErrLimit is wrapped when a layer is more than the limits allow.
var ErrLimit = errors.New("limit")

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	opaqueXattr    = "user.overlay.opaque"
	paxXattr       = "SCHILY.xattr."
	// paxHoles is brig's own record, of a file that had holes where it was packed.
	// archive/tar writes no sparse files; others read the zeros.
	paxHoles = "BRIG.holes"
)

// extractor is one unpacking.
type extractor struct {
	root   int // the tree
	opts   Options
	report Report
	notes  noted
	parent string // the directory that parentFD is of
	fd     int    // -1 for none
	dirs   map[string]*tar.Header
	order  []string // of dirs
	buf    []byte
	euid   int
	egid   int
	made   map[string]bool // directories that no entry has described
	white  map[string]bool // whiteouts of this layer
}

// Extract unpacks a layer into a directory that exists and is empty. Reading
// goes on to the end of r, so that whoever writes it can hash all of it.
func Extract(r io.Reader, dir string, opts Options) (*Report, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the tree: %w", err)
	}
	defer unix.Close(root)
	x := &extractor{
		root: root, opts: opts, fd: -1, dirs: map[string]*tar.Header{}, buf: make([]byte, 256<<10),
		euid: unix.Geteuid(), egid: unix.Getegid(), made: map[string]bool{}, white: map[string]bool{},
	}
	defer x.leave()
	tr := tar.NewReader(r)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the archive: %w", err)
		}
		if err := x.entry(hdr, tr); err != nil {
			return nil, fmt.Errorf("%q: %w", shorten(hdr.Name), err)
		}
	}
	if err := x.finish(); err != nil {
		return nil, err
	}
	if _, err := io.CopyBuffer(io.Discard, r, x.buf); err != nil {
		return nil, fmt.Errorf("reading what follows the archive: %w", err)
	}
	if n := len(x.made); n > 0 {
		x.notes.addN("directories that the layer does not describe were made with mode 0755", n, "")
	}
	x.report.Notes = x.notes.list()
	return &x.report, nil
}

// shorten keeps a name out of an error's way.
func shorten(name string) string {
	if len(name) > 200 {
		return name[:200] + "…"
	}
	return name
}

// clean checks an entry's name, and gives it relative to the tree; "." is the
// tree itself. Leading slashes mean the tree's root, as everywhere.
func (x *extractor) clean(name string) (string, error) {
	if strings.ContainsRune(name, 0) {
		return "", errors.New("a NUL byte in a name")
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "..":
			return "", errors.New("a name with .. leads out of the layer")
		case "", ".":
		default:
			depth++
		}
	}
	if x.opts.Limits.Depth > 0 && depth > x.opts.Limits.Depth {
		return "", fmt.Errorf("%w: a path of %d names, allowed are %d", ErrLimit, depth, x.opts.Limits.Depth)
	}
	name = path.Clean("/" + name)[1:]
	if name == "" {
		name = "."
	}
	return name, nil
}

func (x *extractor) entry(hdr *tar.Header, r io.Reader) error {
	x.report.Files++
	if l := x.opts.Limits.Files; l > 0 && x.report.Files > l {
		return fmt.Errorf("%w: more than %d entries", ErrLimit, l)
	}
	name, err := x.clean(hdr.Name)
	if err != nil {
		return err
	}
	if name == "." {
		if hdr.Typeflag != tar.TypeDir {
			return errors.New("the root of a layer must be a directory")
		}
		x.remember(name, hdr)
		return nil
	}
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	parent, err := x.enter(dir)
	if err != nil {
		return err
	}
	if hidden, ok := strings.CutPrefix(base, whiteoutPrefix); ok {
		return x.whiteout(dir, parent, base, hidden)
	}
	switch hdr.Typeflag {
	case tar.TypeDir:
		return x.directory(name, parent, base, hdr)
	case tar.TypeReg, tar.TypeGNUSparse:
		return x.regular(parent, base, name, hdr, r)
	case tar.TypeSymlink:
		if err := x.clear(parent, base, name); err != nil {
			return err
		}
		if err := unix.Symlinkat(hdr.Linkname, parent, base); err != nil {
			return fmt.Errorf("making the symbolic link: %w", err)
		}
		return x.attributes(parent, base, hdr)
	case tar.TypeLink:
		return x.hardLink(parent, base, name, hdr)
	case tar.TypeFifo:
		if err := x.clear(parent, base, name); err != nil {
			return err
		}
		if err := unix.Mknodat(parent, base, unix.S_IFIFO|0o600, 0); err != nil {
			return fmt.Errorf("making the fifo: %w", err)
		}
		return x.attributes(parent, base, hdr)
	case tar.TypeChar, tar.TypeBlock:
		x.notes.add("device nodes were left out: a sandbox has its own /dev", name)
		return nil
	case tar.TypeXGlobalHeader:
		return nil
	}
	return fmt.Errorf("an entry of type %q, which no layer has", hdr.Typeflag)
}

// whiteout hides a name of the layers below, or with the marker all of them.
func (x *extractor) whiteout(dir string, parent int, base, hidden string) error {
	if base == opaqueMarker {
		return x.opaque(parent)
	}
	if strings.HasPrefix(hidden, whiteoutPrefix) {
		// .wh..wh.plnk and its kin are aufs's own bookkeeping.
		x.notes.add("bookkeeping of aufs was left out", path.Join(dir, base))
		return nil
	}
	if hidden == "" || hidden == "." || hidden == ".." {
		return errors.New("a whiteout without a name")
	}
	var st unix.Stat_t
	switch err := unix.Fstatat(parent, hidden, &st, unix.AT_SYMLINK_NOFOLLOW); {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		// Deleted and made again: only what is below is hidden.
		fd, err := unix.Openat(parent, hidden, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return x.opaque(fd)
	case err == nil:
		return nil // the layer has another file there, which hides it as well
	case !errors.Is(err, unix.ENOENT):
		return err
	}
	if err := unix.Mknodat(parent, hidden, unix.S_IFCHR, 0); err != nil {
		return fmt.Errorf("making a whiteout: %w", err)
	}
	x.white[path.Join(dir, hidden)] = true
	return nil
}

func (x *extractor) opaque(dir int) error {
	if err := setXattr(dir, opaqueXattr, "y"); err != nil {
		return fmt.Errorf("making a directory opaque: %w", err)
	}
	return nil
}

// remember puts a directory's attributes off to the end: what is made in it
// changes its time, and may not be allowed by its mode.
func (x *extractor) remember(name string, hdr *tar.Header) {
	if x.dirs[name] == nil {
		x.order = append(x.order, name)
	}
	x.dirs[name] = &tar.Header{Name: hdr.Name, Mode: hdr.Mode, Uid: hdr.Uid, Gid: hdr.Gid, ModTime: hdr.ModTime, PAXRecords: hdr.PAXRecords, Typeflag: tar.TypeDir}
	delete(x.made, name)
}

// finish gives the directories their attributes, the deepest first.
func (x *extractor) finish() error {
	for i := len(x.order) - 1; i >= 0; i-- {
		name := x.order[i]
		fd, err := x.open(name)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			continue // a later entry took its place
		}
		if err != nil {
			return fmt.Errorf("%q: %w", shorten(name), err)
		}
		err = x.attributes(fd, "", x.dirs[name])
		unix.Close(fd)
		if err != nil {
			return fmt.Errorf("%q: %w", shorten(name), err)
		}
	}
	return nil
}

func timespec(t time.Time) unix.Timespec {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return unix.NsecToTimespec(t.UnixNano())
}
