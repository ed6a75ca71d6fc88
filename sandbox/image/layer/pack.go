package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// PackOptions say what of a stack of layers is written.
type PackOptions struct {
	// Changes writes the uppermost layer alone, as the archive of an OCI layer:
	// with whiteouts, and without the root directory. Otherwise the merged tree
	// is written, as a plain archive.
	Changes bool
	// Upper says that the uppermost layer is an upper that was mounted under a
	// runtime: Own, what lies below /dev, /proc and /sys, and overlayfs's notes
	// are not the job's.
	Upper bool
	// Own are paths that the runtime made anew for each run, absolute. Of their
	// directories the content counts, and the attributes are the layers' below.
	Own []string
	// Given are directories and files that were given to the sandbox, absolute:
	// neither they nor what is below them are the job's.
	Given []string
	// Squash writes 0:0 for all owners.
	Squash bool
}

// maxPackDepth bounds the depth of a tree: each level keeps descriptors open.
const maxPackDepth = 256

// packer writes one archive.
type packer struct {
	tw     *tar.Writer
	opts   PackOptions
	own    map[string]bool
	given  []string // with those that every sandbox has
	links  map[inode]string
	report Report
	notes  noted
	buf    []byte
}

type inode struct{ dev, ino uint64 }

// source is a directory of one layer.
type source struct {
	fd  int
	top bool // of the uppermost layer
}

// found is a name as the uppermost layer that has it shows it.
type found struct {
	in   source
	st   unix.Stat_t
	down []source // the directories to merge, the uppermost first; for directories
	meta int      // that of down whose attributes count
}

// Pack writes layers, bottom first, to w. Nothing in them is followed or opened
// but directories and regular files. What an archive cannot hold is an error, and
// what has no meaning elsewhere, such as a socket, is noted.
func Pack(w io.Writer, layers []string, opts PackOptions) (*Report, error) {
	p := &packer{tw: tar.NewWriter(w), opts: opts, own: map[string]bool{}, links: map[inode]string{}, buf: make([]byte, 256<<10)}
	for _, o := range opts.Own {
		p.own[strings.TrimPrefix(path.Clean(o), "/")] = true
	}
	p.given = []string{"dev", "proc", "sys"}
	for _, g := range opts.Given {
		p.given = append(p.given, strings.TrimPrefix(path.Clean(g), "/"))
	}
	var roots []source
	defer func() { closeAll(roots) }()
	for i := len(layers) - 1; i >= 0; i-- {
		fd, err := unix.Open(layers[i], unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("opening a layer: %w", err)
		}
		roots = append(roots, source{fd, i == len(layers)-1})
	}
	if err := p.directory("", roots, 0); err != nil {
		return nil, err
	}
	if err := p.tw.Close(); err != nil {
		return nil, fmt.Errorf("writing the archive: %w", err)
	}
	p.report.Notes = p.notes.list()
	return &p.report, nil
}

func closeAll(list []source) {
	for _, s := range list {
		unix.Close(s.fd)
	}
}

// directory writes what is in a directory.
func (p *packer) directory(at string, dirs []source, depth int) error {
	if depth > maxPackDepth {
		return fmt.Errorf("%q: directories are nested more than %d deep", shorten(at), maxPackDepth)
	}
	names, err := p.names(dirs)
	if err != nil {
		return fmt.Errorf("reading %q: %w", shorten(at), err)
	}
	for _, name := range names {
		if err := p.entry(path.Join(at, name), name, dirs, depth); err != nil {
			return err
		}
	}
	return nil
}

// names lists a directory, merged or of the uppermost layer, in byte order.
func (p *packer) names(dirs []source) ([]string, error) {
	seen := map[string]bool{}
	for _, d := range dirs {
		if p.opts.Changes && !d.top {
			continue
		}
		for {
			n, err := unix.ReadDirent(d.fd, p.buf)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if n == 0 {
				break
			}
			_, _, list := unix.ParseDirent(p.buf[:n], -1, nil)
			for _, name := range list {
				seen[name] = true
			}
		}
	}
	list := make([]string, 0, len(seen))
	for name := range seen {
		list = append(list, name)
	}
	slices.Sort(list)
	return list, nil
}

