package archive

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// Formats of Save.
const (
	FormatOCI    = "oci-archive"
	FormatDocker = "docker-archive"
)

// saving writes one archive.
type saving struct {
	store *image.Store
	tw    *tar.Writer
	done  map[string]bool
}

// Save writes images into one archive. A reference by name keeps the name, and
// one by id or digest every name the image has.
func Save(s *image.Store, w io.Writer, format string, refs []string) error {
	out := &saving{store: s, tw: tar.NewWriter(w), done: map[string]bool{}}
	var entries []*image.Entry
	for _, ref := range refs {
		e, err := s.Find(ref)
		if err != nil {
			return err
		}
		if n, err := image.ParseName(ref); err == nil && n.Digest == "" && slices.Contains(e.Names, n) {
			e.Names = []image.Name{n}
		}
		// A name by digest is no tag, and the digest follows from the archive.
		e.Names = slices.DeleteFunc(e.Names, func(n image.Name) bool { return n.Digest != "" })
		entries = append(entries, e)
	}
	var err error
	switch format {
	case FormatOCI:
		err = out.oci(entries)
	case FormatDocker:
		err = out.docker(entries)
	default:
		return fmt.Errorf("the format %q is not known\n  fix: use %s or %s", format, FormatOCI, FormatDocker)
	}
	if err == nil {
		err = out.tw.Close()
	}
	if err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return nil
}

func (o *saving) bytes(name string, b []byte) error {
	return addFile(o.tw, name, int64(len(b)), bytes.NewReader(b))
}

// blob writes a blob, and checks its digest on the way: what a disk has spoilt
// must not be handed on.
func (o *saving) blob(name string, d image.Digest) error {
	if o.done[name] {
		return nil
	}
	o.done[name] = true
	f, err := os.Open(o.store.BlobPath(d))
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		v := newVerifier(f)
		if err = addFile(o.tw, name, info.Size(), v); err == nil && v.digest() != d {
			err = fmt.Errorf("the blob %s of the image store is damaged: its content has another digest\n  fix: brig system check --repair", d)
		}
	}
	return errors.Join(err, f.Close())
}

func (o *saving) oci(entries []*image.Entry) error {
	x := image.Index{SchemaVersion: 2, MediaType: image.TypeIndex, Manifests: []image.Descriptor{}}
	for _, e := range entries {
		d := e.Manifest
		if len(e.Names) == 0 {
			x.Manifests = append(x.Manifests, d)
		}
		for _, n := range e.Names {
			d.Annotations = map[string]string{image.AnnotationName: n.String(), image.AnnotationTag: n.Familiar()}
			x.Manifests = append(x.Manifests, d)
		}
	}
	b, err := json.Marshal(&x)
	if err != nil {
		return err
	}
	// skopeo, unpacking as an ordinary user, wants to give directories away that
	// the archive leaves out.
	for _, name := range []string{"blobs/", "blobs/sha256/"} {
		err := o.tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
		if err != nil {
			return err
		}
	}
	if err := o.bytes("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)); err != nil {
		return err
	}
	if err := o.bytes("index.json", b); err != nil {
		return err
	}
	for _, e := range entries {
		m, _, err := o.store.Documents(e.Manifest)
		if err != nil {
			return err
		}
		all := []image.Digest{e.Manifest.Digest, m.Config.Digest}
		for _, l := range m.Layers {
			all = append(all, l.Digest)
		}
		for _, d := range all {
			if err := o.blob("blobs/sha256/"+d.Hex(), d); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *saving) docker(entries []*image.Entry) error {
	type content struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	var contents []content
	for _, e := range entries {
		m, _, err := o.store.Documents(e.Manifest)
		if err != nil {
			return err
		}
		c := content{Config: m.Config.Digest.Hex() + ".json", RepoTags: []string{}, Layers: []string{}}
		for _, n := range e.Names {
			c.RepoTags = append(c.RepoTags, n.Familiar())
		}
		if err := o.blob(c.Config, m.Config.Digest); err != nil {
			return err
		}
		for _, l := range m.Layers {
			name := l.Digest.Hex() + ".tar"
			if err := o.blob(name, l.Digest); err != nil {
				return err
			}
			c.Layers = append(c.Layers, name)
		}
		contents = append(contents, c)
	}
	b, err := json.Marshal(contents)
	if err != nil {
		return err
	}
	return o.bytes("manifest.json", b)
}
