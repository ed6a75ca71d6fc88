package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/sandbox/atomicfile"
)

// Entry is an image of the store with all its names.
type Entry struct {
	Manifest Descriptor
	Names    []Name // sorted; none where every name went to another image
}

// ErrNotFound is wrapped where the store has no such image.
var ErrNotFound = errors.New("no such image")

// ErrInUse is wrapped where a sandbox holds an image that was to be removed.
var ErrInUse = errors.New("in use by a running sandbox")

func (s *Store) indexPath() string { return filepath.Join(s.dir, "index.json") }

// readIndex needs no lock: the file is only ever replaced whole.
func (s *Store) readIndex() (*Index, error) {
	b, err := ReadDocument(s.indexPath())
	if errors.Is(err, fs.ErrNotExist) {
		return &Index{SchemaVersion: 2, MediaType: TypeIndex}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the image store: %w", err)
	}
	x, err := ParseIndex(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n  fix: brig system check --repair rebuilds it from the blobs", s.indexPath(), err)
	}
	return x, nil
}

// spareRoom is what is set aside beyond the index as it is.
const spareRoom = 16 << 10

func (s *Store) sparePath() string { return filepath.Join(s.dir, "index.spare") }

// writeIndex replaces the index. The caller holds the lock exclusively.
func (s *Store) writeIndex(x *Index) error { return s.putIndex(x, atomicfile.Replace) }

// shrinkIndex is writeIndex where something is taken from the index: that has to
// be possible on a full disk, or nobody could make room.
func (s *Store) shrinkIndex(x *Index) error {
	return s.putIndex(x, func(name string, content []byte) error {
		err := atomicfile.Replace(name, content)
		if atomicfile.Full(err) {
			err = atomicfile.ReplaceReserved(name, s.sparePath(), content)
		}
		return err
	})
}

// reserve sets space aside for shrinkIndex, where there is some.
func (s *Store) reserve() {
	if info, err := os.Lstat(s.indexPath()); err == nil {
		_ = atomicfile.Reserve(s.sparePath(), info.Size()+spareRoom)
	}
}

func (s *Store) putIndex(x *Index, replace func(name string, content []byte) error) error {
	layout := filepath.Join(s.dir, "oci-layout")
	if _, err := os.Lstat(layout); err != nil {
		if err := atomicfile.Replace(layout, []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
			return fmt.Errorf("writing the image store: %w", err)
		}
	}
	if x.Manifests == nil {
		x.Manifests = []Descriptor{} // "null" is no list to other tools
	}
	b, err := json.MarshalIndent(x, "", "\t")
	if err == nil {
		err = replace(s.indexPath(), b)
	}
	if err != nil {
		return fmt.Errorf("writing the image store: %w", err)
	}
	return nil
}

// entryName is the name that an entry of an index has, if any.
func entryName(d *Descriptor) (Name, bool) {
	full := d.Annotations[AnnotationName]
	if full == "" {
		return Name{}, false
	}
	n, err := ParseName(full)
	return n, err == nil
}

// named is a copy of a manifest's descriptor under a name; without one it is a
// dangling entry.
func named(d Descriptor, n *Name) Descriptor {
	d.Annotations = nil
	if n != nil {
		d.Annotations = map[string]string{AnnotationName: n.String()}
		if n.Tag != "" { // it was not pulled by a digest
			d.Annotations[AnnotationTag] = n.Tag
		}
	}
	return d
}

// setName makes a name that of one image alone. The image that had it keeps an
// entry without a name when it has no other.
func (x *Index) setName(d Descriptor, n *Name) {
	var lost []Descriptor
	x.Manifests = slices.DeleteFunc(x.Manifests, func(e Descriptor) bool {
		have, ok := entryName(&e)
		switch {
		case ok && n != nil && have == *n:
			lost = append(lost, e)
			return true
		case !ok && e.Digest == d.Digest:
			return true // it gets a name, or its entry anew
		}
		return false
	})
	if n != nil || !x.has(d.Digest) {
		x.Manifests = append(x.Manifests, named(d, n))
	}
	for _, e := range lost {
		if !x.has(e.Digest) {
			x.Manifests = append(x.Manifests, named(e, nil))
		}
	}
}

func (x *Index) has(d Digest) bool {
	return slices.ContainsFunc(x.Manifests, func(e Descriptor) bool { return e.Digest == d })
}

