// Package atomicfile replaces files whole: whoever reads one, also after a crash,
// finds what was there before or what was written. It can set space aside for that,
// so that a record can be written on a disk that somebody else has filled.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Replace writes a file whole: a temporary one (.new-*) beside it, synced, renamed
// over it. It can be read by its owner alone.
func Replace(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already where all went well
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return move(f.Name(), name)
}

func move(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// SyncDir makes what was renamed in a directory last.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Reserve makes a file that has so many bytes of the disk, for ReplaceReserved. A
// file system that cannot say so gives none, and no error.
func Reserve(spare string, size int64) error {
	f, err := os.OpenFile(spare, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, max(size, 1))
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	if err != nil {
		err = &fs.PathError{Op: "reserve", Path: spare, Err: err}
	}
	return errors.Join(err, f.Close())
}

// ReplaceReserved is Replace by means of what Reserve has made, in the same
// directory: written over, a file needs no more of the disk than it has. It is
// used up by that. Where there is none this is Replace.
func ReplaceReserved(name, spare string, content []byte) error {
	f, err := os.OpenFile(spare, os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Replace(name, content)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return move(spare, name)
}

// Full tells whether an error is that the disk is full, or the caller's part of it.
func Full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
