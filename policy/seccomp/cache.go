package seccomp

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// CacheDir is where compiled programs are kept: $XDG_CACHE_HOME/brig/filters, or
// ~/.cache/brig/filters. It is empty where there is no home.
func CacheDir() string {
	base := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(base) { // also where it is unset; the XDG rules ignore relative ones
		home := os.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return ""
		}
		base = filepath.Join(home, ".cache")
	}
	return filepath.Join(base, "brig", "filters")
}

// Files that are older than this and were never renamed belong to a brig that
// died; beyond so many entries old ones are removed.
const (
	staleAfter   = time.Hour
	cacheEntries = 256
)

// openCache opens the directory of the cache, which must be the caller's alone.
func openCache(dir string, create bool) (*os.File, error) {
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making the filter cache: %w", err)
		}
	}
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the filter cache %s: %w", dir, err)
	}
	d := os.NewFile(uintptr(fd), dir)
	if err := ownAlone(fd, dir, 0o077); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// ownAlone makes sure that an open file or directory is the caller's and that
// the mode gives others none of the bits in forbidden.
func ownAlone(fd int, name string, forbidden uint32) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fmt.Errorf("filter cache: stat %s: %w", name, err)
	}
	if int(st.Uid) != unix.Geteuid() {
		return fmt.Errorf("filter cache: %s belongs to uid %d, not to you: remove it", name, st.Uid)
	}
	if bad := st.Mode & forbidden; bad != 0 {
		return fmt.Errorf("filter cache: %s has mode %#o, others may have changed it: remove it", name, st.Mode&0o7777)
	}
	return nil
}

// readCache finds a program and verifies it. Without an entry it returns nil. An
// entry that is corrupt, not the caller's or does something else than the profile
// says is removed and returned as an error.
func readCache(dir string, p *Profile) (*Compiled, error) {
	d, err := openCache(dir, false)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer closeQuietly(d)
	fd, err := unix.Openat(int(d.Fd()), p.Key, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err == nil {
		var c *Compiled
		if c, err = readEntry(fd, p); err == nil {
			return c, nil
		}
	}
	err = fmt.Errorf("filter cache: entry %s/%s: %w", dir, p.Key, err)
	if removeErr := unix.Unlinkat(int(d.Fd()), p.Key, 0); removeErr != nil && !errors.Is(removeErr, unix.ENOENT) {
		err = errors.Join(err, fmt.Errorf("filter cache: removing it: %w", removeErr))
	}
	return nil, err
}

// readEntry reads and verifies an entry, and closes it.
func readEntry(fd int, p *Profile) (*Compiled, error) {
	f := os.NewFile(uintptr(fd), p.Key)
	defer closeQuietly(f)
	if err := ownAlone(fd, p.Key, 0o022); err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("it is not a regular file"), err)
	}
	b, err := io.ReadAll(io.LimitReader(f, int64(maxEncoded)+1))
	if err != nil {
		return nil, err
	}
	c, err := decode(b, p.Key, p.Arch)
	if err != nil {
		return nil, err
	}
	if err := Verify(p, c); err != nil {
		return nil, err
	}
	return c, nil
}

// writeCache keeps a program. Concurrent writers write files of their own and
// rename them onto the same name, so readers see a whole entry or none.
func writeCache(dir string, c *Compiled) error {
	b, err := c.MarshalBinary()
	if err != nil {
		return err
	}
	d, err := openCache(dir, true)
	if err != nil {
		return err
	}
	defer closeQuietly(d)
	sweepCache(d)
	at, tmp := int(d.Fd()), ".new-"+rand.Text()
	fd, err := unix.Openat(at, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("filter cache: writing to %s: %w", dir, err)
	}
	f := os.NewFile(uintptr(fd), tmp)
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = unix.Renameat(at, tmp, at, c.Key)
	}
	if err != nil {
		// The entry is of use to nobody; a later sweep removes what stays.
		return errors.Join(fmt.Errorf("filter cache: writing to %s: %w", dir, err), unix.Unlinkat(at, tmp, 0))
	}
	return nil
}

// sweepCache removes what dead writers left, and everything once there are too
// many entries: they are cheap to make again. What cannot be removed stays.
func sweepCache(d *os.File) {
	entries, err := d.ReadDir(-1)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.IsDir() {
			continue
		}
		stale := e.Name()[0] == '.' && time.Since(info.ModTime()) > staleAfter
		if stale || (len(entries) > cacheEntries && e.Name()[0] != '.') {
			if unix.Unlinkat(int(d.Fd()), e.Name(), 0) != nil {
				return
			}
		}
	}
}

// closeQuietly closes a file that was only read.
func closeQuietly(f *os.File) {
	if err := f.Close(); err != nil {
		return
	}
}
