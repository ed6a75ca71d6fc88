package layer

import (
	"archive/tar"
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/changes"
)

// inRoot resolves every part of a path inside the tree: an absolute symbolic
// link starts at the tree's root, and .. stops there.
const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// open opens a directory of the tree for making and changing things in it.
func (x *extractor) open(dir string) (int, error) {
	return openIn(x.root, dir, unix.O_RDONLY|unix.O_DIRECTORY)
}

// openIn opens what a name means in the tree. The kernel wants to be asked again where
// somebody renamed something meanwhile, which a hostile neighbour may do all the time
// while it follows the links of a hostile archive.
func openIn(root int, name string, flags uint64) (int, error) {
	const often = 1000
	for asked := 0; ; asked++ {
		fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: inRoot})
		if !errors.Is(err, unix.EINTR) && (!errors.Is(err, unix.EAGAIN) || asked >= often) {
			return fd, err
		}
	}
}

// enter gives the directory in which an entry is to be made, making what is
// missing of it. The last one stays open, since archives go through a directory
// at a time.
func (x *extractor) enter(dir string) (int, error) {
	if x.fd >= 0 && x.parent == dir {
		return x.fd, nil
	}
	x.leave()
	fd, err := x.open(dir)
	if errors.Is(err, unix.ENOENT) {
		fd, err = x.make(dir, maxLinks)
	}
	if err != nil {
		return -1, fmt.Errorf("opening its directory: %w", err)
	}
	x.fd, x.parent = fd, dir
	return fd, nil
}

func (x *extractor) leave() {
	if x.fd >= 0 {
		unix.Close(x.fd)
	}
	x.fd = -1
}

// maxLinks is how many dangling links one name may lead through; the kernel
// itself follows 40.
const maxLinks = 8

// make makes a directory that no entry has described, and those above it. A
// link on the way may lead to a directory that only a layer below has, such as
// var/run to /run: that one is made as well.
func (x *extractor) make(dir string, links int) (int, error) {
	done := "."
	for part := range strings.SplitSeq(dir, "/") {
		parent, err := x.open(done)
		if err != nil {
			return -1, err
		}
		above := done
		done = path.Join(done, part)
		err = unix.Mkdirat(parent, part, 0o755)
		switch {
		case err == nil:
			x.made[done] = true
			err = unix.Fchmodat(parent, part, 0o755, 0) // whatever the umask is
		case errors.Is(err, unix.EEXIST):
			err = x.makeBehind(parent, above, part, links)
		}
		unix.Close(parent)
		if err != nil {
			return -1, err
		}
	}
	return x.open(dir)
}

// makeBehind makes the directory to which a dangling link leads.
func (x *extractor) makeBehind(parent int, above, part string, links int) error {
	fd, err := x.open(path.Join(above, part))
	if err == nil {
		unix.Close(fd)
		return nil
	}
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	if links == 0 {
		return unix.ELOOP
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(parent, part, buf)
	if err != nil {
		return err
	}
	to := string(buf[:n])
	if !path.IsAbs(to) {
		to = path.Join("/", above, to)
	}
	if to = path.Clean(to)[1:]; to == "" {
		return unix.ENOENT
	}
	if fd, err = x.make(to, links-1); err == nil {
		unix.Close(fd)
	}
	return err
}

// directory makes a directory, or takes the one that is there.
func (x *extractor) directory(name string, parent int, base string, hdr *tar.Header) error {
	err := unix.Mkdirat(parent, base, 0o700)
	if errors.Is(err, unix.EEXIST) {
		var st unix.Stat_t
		if err = unix.Fstatat(parent, base, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if err = x.clear(parent, base, name); err == nil {
				err = unix.Mkdirat(parent, base, 0o700)
			}
			if err == nil && x.white[name] {
				delete(x.white, name)
				err = x.opaqueAt(parent, base)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	x.remember(name, hdr)
	return nil
}

// opaqueAt is for a directory whose whiteout came first: it was deleted and
// made again.
func (x *extractor) opaqueAt(parent int, base string) error {
	fd, err := unix.Openat(parent, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return x.opaque(fd)
}

// clear removes what a later entry of the same name replaces.
func (x *extractor) clear(parent int, base, name string) error {
	err := unix.Unlinkat(parent, base, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if errors.Is(err, unix.EISDIR) {
		// What was remembered of directories below it must not meet what comes.
		for _, dir := range x.order {
			if dir == name || strings.HasPrefix(dir, name+"/") {
				delete(x.dirs, dir)
			}
		}
		x.order = deleteMissing(x.order, x.dirs)
		x.leaveBelow(name)
		err = changes.RemoveAll(parent, base)
	}
	if err != nil {
		return fmt.Errorf("replacing what an earlier entry made: %w", err)
	}
	return nil
}

// leaveBelow forgets the open directory when it is about to go. The caller
// still uses the descriptor of the parent, which stays.
func (x *extractor) leaveBelow(name string) {
	if x.parent == name || strings.HasPrefix(x.parent, name+"/") {
		x.leave()
	}
}

func deleteMissing(order []string, dirs map[string]*tar.Header) []string {
	kept := order[:0]
	for _, d := range order {
		if dirs[d] != nil {
			kept = append(kept, d)
		}
	}
	return kept
}

// hardLink links to a file of the same layer.
func (x *extractor) hardLink(parent int, base, name string, hdr *tar.Header) error {
	target, err := x.clean(hdr.Linkname)
	if err != nil {
		return fmt.Errorf("hard link to %q: %w", shorten(hdr.Linkname), err)
	}
	if target == name {
		return errors.New("a hard link to itself")
	}
	dir, file := path.Split(target)
	fd, err := x.open(path.Clean(dir))
	if err == nil {
		defer unix.Close(fd)
		var st unix.Stat_t
		if err = unix.Fstatat(fd, file, &st, unix.AT_SYMLINK_NOFOLLOW); err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR {
			err = unix.EISDIR
		}
	}
	if err != nil {
		return fmt.Errorf("hard link to %q, which this layer does not have as a file: %w", shorten(hdr.Linkname), err)
	}
	if err := x.clear(parent, base, name); err != nil {
		return err
	}
	if err := unix.Linkat(fd, file, parent, base, 0); err != nil {
		return fmt.Errorf("hard link to %q: %w", shorten(hdr.Linkname), err)
	}
	return nil
}