// hidden tells whether the uppermost layer's entry of a path is the runtime's.
// Directories of its own are looked into.
func (p *packer) hidden(full string, st *unix.Stat_t) bool {
	if !p.opts.Upper {
		return false
	}
	for _, dir := range p.given {
		if full == dir || strings.HasPrefix(full, dir+"/") {
			return true
		}
	}
	return p.own[full] && st.Mode&unix.S_IFMT != unix.S_IFDIR
}

// look finds a name. Its down are opened, and the caller's to close.
func (p *packer) look(full, name string, dirs []source) (*found, error) {
	var f *found
	below := false // the attributes are those of a layer below, if one has the directory
	for _, d := range dirs {
		var st unix.Stat_t
		err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) || err == nil && d.top && p.hidden(full, &st) {
			continue
		}
		if err != nil {
			return f, err
		}
		dir := st.Mode&unix.S_IFMT == unix.S_IFDIR
		if f == nil {
			f = &found{in: d, st: st}
			below = dir && p.opts.Upper && d.top && p.own[full]
		}
		if !dir {
			break // what is below it is hidden
		}
		fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return f, err
		}
		f.down = append(f.down, source{fd, d.top})
		opaque, err := isOpaque(fd)
		if err != nil {
			return f, err
		}
		if last := len(f.down) - 1; below && last > 0 {
			f.st, f.meta, below = st, last, false
		}
		if opaque || p.opts.Changes && !below {
			break
		}
	}
	return f, nil
}

func isOpaque(fd int) (bool, error) {
	var b [8]byte
	n, err := unix.Fgetxattr(fd, opaqueXattr, b[:])
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	return err == nil && string(b[:n]) == "y", err
}

func isWhiteout(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 }

// entry writes a name of a directory with all that is below it.
func (p *packer) entry(full, name string, dirs []source, depth int) (err error) {
	f, err := p.look(full, name, dirs)
	if f != nil {
		defer closeAll(f.down)
	}
	if err != nil {
		return fmt.Errorf("reading %q: %w", shorten(full), err)
	}
	if f == nil || p.opts.Changes && !f.in.top {
		return nil
	}
	switch {
	case isWhiteout(&f.st) && !p.opts.Changes:
		return nil
	case isWhiteout(&f.st):
		err = p.marker(path.Join(path.Dir(full), whiteoutPrefix+name))
	case p.opts.Changes && strings.HasPrefix(name, whiteoutPrefix):
		err = fmt.Errorf("a name that begins with %s would mean a deletion in a layer\n  fix: rename or remove the file in the container", whiteoutPrefix)
	default:
		err = p.write(full, name, f)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", shorten(full), err)
	}
	if len(f.down) == 0 {
		return nil
	}
	if p.opts.Changes {
		opaque, err := isOpaque(f.down[0].fd)
		if err == nil && opaque {
			err = p.marker(path.Join(full, opaqueMarker))
		}
		if err != nil {
			return fmt.Errorf("%q: %w", shorten(full), err)
		}
	}
	return p.directory(full, f.down, depth+1)
}

// marker writes the empty file that stands for a deletion.
func (p *packer) marker(name string) error {
	p.report.Files++
	return p.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
}

// write writes one entry.
func (p *packer) write(full, name string, f *found) error {
	st := &f.st
	hdr := &tar.Header{
		Name: full, Mode: int64(st.Mode & 0o7777), Uid: int(st.Uid), Gid: int(st.Gid), ModTime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec),
		Format: tar.FormatPAX, PAXRecords: map[string]string{},
	}
	if p.opts.Squash {
		hdr.Uid, hdr.Gid = 0, 0
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		hdr.Typeflag, hdr.Name = tar.TypeDir, full+"/"
		if err := p.xattrs(f.down[f.meta].fd, hdr); err != nil {
			return err
		}
	case unix.S_IFREG:
		return p.regular(full, name, f, hdr)
	case unix.S_IFLNK:
		text, err := readlink(f.in.fd, name)
		if err != nil {
			return err
		}
		hdr.Typeflag, hdr.Linkname = tar.TypeSymlink, text
	case unix.S_IFIFO:
		hdr.Typeflag = tar.TypeFifo
	case unix.S_IFSOCK:
		p.notes.add("sockets were left out", full)
		return nil
	default:
		p.notes.add("devices were left out", full)
		return nil
	}
	return p.header(hdr)
}

func (p *packer) header(hdr *tar.Header) error {
	p.report.Files++
	return p.tw.WriteHeader(hdr)
}

func readlink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(dir, name, buf)
	return string(buf[:max(n, 0)]), err
}
