package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Removed is what a removal did.
type Removed struct {
	Untagged []Name   // names that were taken
	Deleted  []Digest // images, by their manifests' digests
	Layers   int      // trees that went with them
	Bytes    int64    // of their blobs and trees
}

// Remove takes a name from an image. With its last name the image goes. A
// reference by id or digest means the image with all its names; that of an
// image with several names needs force. An image that a sandbox holds goes only
// with force, and then its layers stay until a Prune after the sandbox's end; one
// that a container was made of likewise, until the container is removed.
func (s *Store) Remove(ctx context.Context, u Unpacker, ref string, force bool) (*Removed, error) {
	if err := s.exists(ref); err != nil {
		return nil, err
	}
	return s.change(ctx, u, func(x *Index, r *Removed) error {
		e, err := s.find(x, ref)
		if err != nil {
			return err
		}
		taken := e.Names
		if n, err := ParseName(ref); err == nil && slices.Contains(e.Names, n) {
			taken = []Name{n}
		} else if len(e.Names) > 1 && !force {
			return fmt.Errorf("%s has %d names\n  fix: remove them one by one, or all with --force", clip(ref), len(e.Names))
		}
		if len(taken) == len(e.Names) {
			if s.held(e.Manifest.Digest) && !force {
				return fmt.Errorf("%s is %w\n  fix: end it first, or take the name alone with --force", clip(ref), ErrInUse)
			}
			// After the look at the lock: who makes a container holds the image.
			users, err := s.users()
			if err != nil {
				return err
			}
			if by := users[e.Manifest.Digest]; len(by) > 0 && !force {
				return fmt.Errorf("%s is needed by container %s\n  fix: remove that first (brig rm), or take the name alone with --force", clip(ref), strings.Join(by, ", "))
			}
			if len(users[e.Manifest.Digest]) == 0 {
				r.Deleted = append(r.Deleted, e.Manifest.Digest)
			}
		}
		r.Untagged = append(r.Untagged, taken...)
		x.Manifests = slices.DeleteFunc(x.Manifests, func(d Descriptor) bool {
			n, ok := entryName(&d)
			return d.Digest == e.Manifest.Digest && (!ok || slices.Contains(taken, n))
		})
		return nil
	})
}

// Prune removes images without a name and, with all, every image that no
// sandbox holds and no container was made of; keep may spare some. What killed processes left goes in any
// case.
func (s *Store) Prune(ctx context.Context, u Unpacker, all bool, keep func(*Entry) bool) (*Removed, error) {
	if _, err := os.Lstat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return &Removed{}, nil
	}
	return s.change(ctx, u, func(x *Index, r *Removed) error {
		s.removePartials(0, r)
		held := map[Digest]bool{}
		for _, e := range x.entries() {
			held[e.Manifest.Digest] = s.held(e.Manifest.Digest)
		}
		users, err := s.users()
		if err != nil {
			return err
		}
		for _, e := range x.entries() {
			if len(e.Names) > 0 && !all || held[e.Manifest.Digest] || len(users[e.Manifest.Digest]) > 0 || keep != nil && keep(&e) {
				continue
			}
			r.Deleted = append(r.Deleted, e.Manifest.Digest)
			r.Untagged = append(r.Untagged, e.Names...)
			x.Manifests = slices.DeleteFunc(x.Manifests, func(d Descriptor) bool { return d.Digest == e.Manifest.Digest })
		}
		return nil
	})
}

// change edits the index, and removes what nothing leads to any more: first
// the index is written, so that a kill leaves garbage and nothing that is named.
func (s *Store) change(ctx context.Context, u Unpacker, edit func(*Index, *Removed) error) (*Removed, error) {
	r := &Removed{}
	works, err := func() ([]*Work, error) {
		unlock, err := s.lock(unix.LOCK_EX)
		if err != nil {
			return nil, err
		}
		defer unlock()
		x, err := s.readIndex()
		if err != nil {
			return nil, err
		}
		before := len(x.Manifests)
		if err := edit(x, r); err != nil {
			return nil, err
		}
		if len(x.Manifests) != before {
			if err := s.shrinkIndex(x); err != nil {
				return nil, err
			}
		}
		works, err := s.collect(x, r)
		if len(x.Manifests) != before {
			s.reserve() // blobs have just made room
		}
		return works, err
	}()
	if err != nil {
		return nil, err
	}
	return r, s.Discard(ctx, u, works...)
}

// Sweep removes what killed processes left. It is cheap where there is nothing.
func (s *Store) Sweep(ctx context.Context, u Unpacker) error {
	if _, err := os.Lstat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	_, err := s.change(ctx, u, func(*Index, *Removed) error { return nil })
	return err
}

