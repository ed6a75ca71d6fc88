package userns

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// StoredFile records the range whose ids own what root keeps.
const StoredFile = "/var/lib/brig/range"

func (o *AllocateOptions) stored() string {
	switch {
	case o.Stored != "":
		return o.Stored
	case o.Dir != "":
		return filepath.Join(filepath.Dir(o.Dir), "range")
	}
	return StoredFile
}

// StoredRange is the one range to which all belongs that sandboxes of root's leave
// on this host: the layers of images, and those of containers. It is chosen as
// AllocateRange chooses one, the first time, and recorded; AllocateRange leaves it
// out from then on. Sandboxes that use it share it, as those of an ordinary user
// share the user's subordinate ids.
//
// Errors are AllocateRange's; a record that cannot be trusted, or whose ids have
// been given to somebody since, is LockDirUnsafe and RangesExhausted.
func StoredRange(o AllocateOptions) (Range, error) {
	r, err := readStored(o.stored())
	if err != nil {
		return Range{}, err
	}
	taken, err := takenRanges(etc{o.FS})
	if err != nil {
		return Range{}, err
	}
	if r.Count > 0 {
		if overlapsAny(r, taken) {
			return Range{}, &Problem{
				Reason: RangesExhausted, Cause: fmt.Sprintf("what root has kept belongs to the ids %s (%s), and an account or a range of /etc/subuid or /etc/subgid has some of them now", r, o.stored()),
				Fix: "move the account or range out of " + slicePool.String(),
			}
		}
		return r, nil
	}
	// Held until the record is there, so that nobody else draws it meanwhile.
	lease, err := AllocateRange(o)
	if err != nil {
		return Range{}, err
	}
	defer func() { _ = lease.Close() }()
	if err := writeStored(o.stored(), lease.Range); err != nil {
		return Range{}, &Problem{
			Reason: LockDirUnsafe, Cause: "recording the ids of what root keeps in " + o.stored(), Err: err,
			Fix: "make sure that " + path.Dir(o.stored()) + " is root's, on a writable file system with free space",
		}
	}
	return readStored(o.stored()) // another brig's, where that was faster
}

// readStored reads the record; a Count of zero is none.
func readStored(name string) (Range, error) {
	bad := func(cause string, err error) (Range, error) {
		return Range{}, &Problem{
			Reason: LockDirUnsafe, Cause: cause, Err: err,
			Fix: "put back the number that brig wrote into " + name + ", or remove it with all that root has kept: " + path.Dir(name) + "/images and " + path.Dir(name) + "/containers",
		}
	}
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Range{}, nil
	}
	if err != nil {
		return bad("opening "+name, err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return bad("opening "+name, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return bad(fmt.Sprintf("%s cannot be trusted: uid %d, mode %04o", name, st.Uid, st.Mode&0o7777), nil)
	}
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return bad("reading "+name, err)
	}
	start, err := strconv.ParseUint(strings.TrimSuffix(string(b), "\n"), 10, 32)
	r := Range{uint32(start), WantIDs}
	if err != nil || start < firstSlice || (start-firstSlice)%WantIDs != 0 || (start-firstSlice)/WantIDs >= Slices {
		return bad(fmt.Sprintf("%s holds %q, which is no range of %s", name, b, slicePool), nil)
	}
	return r, nil
}

// writeStored records a range, unless there is a record.
func writeStored(name string, r Range) error {
	// Sandboxes of root's pass through, with ids that nobody has.
	if err := os.MkdirAll(filepath.Dir(name), 0o711); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".range-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintln(f, r.Start)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// ShareStored lets the ids of the stored range pass through a directory of root's
// own, and nobody else: it gets their group, and mode 0710. Called by anybody but
// root it does nothing, since an ordinary user's sandboxes are begun with the
// user's own id.
func ShareStored(dirs ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	r, err := StoredRange(AllocateOptions{})
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.Lchown(dir, 0, int(r.Start)); err != nil {
			return err
		}
		if err := os.Chmod(dir, 0o710); err != nil {
			return err
		}
	}
	return openParent(filepath.Dir(StoredFile))
}

// openParent lets everybody pass through the directory that holds all of root's,
// whoever made it first.
func openParent(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o011 != 0o011 {
		return os.Chmod(dir, mode|0o011)
	}
	return nil
}
