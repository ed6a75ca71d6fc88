package image

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Findings is what Check found. All empty is a store in order.
type Findings struct {
	Index     string            // why index.json cannot be read, or ""
	Damaged   []Digest          // blobs whose content has another digest
	Broken    map[Digest]string // images by their manifests' digests, and what they lack
	NotOpened []Digest          // whole images whose layers are not all unpacked
	Leftovers []string          // what nothing leads to, relative to the store
}

// OK tells whether nothing was found.
func (f *Findings) OK() bool {
	return f.Index == "" && len(f.Damaged)+len(f.Broken)+len(f.NotOpened)+len(f.Leftovers) == 0
}

// Check reads every blob and compares it with its digest, and looks for what
// images lack and for what nothing leads to. The files of unpacked trees are not
// read: nothing says what they should be. It holds the store's lock, and others
// that change the store wait for it.
func (s *Store) Check(ctx context.Context) (*Findings, error) {
	f := &Findings{Broken: map[Digest]string{}}
	if _, err := os.Lstat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return f, s.check(ctx, f)
}

func (s *Store) check(ctx context.Context, f *Findings) error {
	if err := s.checkBlobs(ctx, f); err != nil {
		return err
	}
	x, err := s.readIndex()
	if err != nil {
		f.Index = err.Error()
		return nil //nolint:nilerr // it is a finding; what is left over cannot be told without it
	}
	blobs, diffs := map[Digest]bool{}, map[Digest]bool{}
	for _, e := range x.entries() {
		m, c, err := s.Documents(e.Manifest)
		if err != nil {
			f.Broken[e.Manifest.Digest] = err.Error()
			continue
		}
		blobs[e.Manifest.Digest], blobs[m.Config.Digest] = true, true
		for i, l := range m.Layers {
			blobs[l.Digest], diffs[c.RootFS.DiffIDs[i]] = true, true
			info, err := os.Lstat(s.BlobPath(l.Digest))
			switch {
			case err != nil:
				f.Broken[e.Manifest.Digest] = fmt.Sprintf("layer %d is missing: blob %s", i+1, l.Digest)
			case slices.Contains(f.Damaged, l.Digest):
				f.Broken[e.Manifest.Digest] = fmt.Sprintf("layer %d is damaged: blob %s has %d bytes of another digest", i+1, l.Digest, info.Size())
			}
		}
		if f.Broken[e.Manifest.Digest] == "" && len(c.RootFS.DiffIDs) > 0 && s.Unpacked(c) == nil {
			f.NotOpened = append(f.NotOpened, e.Manifest.Digest)
		}
	}
	users, err := s.users()
	if err != nil {
		return err
	}
	for d, by := range users {
		if blobs[d] {
			continue
		}
		m, c, err := s.Documents(Descriptor{Digest: d}) // its names were taken
		if err != nil {
			f.Broken[d] = fmt.Sprintf("container %s needs it: %v", strings.Join(by, ", "), err)
			continue
		}
		blobs[d], blobs[m.Config.Digest] = true, true
		for i, l := range m.Layers {
			blobs[l.Digest], diffs[c.RootFS.DiffIDs[i]] = true, true
		}
	}
	return s.leftovers(f, blobs, diffs)
}

func (s *Store) checkBlobs(ctx context.Context, f *Findings) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, "blobs/sha256"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("checking the image store: %w", err)
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d, err := ParseDigest(digestPrefix + e.Name())
		if err != nil {
			continue // a leftover
		}
		got, err := digestFile(s.BlobPath(d))
		if err != nil {
			return fmt.Errorf("checking the image store: %w", err)
		}
		if got != d {
			f.Damaged = append(f.Damaged, d)
		}
	}
	return nil
}

func digestFile(name string) (Digest, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return SumDigest(sum.Sum(nil)), nil
}

// leftovers lists what no image leads to. A held image's parts are none, and
// neither are the work directories of living processes.
func (s *Store) leftovers(f *Findings, blobs, diffs map[Digest]bool) error {
	works, err := s.stale()
	if err != nil {
		return err
	}
	for _, w := range works {
		f.Leftovers = append(f.Leftovers, "tmp/"+filepath.Base(w.Dir))
		w.lock.Close() // found, not removed
	}
	for _, pattern := range []string{"blobs/sha256/*", "layers/*/*", ".new-*", "blobs/sha256/.*"} {
		names, err := filepath.Glob(filepath.Join(s.dir, pattern))
		if err != nil {
			return err
		}
		for _, name := range names {
			d := Digest(digestPrefix + filepath.Base(name))
			if !blobs[d] && !diffs[d] && !s.held(d) {
				rel, _ := filepath.Rel(s.dir, name)
				f.Leftovers = append(f.Leftovers, rel)
			}
		}
	}
	return nil
}

// Repair removes damaged images and blobs and what is left over, and rebuilds
// an index that cannot be read; images then have no names. It returns the images
// whose layers have to be unpacked again.
func (s *Store) Repair(ctx context.Context, u Unpacker, f *Findings) ([]Digest, error) {
	if f.Index != "" {
		if err := s.rebuild(); err != nil {
			return nil, err
		}
		again, err := s.Check(ctx)
		if err != nil {
			return nil, err
		}
		f.Broken, f.NotOpened = again.Broken, again.NotOpened
	}
	_, err := s.change(ctx, u, func(x *Index, r *Removed) error {
		x.Manifests = slices.DeleteFunc(x.Manifests, func(d Descriptor) bool {
			_, broken := f.Broken[d.Digest]
			return broken
		})
		for _, d := range f.Damaged {
			if err := os.RemoveAll(s.BlobPath(d)); err != nil {
				return err
			}
		}
		return nil
	})
	return f.NotOpened, err
}

// rebuild makes an index of all manifests among the blobs.
func (s *Store) rebuild() error {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	entries, err := os.ReadDir(filepath.Join(s.dir, "blobs/sha256"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	x := &Index{SchemaVersion: 2, MediaType: TypeIndex}
	for _, e := range entries {
		d, err := ParseDigest(digestPrefix + e.Name())
		if err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil || info.Size() > MaxDocument {
			continue
		}
		m, c, err := s.Documents(Descriptor{Digest: d})
		if err != nil {
			continue
		}
		mediaType := m.MediaType
		if mediaType == "" {
			mediaType = TypeManifest
		}
		x.Manifests = append(x.Manifests, Descriptor{MediaType: mediaType, Digest: d, Size: info.Size(), Platform: &c.Platform})
	}
	return s.writeIndex(x)
}
