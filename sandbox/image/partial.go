package image

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// partialAge is how long a part of a blob waits for somebody who goes on with
// it.
const partialAge = 7 * 24 * time.Hour

// Partial is a blob on its way into the store: partial/HEX, locked by whoever
// writes it. A killed process leaves what it had, and the next one goes on from
// there; nobody relies on it before the whole has the digest of its name.
type Partial struct {
	File *os.File
	path string
}

func (s *Store) partialDir() string { return filepath.Join(s.dir, "partial") }

// Partial opens a blob that is not whole yet, at its beginning. Where another
// process is writing it, this one gets a file of its own in its work directory.
func (s *Store) Partial(w *Work, d Digest) (*Partial, error) {
	if err := os.MkdirAll(s.partialDir(), 0o700); err != nil {
		return nil, fmt.Errorf("keeping a partial blob: %w", err)
	}
	for {
		p, err := openPartial(filepath.Join(s.partialDir(), d.Hex()))
		if errors.Is(err, unix.EWOULDBLOCK) {
			p, err = openPartial(filepath.Join(w.Dir, "partial-"+d.Hex()))
		}
		if err != nil {
			return nil, fmt.Errorf("keeping a partial blob: %w", err)
		}
		if p != nil {
			return p, nil
		}
	}
}

// openPartial opens and locks. It returns nothing where the name went to another
// file meanwhile: then the file that was opened may be in the store already.
func openPartial(path string) (*Partial, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	same, err := stillNamed(f, path)
	if err != nil || !same {
		return nil, errors.Join(err, f.Close())
	}
	return &Partial{File: f, path: path}, nil
}

// stillNamed tells whether a name still leads to an open file.
func stillNamed(f *os.File, path string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	named, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, named), err
}

// Finish moves a whole blob, whose digest has been checked, into a work
// directory, synced.
func (p *Partial) Finish(w *Work, d Digest) error {
	if err := p.File.Sync(); err != nil {
		return fmt.Errorf("storing blob %s: %w", d, err)
	}
	if err := os.Rename(p.path, w.Blob(d)); err != nil {
		return fmt.Errorf("storing blob %s: %w", d, err)
	}
	return nil
}

// Close gives the blob up for now: what is there waits for the next process.
func (p *Partial) Close() error { return p.File.Close() }

// Remove throws away what is there.
func (p *Partial) Remove() error { return errors.Join(os.Remove(p.path), p.File.Close()) }

// removePartials removes the parts of blobs that nobody writes and that are
// older than an age.
func (s *Store) removePartials(age time.Duration, r *Removed) {
	entries, err := os.ReadDir(s.partialDir())
	if err != nil {
		return // there are none
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < age {
			continue
		}
		p, err := openPartial(filepath.Join(s.partialDir(), e.Name()))
		if err != nil || p == nil {
			continue
		}
		if p.Remove() == nil {
			r.Bytes += info.Size()
		}
	}
}

// HoldBlob makes a blob of the store one of the work directory's too, so that it
// stays whoever removes it meanwhile. It tells whether the store has it.
func (s *Store) HoldBlob(w *Work, d Descriptor) (bool, error) {
	info, err := os.Lstat(s.BlobPath(d.Digest))
	switch {
	case errors.Is(err, os.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() != d.Size):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading the image store: %w", err)
	}
	err = os.Link(s.BlobPath(d.Digest), w.Blob(d.Digest))
	switch {
	case err == nil, errors.Is(err, os.ErrExist):
		return true, nil
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("reading the image store: %w", err)
}

// WriteBlob puts a small blob into the work directory, synced.
func (w *Work) WriteBlob(b []byte) (err error) {
	f, err := os.OpenFile(w.Blob(DigestOf(b)), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err == nil {
		_, err = f.Write(b)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("storing blob %s: %w", DigestOf(b), err)
	}
	return nil
}
