package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// spareRoom is what the end of a run may add to the record, in bytes.
const spareRoom = 16 << 10

func (c *Container) spareFile() string { return filepath.Join(c.dir, "container.spare") }

// reserve sets aside what the record of a run's end takes: the job may have filled
// the disk by then. A file system that cannot is left to luck.
func (c *Container) reserve() error {
	b, err := c.encode()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.spareFile(), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		err = unix.Fallocate(int(f.Fd()), 0, 0, int64(len(b)+spareRoom))
		if errors.Is(err, unix.EOPNOTSUPP) {
			err = nil
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("setting space aside for the end of the run, in %s: %w", c.spareFile(), err)
	}
	return nil
}

// saveEnd is Save on what reserve has set aside: written over, a file needs no more
// space than it has.
func (c *Container) saveEnd() error {
	f, err := os.OpenFile(c.spareFile(), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return c.Save()
	}
	var b []byte
	if err == nil {
		if b, err = c.encode(); err == nil {
			_, err = f.Write(b)
		}
		if err == nil {
			err = f.Truncate(int64(len(b)))
		}
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(c.spareFile(), c.recordFile())
	}
	if err == nil {
		err = syncDir(c.dir)
	}
	if err != nil {
		return fmt.Errorf("writing the record of a container: %w", err)
	}
	return nil
}
