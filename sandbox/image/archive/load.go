package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// Options say how images are taken in.
type Options struct {
	Unpacker image.Unpacker
	Limits   image.Limits
	// Note is told what an image has that the store cannot keep, one sentence
	// each; nil for nobody.
	Note func(string)
	// Unpacked is told the number of each layer that has been unpacked, from 0;
	// nil for nobody.
	Unpacked func(number int)

	mu sync.Mutex
}

func (o *Options) say(note string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.Note != nil {
		o.Note(note)
	}
}

// maxBytes is how large an archive of images may be.
func (o *Options) maxBytes() int64 { return 4 * o.Limits.WithDefaults().Bytes }

// Loaded is an image that was taken in.
type Loaded struct {
	ID       image.Digest // of its config
	Manifest image.Digest
	Names    []image.Name
}

// candidate is an image found in an archive.
type candidate struct {
	manifest image.Descriptor
	names    []image.Name
}

// Load takes in the images of an archive: docker save's, or an OCI archive. All
// are checked before the first gets its name.
func Load(ctx context.Context, s *image.Store, r io.Reader, o *Options) ([]Loaded, error) {
	return withWork(ctx, s, o, func(w *image.Work) ([]Loaded, error) {
		sp, err := readSpool(ctx, w, r, o.maxBytes())
		if err != nil {
			return nil, err
		}
		return sp.load(ctx, s, o)
	})
}

// LoadDir takes in the images of an OCI layout.
func LoadDir(ctx context.Context, s *image.Store, dir string, o *Options) ([]Loaded, error) {
	return withWork(ctx, s, o, func(w *image.Work) ([]Loaded, error) {
		pr, pw := io.Pipe()
		go func() { pw.CloseWithError(streamLayout(pw, dir)) }()
		defer pr.Close()
		sp, err := readSpool(ctx, w, pr, o.maxBytes())
		if err != nil {
			return nil, err
		}
		return sp.load(ctx, s, o)
	})
}

// withWork is WithWork for what gives images.
func withWork(ctx context.Context, s *image.Store, o *Options, do func(*image.Work) ([]Loaded, error)) (list []Loaded, err error) {
	err = WithWork(ctx, s, o, func(w *image.Work) error {
		list, err = do(w)
		return err
	})
	return list, err
}

func (sp *spool) load(ctx context.Context, s *image.Store, o *Options) ([]Loaded, error) {
	candidates, err := sp.candidates()
	if err != nil {
		return nil, err
	}
	var ready []func() (Loaded, error)
	for _, c := range candidates {
		commit, err := sp.ready(ctx, s, o, c)
		if err != nil {
			return nil, err
		}
		ready = append(ready, commit)
	}
	var list []Loaded
	for _, commit := range ready {
		l, err := commit()
		if err != nil {
			return list, err
		}
		list = append(list, l)
	}
	return list, nil
}

// candidates reads the archive's own table of contents. Newer archives of
// docker save have both; the OCI one says more.
func (sp *spool) candidates() ([]candidate, error) {
	if b, err := sp.document("index.json"); err == nil {
		x, err := image.ParseIndex(b)
		if err != nil {
			return nil, err
		}
		return sp.pick(x)
	}
	b, err := sp.document("manifest.json")
	if err != nil {
		return nil, errors.New("it holds no image: neither index.json nor manifest.json is in it\n  fix: " + fixImport)
	}
	return sp.docker(b)
}

// pick chooses the images for this machine from an index.
func (sp *spool) pick(x *image.Index) ([]candidate, error) {
	var list []candidate
	others := map[string]bool{}
	for _, d := range x.Manifests {
		name := nameOf(&d)
		switch {
		case image.IsIndex(d.MediaType):
			f, err := sp.blob(d)
			if err != nil {
				return nil, err
			}
			b, err := image.ReadDocument(f.path)
			if err != nil {
				return nil, err
			}
			inner, err := image.ParseIndex(b)
			if err != nil {
				return nil, err
			}
			found := false
			for _, m := range inner.Manifests {
				if image.IsManifest(m.MediaType) && ours(m.Platform) {
					list, found = append(list, candidate{manifest: m, names: name}), true
					break
				}
				others[platformText(m.Platform)] = true
			}
			if !found && len(x.Manifests) == 1 {
				return nil, noPlatform(others)
			}
		case !image.IsManifest(d.MediaType):
			return nil, fmt.Errorf("an entry of the index is of type %q, which brig does not know", d.MediaType)
		case d.Platform != nil && !ours(d.Platform):
			others[platformText(d.Platform)] = true
		default:
			list = append(list, candidate{manifest: d, names: name})
		}
	}
	if len(list) == 0 {
		return nil, noPlatform(others)
	}
	return list, nil
}

func ours(p *image.Platform) bool {
	return p != nil && p.OS == "linux" && p.Architecture == runtime.GOARCH
}

func platformText(p *image.Platform) string {
	if p == nil {
		return "unknown"
	}
	return p.String()
}

