package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Part is the space of one kind of thing. Active ones are those of images that
// a sandbox holds or a container was made of; reclaimable bytes are what Prune
// with all would free.
type Part struct {
	Count, Active      int
	Bytes, Reclaimable int64
}

// Usage is the space of a store.
type Usage struct {
	Images Part // blobs and layers together
	Blobs  Part // as they were received
	Layers Part // unpacked
}

// Usage adds the space up. It takes no lock: what others change meanwhile may
// be counted or not.
func (s *Store) Usage() (*Usage, error) {
	entries, err := s.List()
	if err != nil {
		return nil, err
	}
	var u Usage
	users, err := s.users()
	if err != nil {
		return nil, err
	}
	for d := range users { // also of an image whose last name was taken
		if !slices.ContainsFunc(entries, func(e Entry) bool { return e.Manifest.Digest == d }) {
			entries = append(entries, Entry{Manifest: Descriptor{Digest: d}})
		}
	}
	held := map[Digest]bool{}
	for _, e := range entries {
		u.Images.Count++
		if !s.held(e.Manifest.Digest) && len(users[e.Manifest.Digest]) == 0 {
			continue
		}
		u.Images.Active++
		m, c, err := s.Documents(e.Manifest)
		if err != nil {
			continue
		}
		held[e.Manifest.Digest], held[m.Config.Digest] = true, true
		for i, l := range m.Layers {
			held[l.Digest], held[c.RootFS.DiffIDs[i]] = true, true
		}
	}
	add := func(p *Part, name string, n int64) {
		p.Count++
		p.Bytes += n
		if held[Digest(digestPrefix+name)] {
			p.Active++
		} else {
			p.Reclaimable += n
		}
	}
	blobs, err := os.ReadDir(filepath.Join(s.dir, "blobs/sha256"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, b := range blobs {
		if info, err := b.Info(); err == nil {
			add(&u.Blobs, b.Name(), info.Size())
		}
	}
	parts, err := os.ReadDir(s.partialDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, p := range parts { // of blobs that are not whole yet
		if info, err := p.Info(); err == nil {
			u.Blobs.Bytes += info.Size()
			u.Blobs.Reclaimable += info.Size()
		}
	}
	layers, err := filepath.Glob(filepath.Join(s.dir, "layers/*/*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range layers {
		if l, err := readLayer(dir); err == nil {
			add(&u.Layers, filepath.Base(dir), l.Bytes)
		}
	}
	u.Images.Bytes = u.Blobs.Bytes + u.Layers.Bytes
	u.Images.Reclaimable = u.Blobs.Reclaimable + u.Layers.Reclaimable
	return &u, nil
}