// entries gathers the names of each image, in the order of the index.
func (x *Index) entries() []Entry {
	var list []Entry
	at := map[Digest]int{}
	for _, d := range x.Manifests {
		i, ok := at[d.Digest]
		if !ok {
			i = len(list)
			at[d.Digest] = i
			list = append(list, Entry{Manifest: named(d, nil)})
		}
		if n, ok := entryName(&d); ok {
			list[i].Names = append(list[i].Names, n)
		}
	}
	for _, e := range list {
		slices.SortFunc(e.Names, func(a, b Name) int { return strings.Compare(a.String(), b.String()) })
	}
	return list
}

// List is every image of the store.
func (s *Store) List() ([]Entry, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	return x.entries(), nil
}

// Find is the image that a reference means: a name, a name with the manifest's
// digest, the id (the config's digest) or the manifest's digest, or the first
// digits of either. A name goes before digits.
func (s *Store) Find(ref string) (*Entry, error) {
	x, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	return s.find(x, ref)
}

func (s *Store) find(x *Index, ref string) (*Entry, error) {
	entries := x.entries()
	name, nameErr := ParseName(ref)
	if nameErr == nil {
		for i, e := range entries {
			if slices.ContainsFunc(e.Names, func(n Name) bool { return name.matches(n, e.Manifest.Digest) }) {
				return &entries[i], nil
			}
		}
	}
	digits := strings.TrimPrefix(ref, digestPrefix)
	if !isHex(digits) || len(digits) > 64 {
		if nameErr != nil {
			return nil, nameErr
		}
		return nil, s.notFound(ref, entries)
	}
	found := map[Digest]*Entry{}
	for i, e := range entries {
		if strings.HasPrefix(e.Manifest.Digest.Hex(), digits) {
			found[e.Manifest.Digest] = &entries[i]
		} else if m, err := s.manifest(e.Manifest); err == nil && strings.HasPrefix(m.Config.Digest.Hex(), digits) {
			found[e.Manifest.Digest] = &entries[i]
		}
	}
	switch len(found) {
	case 0:
		return nil, s.notFound(ref, entries)
	case 1:
		for _, e := range found {
			return e, nil
		}
	}
	return nil, fmt.Errorf("%q begins the id of %d images\n  fix: give more digits", clip(ref), len(found))
}

// matches tells whether a reference means a stored name.
func (n Name) matches(stored Name, manifest Digest) bool {
	if n.Domain != stored.Domain || n.Path != stored.Path {
		return false
	}
	if n.Digest != "" && n.Digest == stored.Digest {
		return true // it was pulled by this digest: that of an index, perhaps
	}
	if n.Digest != "" && n.Digest != manifest {
		return false
	}
	return n.Tag == stored.Tag || n.Tag == "" && n.Digest != ""
}

// notFound names what comes near: other tags of the same repository.
func (s *Store) notFound(ref string, entries []Entry) error {
	fix := "get one: brig pull NAME, brig load -i FILE, brig import FILE NAME"
	near := map[string]bool{}
	if n, err := ParseName(ref); err == nil {
		for _, e := range entries {
			for _, have := range e.Names {
				if have.Path == n.Path {
					near[have.Familiar()] = true
				}
			}
		}
	}
	if len(near) > 0 {
		fix = "there is " + strings.Join(slices.Sorted(maps.Keys(near)), ", ")
	}
	return fmt.Errorf("%w: %s\n  fix: %s", ErrNotFound, clip(ref), fix)
}

// manifest reads an image's manifest and checks its digest.
func (s *Store) manifest(d Descriptor) (*Manifest, error) {
	b, err := s.document(d)
	if err != nil {
		return nil, err
	}
	return ParseManifest(b)
}

// document reads a small blob and checks its digest.
func (s *Store) document(d Descriptor) ([]byte, error) {
	b, err := ReadDocument(s.BlobPath(d.Digest))
	if err != nil {
		return nil, fmt.Errorf("reading the image store: %w\n  fix: brig system check --repair", err)
	}
	if DigestOf(b) != d.Digest {
		return nil, fmt.Errorf("the blob %s of the image store is damaged: its content has another digest\n  fix: brig system check --repair", d.Digest)
	}
	return b, nil
}

// Documents reads an image's manifest and config; both digests are checked.
func (s *Store) Documents(d Descriptor) (*Manifest, *ConfigFile, error) {
	m, err := s.manifest(d)
	if err != nil {
		return nil, nil, err
	}
	b, err := s.document(m.Config)
	if err != nil {
		return nil, nil, err
	}
	c, err := ParseConfig(b)
	if err != nil {
		return nil, nil, err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, nil, fmt.Errorf("the image %s is inconsistent: %d layers in its manifest, %d in its config", d.Digest.Short(), len(m.Layers), len(c.RootFS.DiffIDs))
	}
	return m, c, nil
}
