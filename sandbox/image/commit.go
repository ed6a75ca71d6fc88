package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/atomicfile"
	"github.com/brig-sandbox/brig/userns"
)

// Limits bound what one layer may become. Zero is the default of each.
type Limits struct {
	Bytes int64 // of all files, holes included; default 32 GiB
	Files int64 // entries of the archive; default 2 million
	Depth int   // of a path, in names; default 128
	Ratio int64 // uncompressed to compressed, from 64 MiB on; default 250
}

// WithDefaults fills the zeros in.
func (l Limits) WithDefaults() Limits {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&l.Bytes, 32<<30)
	set(&l.Files, 2_000_000)
	set(&l.Ratio, 250)
	if l.Depth == 0 {
		l.Depth = 128
	}
	return l
}

// Layer is what is known of an unpacked layer: layer.json.
type Layer struct {
	DiffID Digest `json:"diff_id"`
	Map    string `json:"map"`
	Bytes  int64  `json:"bytes"` // of all regular files, hard links once
	Files  int64  `json:"files"` // entries of the archive
	// Notes say what is not as the archive had it, one sentence each.
	Notes []string `json:"notes,omitempty"`
}

// Unpacker unpacks layers and removes what it unpacked. Both run with other ids
// than the caller's, and on data that nobody trusts.
type Unpacker interface {
	// Map names the ids that trees belong to, see MapName.
	Map() string
	// Unpack reads an uncompressed layer to its end and makes dir/tree of it: a
	// lower directory for overlayfs with userxattr. It fills in Bytes, Files
	// and Notes. What it left behind when it failed is removed with dir.
	Unpack(ctx context.Context, r io.Reader, dir string, limits Limits) (*Layer, error)
	// Remove removes directories with all that is in them.
	Remove(ctx context.Context, dirs ...string) error
}

// Blob is where a prepared blob goes in a work directory.
func (w *Work) Blob(d Digest) string { return filepath.Join(w.Dir, "blob-"+d.Hex()) }

// Layer is where a prepared layer goes in a work directory.
func (w *Work) Layer(d Digest) string { return filepath.Join(w.Dir, "layer-"+d.Hex()) }

// MissingError is Commit's: layers that were in the store, and which another
// process has removed in the meantime, have to be prepared after all.
type MissingError struct{ DiffIDs []Digest }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%d layers were removed meanwhile", len(e.DiffIDs))
}

// HasLayer tells whether a layer is unpacked. Another process may remove it the
// next moment.
func (s *Store) HasLayer(mapName string, diffID Digest) bool {
	_, err := os.Lstat(filepath.Join(s.layerDir(mapName, diffID), "tree"))
	return err == nil
}

// Commit moves a prepared image from a work directory to its place and gives it
// its names; without any it becomes an entry without a name. Each blob is in
// the work directory, synced, or in the store; likewise each layer.
func (s *Store) Commit(w *Work, manifest Descriptor, m *Manifest, c *ConfigFile, mapName string, names []Name) error {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.missing(w, c, mapName); err != nil {
		return err
	}
	blobs := []Digest{manifest.Digest, m.Config.Digest}
	for _, l := range m.Layers {
		blobs = append(blobs, l.Digest)
	}
	for _, d := range blobs {
		if err := moveIn(w.Blob(d), s.BlobPath(d)); err != nil {
			return fmt.Errorf("storing blob %s: %w", d, err)
		}
	}
	if err := s.storeLayers(w, c, mapName); err != nil {
		return err
	}
	x, err := s.readIndex()
	if err != nil {
		return err
	}
	manifest.Platform = &c.Platform
	if len(names) == 0 {
		x.setName(manifest, nil)
	}
	for i := range names {
		x.setName(manifest, &names[i])
	}
	if err := s.writeIndex(x); err != nil {
		return err
	}
	s.reserve()
	return nil
}

// CommitLayers moves prepared layers of an image that the store has to their
// place. Its error wraps ErrNotFound where the image has been removed.
func (s *Store) CommitLayers(w *Work, manifest Digest, c *ConfigFile, mapName string) error {
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	// What leads nowhere goes with its blobs, and its layers with it.
	if _, err := os.Lstat(s.BlobPath(manifest)); err != nil {
		return fmt.Errorf("%w: %s has just been removed", ErrNotFound, manifest.Short())
	}
	if err := s.missing(w, c, mapName); err != nil {
		return err
	}
	return s.storeLayers(w, c, mapName)
}

// missing is a *MissingError where layers are neither prepared nor in the store.
func (s *Store) missing(w *Work, c *ConfigFile, mapName string) error {
	var missing []Digest
	for _, d := range c.RootFS.DiffIDs {
		if _, err := os.Lstat(w.Layer(d)); err != nil && !s.HasLayer(mapName, d) && !slices.Contains(missing, d) {
			missing = append(missing, d)
		}
	}
	if len(missing) > 0 {
		return &MissingError{missing}
	}
	return nil
}

// storeLayers moves layers to their place, and syncs what names them and blobs.
func (s *Store) storeLayers(w *Work, c *ConfigFile, mapName string) error {
	layers := filepath.Join(s.dir, "layers", mapName)
	err := os.MkdirAll(layers, 0o700)
	if err == nil {
		err = userns.ShareStored(layers)
	}
	if err != nil {
		return fmt.Errorf("storing layers: %w", err)
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := moveIn(w.Layer(d), s.layerDir(mapName, d)); err != nil {
			return fmt.Errorf("storing layer %s: %w", d, err)
		}
	}
	for _, dir := range []string{filepath.Join(s.dir, "blobs/sha256"), layers, filepath.Join(s.dir, "layers")} {
		if err := atomicfile.SyncDir(dir); err != nil {
			return fmt.Errorf("storing an image: %w", err)
		}
	}
	return nil
}

// moveIn moves what was prepared to its place. What is there already stays: it
// has the same digest.
func moveIn(from, to string) error {
	_, err := os.Lstat(to)
	if err == nil {
		return nil
	}
	err = os.Rename(from, to)
	if errors.Is(err, os.ErrNotExist) {
		if _, there := os.Lstat(to); there == nil {
			return nil // twice in one image
		}
	}
	return err
}

// Tag gives an image one more name. Another image that had it loses it.
func (s *Store) Tag(ref string, n Name) error {
	if n.Digest != "" {
		return errors.New("a name with a digest cannot be given: the digest follows from the image")
	}
	if err := s.exists(ref); err != nil {
		return err
	}
	unlock, err := s.lock(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer unlock()
	x, err := s.readIndex()
	if err != nil {
		return err
	}
	e, err := s.find(x, ref)
	if err != nil {
		return err
	}
	for _, d := range x.Manifests {
		if d.Digest == e.Manifest.Digest {
			x.setName(d, &n)
			break
		}
	}
	return s.writeIndex(x)
}

// exists refuses to change a store that has no images, so that a mistyped name
// makes no directories.
func (s *Store) exists(ref string) error {
	_, err := s.Find(ref)
	return err
}
