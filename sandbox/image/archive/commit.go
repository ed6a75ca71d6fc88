package archive

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// CommitOptions describe the image that Commit makes.
type CommitOptions struct {
	// Base is the manifest of the image below the new layer, which somebody holds.
	Base image.Digest
	// Change changes the base's config; nil leaves it.
	Change func(*image.Config) error
	// CreatedBy, Author and Message are those of the new layer's step of history.
	CreatedBy, Author, Message string
	Created                    time.Time
}

// Commit makes an image of another one and a layer on top, which pack writes as
// an uncompressed archive.
func Commit(ctx context.Context, s *image.Store, pack func(io.Writer) error, names []image.Name, in *CommitOptions, o *Options) (*Loaded, error) {
	base, c, err := s.Documents(image.Descriptor{Digest: in.Base})
	if err != nil {
		return nil, err
	}
	if len(base.Layers) >= image.MaxLayers-1 {
		return nil, fmt.Errorf("the image has %d layers, and the kernel stacks %d at most with the one of a run\n  fix: brig export the container, and import that", len(base.Layers), image.MaxLayers)
	}
	list, err := withWork(ctx, s, o, func(w *image.Work) ([]Loaded, error) {
		sp := &spool{work: w, files: map[string]*spooled{}, blobs: map[image.Digest]*spooled{}}
		layer, diffID, err := sp.pack(pack)
		if err != nil {
			return nil, err
		}
		conf, config, err := sp.grownConfig(s, base, c, diffID, in)
		if err != nil {
			return nil, err
		}
		m := &image.Manifest{
			SchemaVersion: 2, MediaType: image.TypeManifest,
			Config: image.Descriptor{MediaType: image.TypeConfig, Digest: config.digest, Size: config.size},
		}
		for _, l := range base.Layers {
			l.MediaType = image.OCILayerType(l.MediaType)
			m.Layers = append(m.Layers, l)
		}
		m.Layers = append(m.Layers, image.Descriptor{MediaType: image.TypeLayerGzip, Digest: layer.digest, Size: layer.size})
		b, err := json.Marshal(m)
		if err != nil {
			return nil, err
		}
		manifest, err := sp.write(b)
		if err != nil {
			return nil, err
		}
		for _, f := range []*spooled{layer, config, manifest} {
			if err := sp.prepare(f); err != nil {
				return nil, err
			}
		}
		if err := o.unpackLayers(ctx, s, w, m, conf, nil, nil); err != nil {
			return nil, err
		}
		d := image.Descriptor{MediaType: image.TypeManifest, Digest: manifest.digest, Size: manifest.size}
		err = o.commit(ctx, s, w, d, m, conf, names)
		return []Loaded{{ID: config.digest, Manifest: manifest.digest, Names: names}}, err
	})
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// pack takes a layer in, compressed, and gives its diff id.
func (s *spool) pack(pack func(io.Writer) error) (*spooled, image.Digest, error) {
	s.count++
	name := filepath.Join(s.work.Dir, "file-"+strconv.Itoa(s.count))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, "", err
	}
	sum, plainSum := sha256.New(), sha256.New()
	n := &written{w: io.MultiWriter(f, sum)}
	z := gzip.NewWriter(n)
	err = pack(io.MultiWriter(z, plainSum))
	if err = errors.Join(err, z.Close(), f.Close()); err != nil {
		return nil, "", err
	}
	return &spooled{path: name, digest: image.SumDigest(sum.Sum(nil)), size: n.n}, image.SumDigest(plainSum.Sum(nil)), nil
}

// written counts.
type written struct {
	w io.Writer
	n int64
}

func (w *written) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.n += int64(n)
	return n, err
}

// grownConfig is the base's config with a layer more. What brig does not know of
// a config is kept, but for what Docker once wrote about the container.
func (s *spool) grownConfig(store *image.Store, base *image.Manifest, c *image.ConfigFile, diffID image.Digest, in *CommitOptions) (*image.ConfigFile, *spooled, error) {
	raw, err := image.ReadDocument(store.BlobPath(base.Config.Digest))
	if err != nil {
		return nil, nil, err
	}
	var all, inner map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, nil, err
	}
	if err := json.Unmarshal(all["config"], &inner); err != nil || inner == nil {
		inner = map[string]json.RawMessage{} // it says nothing
	}
	created := in.Created.UTC()
	c.Created = &created
	if in.Author != "" {
		c.Author = in.Author
	}
	if in.Change != nil {
		if err := in.Change(&c.Config); err != nil {
			return nil, nil, err
		}
	}
	steps := 0
	for _, h := range c.History {
		if !h.EmptyLayer {
			steps++
		}
	}
	for ; steps < len(c.RootFS.DiffIDs); steps++ { // each layer has one, or readers complain
		c.History = append(c.History, image.History{Comment: "a layer of the base image"})
	}
	c.RootFS.Type, c.RootFS.DiffIDs = "layers", append(c.RootFS.DiffIDs, diffID)
	c.History = append(c.History, image.History{Created: &created, CreatedBy: in.CreatedBy, Author: in.Author, Comment: in.Message})
	if err := merge(inner, c.Config); err != nil {
		return nil, nil, err
	}
	if err := merge(all, *c); err != nil {
		return nil, nil, err
	}
	if all["config"], err = json.Marshal(inner); err != nil {
		return nil, nil, err
	}
	for _, old := range []string{"container", "container_config", "id", "parent", "parent_id"} {
		delete(all, old)
	}
	b, err := json.Marshal(all)
	if err != nil {
		return nil, nil, err
	}
	if len(b) > image.MaxDocument {
		return nil, nil, fmt.Errorf("the image's config would have more than %d bytes\n  fix: brig export the container, and import that", image.MaxDocument)
	}
	f, err := s.write(b)
	return c, f, err
}

// merge sets the keys of the struct v in all, and removes those that it leaves
// out.
func merge(all map[string]json.RawMessage, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var set map[string]json.RawMessage
	if err := json.Unmarshal(b, &set); err != nil {
		return err
	}
	for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
		if k, _, _ := strings.Cut(f.Tag.Get("json"), ","); k != "" {
			delete(all, k)
		}
	}
	maps.Copy(all, set)
	return nil
}