func noPlatform(others map[string]bool) error {
	var names []string
	for name := range others {
		if !strings.HasPrefix(name, "unknown") { // attestations
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return errors.New("the index names no image")
	}
	return fmt.Errorf("there is no image for linux/%s, only for %s", runtime.GOARCH, strings.Join(names, ", "))
}

// nameOf is the name that an index gives an image. A tag alone is none: it does
// not say of what.
func nameOf(d *image.Descriptor) []image.Name {
	for _, s := range []string{d.Annotations[image.AnnotationName], d.Annotations[image.AnnotationTag]} {
		if !strings.ContainsAny(s, "/:") {
			continue
		}
		if n, err := image.ParseName(s); err == nil && n.Tag != "" {
			n.Digest = ""
			return []image.Name{n}
		}
	}
	return nil
}

// ready checks and unpacks an image; what it returns makes it visible.
func (sp *spool) ready(ctx context.Context, s *image.Store, o *Options, c candidate) (func() (Loaded, error), error) {
	f, err := sp.blob(c.manifest)
	if err != nil {
		return nil, err
	}
	b, err := image.ReadDocument(f.path)
	if err != nil {
		return nil, err
	}
	m, err := image.ParseManifest(b)
	if err != nil {
		return nil, err
	}
	config, err := sp.blob(m.Config)
	if err != nil {
		return nil, err
	}
	if b, err = image.ReadDocument(config.path); err != nil {
		return nil, err
	}
	conf, err := image.ParseConfig(b)
	if err != nil {
		return nil, err
	}
	if len(conf.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("the image is inconsistent: %d layers in its manifest, %d in its config", len(m.Layers), len(conf.RootFS.DiffIDs))
	}
	if !ours(&conf.Platform) {
		o.say(fmt.Sprintf("the image is for %s: this machine cannot run it", conf.Platform))
	}
	blobs := []*spooled{f, config}
	for _, l := range m.Layers {
		blob, err := sp.blob(l)
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, blob)
	}
	for _, blob := range blobs {
		if err := sp.prepare(blob); err != nil {
			return nil, err
		}
	}
	if err := o.unpackLayers(ctx, s, sp.work, m, conf, nil, nil); err != nil {
		return nil, err
	}
	d := image.Descriptor{MediaType: m.MediaType, Digest: f.digest, Size: f.size}
	if d.MediaType == "" {
		d.MediaType = image.TypeManifest
	}
	return func() (Loaded, error) {
		err := o.commit(ctx, s, sp.work, d, m, conf, c.names)
		return Loaded{ID: m.Config.Digest, Manifest: d.Digest, Names: c.names}, err
	}, nil
}

// commit commits, and unpacks what another process has removed meanwhile.
func (o *Options) commit(ctx context.Context, s *image.Store, w *image.Work, d image.Descriptor, m *image.Manifest, c *image.ConfigFile, names []image.Name) error {
	for {
		err := s.Commit(w, d, m, c, o.Unpacker.Map(), names)
		var missing *image.MissingError
		if !errors.As(err, &missing) {
			return err
		}
		if err := o.unpackLayers(ctx, s, w, m, c, missing.DiffIDs, nil); err != nil {
			return err
		}
	}
}

// docker reads the table of contents that docker save writes, and makes a
// manifest for each image.
func (sp *spool) docker(b []byte) ([]candidate, error) {
	var contents []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(b, &contents); err != nil {
		return nil, fmt.Errorf("reading manifest.json: %w", err)
	}
	if len(contents) == 0 {
		return nil, errors.New("manifest.json names no image")
	}
	var list []candidate
	for _, entry := range contents {
		config, err := sp.find(entry.Config)
		if err != nil {
			return nil, err
		}
		if id := strings.TrimSuffix(filepath.Base(entry.Config), ".json"); len(id) == 64 && id != config.digest.Hex() {
			return nil, fmt.Errorf("the config %s is damaged: its content has the digest %s", id, config.digest)
		}
		m := image.Manifest{
			SchemaVersion: 2, MediaType: image.TypeManifest, Layers: []image.Descriptor{},
			Config: image.Descriptor{MediaType: image.TypeConfig, Digest: config.digest, Size: config.size},
		}
		for _, name := range entry.Layers {
			f, err := sp.find(name)
			if err != nil {
				return nil, err
			}
			mediaType, err := layerType(f.path)
			if err != nil {
				return nil, err
			}
			m.Layers = append(m.Layers, image.Descriptor{MediaType: mediaType, Digest: f.digest, Size: f.size})
		}
		c, err := sp.addManifest(&m)
		if err != nil {
			return nil, err
		}
		for _, tag := range entry.RepoTags {
			n, err := image.ParseName(tag)
			if err != nil {
				return nil, fmt.Errorf("reading manifest.json: %w", err)
			}
			c.names = append(c.names, n)
		}
		list = append(list, c)
	}
	return list, nil
}

// addManifest writes a manifest as a blob of the spool.
func (sp *spool) addManifest(m *image.Manifest) (candidate, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return candidate{}, err
	}
	f, err := sp.write(b)
	if err != nil {
		return candidate{}, err
	}
	sp.files[fmt.Sprintf("manifest %s", f.digest)] = f // a name that find never gives
	sp.blobs[f.digest] = f
	return candidate{manifest: image.Descriptor{MediaType: image.TypeManifest, Digest: f.digest, Size: f.size}}, nil
}

func layerType(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, 4)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", err
	}
	switch sniff(head[:n]) {
	case gzipped:
		return image.TypeLayerGzip, nil
	case zstandard:
		return image.TypeLayerZstd, nil
	case plain:
	}
	return image.TypeLayer, nil
}
