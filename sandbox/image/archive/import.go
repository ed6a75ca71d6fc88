package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// ImportOptions describe the image that Import makes.
type ImportOptions struct {
	Config  image.Config
	Message string // of its one step of history
	Created time.Time
}

// Import makes an image of one layer from the archive of a root file system.
func Import(ctx context.Context, s *image.Store, r io.Reader, names []image.Name, in *ImportOptions, o *Options) (*Loaded, error) {
	list, err := withWork(ctx, s, o, func(w *image.Work) ([]Loaded, error) {
		sp := &spool{work: w, files: map[string]*spooled{}, blobs: map[image.Digest]*spooled{}}
		layer, err := sp.store(&copier{ctx: ctx}, io.LimitReader(r, o.maxBytes()+1))
		if err != nil {
			return nil, fmt.Errorf("reading the archive: %w", err)
		}
		if layer.size > o.maxBytes() {
			return nil, fmt.Errorf("reading the archive: more than %d bytes\n  fix: allow more with --max-size", o.maxBytes())
		}
		sp.blobs[layer.digest] = layer
		diffID, err := diffIDOf(ctx, layer.path, o.Limits.WithDefaults())
		if err != nil {
			return nil, fmt.Errorf("reading the archive: %w", err)
		}
		c, err := sp.describe(layer, diffID, in)
		if err != nil {
			return nil, err
		}
		c.names = names
		commit, err := sp.ready(ctx, s, o, c)
		if err != nil {
			return nil, err
		}
		l, err := commit()
		return []Loaded{l}, err
	})
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// diffIDOf is the digest of a layer's uncompressed archive.
func diffIDOf(ctx context.Context, name string, limits image.Limits) (image.Digest, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r, err := newLayerReader(f, limits)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return "", errors.New("it is empty")
	}
	if err != nil {
		return "", err
	}
	defer r.plain.Close()
	if _, err := (&copier{ctx: ctx}).copy(io.Discard, r); err != nil {
		return "", err
	}
	return image.SumDigest(r.sum.Sum(nil)), nil
}

// describe writes the config and the manifest of an imported layer.
func (s *spool) describe(layer *spooled, diffID image.Digest, in *ImportOptions) (candidate, error) {
	created := in.Created.UTC()
	config := image.ConfigFile{
		Created: &created, Config: in.Config,
		Platform: image.Platform{OS: "linux", Architecture: runtime.GOARCH},
		RootFS:   image.RootFS{Type: "layers", DiffIDs: []image.Digest{diffID}},
		History:  []image.History{{Created: &created, CreatedBy: "brig import", Comment: in.Message}},
	}
	b, err := json.Marshal(&config)
	if err != nil {
		return candidate{}, err
	}
	c, err := s.write(b)
	if err != nil {
		return candidate{}, err
	}
	s.blobs[c.digest] = c
	mediaType, err := layerType(layer.path)
	if err != nil {
		return candidate{}, err
	}
	return s.addManifest(&image.Manifest{
		SchemaVersion: 2, MediaType: image.TypeManifest,
		Config: image.Descriptor{MediaType: image.TypeConfig, Digest: c.digest, Size: c.size},
		Layers: []image.Descriptor{{MediaType: mediaType, Digest: layer.digest, Size: layer.size}},
	})
}