// collect finds garbage and moves it into work directories, which the caller
// discards without the lock. Blobs are removed at once.
func (s *Store) collect(x *Index, r *Removed) ([]*Work, error) {
	works, err := s.stale()
	if err != nil {
		return nil, fmt.Errorf("sweeping the image store: %w", err)
	}
	if left, err := filepath.Glob(filepath.Join(s.dir, ".new-*")); err == nil {
		for _, name := range left {
			_ = os.Remove(name)
		}
	}
	s.removePartials(partialAge, r)
	blobs, diffs, err := s.reachable(x)
	if err != nil {
		return works, err
	}
	if err := s.removeBlobs(blobs, r); err != nil {
		return works, err
	}
	var trash *Work
	dirs, err := filepath.Glob(filepath.Join(s.dir, "layers/*/*"))
	if err != nil {
		return works, err
	}
	for _, dir := range dirs {
		if diffs[Digest(digestPrefix+filepath.Base(dir))] {
			continue
		}
		if trash == nil {
			if trash, err = s.newWork(); err != nil {
				return works, err
			}
			trash.Subordinate = true
			works = append(works, trash)
		}
		if l, err := readLayer(dir); err == nil {
			r.Bytes += l.Bytes
		}
		r.Layers++
		to := filepath.Join(trash.Dir, filepath.Base(filepath.Dir(dir))+"-"+filepath.Base(dir))
		if err := os.Rename(dir, to); err != nil {
			return works, fmt.Errorf("removing layer %s: %w", dir, err)
		}
	}
	return works, nil
}

// reachable finds the blobs and layers of all images that are named by the
// index, or held.
func (s *Store) reachable(x *Index) (blobs, diffs map[Digest]bool, err error) {
	blobs, diffs = map[Digest]bool{}, map[Digest]bool{}
	mark := func(d Descriptor, must bool) error {
		m, c, err := s.Documents(d)
		if err != nil {
			if must {
				return fmt.Errorf("nothing is removed while an image is damaged: %w", err)
			}
			return nil
		}
		blobs[d.Digest], blobs[m.Config.Digest] = true, true
		for i, l := range m.Layers {
			blobs[l.Digest] = true
			diffs[c.RootFS.DiffIDs[i]] = true
		}
		return nil
	}
	for _, e := range x.entries() {
		if err := mark(e.Manifest, true); err != nil {
			return nil, nil, err
		}
	}
	// A held image may have no entry any more, and a container's.
	entries, err := os.ReadDir(filepath.Join(s.dir, "blobs/sha256"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	held := map[Digest]bool{}
	for _, e := range entries {
		d := Digest(digestPrefix + e.Name())
		held[d] = !blobs[d] && s.held(d)
	}
	users, err := s.users()
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		d, err := ParseDigest(digestPrefix + e.Name())
		if err != nil || blobs[d] || !held[d] && len(users[d]) == 0 {
			continue
		}
		if err := mark(Descriptor{Digest: d}, false); err != nil {
			return nil, nil, err
		}
	}
	return blobs, diffs, nil
}

func (s *Store) removeBlobs(keep map[Digest]bool, r *Removed) error {
	dir := filepath.Join(s.dir, "blobs/sha256")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if keep[Digest(digestPrefix+e.Name())] {
			continue
		}
		if info, err := e.Info(); err == nil {
			r.Bytes += info.Size()
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("removing a blob: %w", err)
		}
	}
	return nil
}

// Discard removes work directories. Where trees in them may belong to
// subordinate ids that is the Unpacker's, which is not asked for an empty one.
func (s *Store) Discard(ctx context.Context, u Unpacker, works ...*Work) error {
	var errs []error
	var dirs []string
	for _, w := range works {
		// What is the caller's own goes at once; often that is all.
		if err := os.RemoveAll(w.Dir); err != nil && w.Subordinate {
			dirs = append(dirs, w.Dir)
		} else if err != nil {
			errs = append(errs, err)
		}
	}
	if len(dirs) > 0 {
		if u == nil {
			errs = append(errs, fmt.Errorf("%s belongs to subordinate ids", strings.Join(dirs, ", ")))
		} else if err := u.Remove(ctx, dirs...); err != nil {
			errs = append(errs, err)
		}
	}
	for _, w := range works {
		if _, err := os.Lstat(w.Dir); err == nil {
			w.lock.Close() // the next sweep tries again
			continue
		}
		w.forget()
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("removing what is not needed any more: %w", err)
	}
	return nil
}
