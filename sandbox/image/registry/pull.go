package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/archive"
)

// Pulled is an image that is in the store now.
type Pulled struct {
	ID       image.Digest // of its config
	Manifest image.Digest
	From     string // the registry or the mirror that had it
	New      bool   // some of it came from there
}

// found is an image at a registry.
type found struct {
	at       *session
	manifest *document
	m        *image.Manifest
}

// Pull brings an image into a store and gives it its name: with a tag that name,
// with a digest (which may be that of a list for several platforms) the name
// with the digest. Blobs and layers that the store has are not fetched.
func (c *Client) Pull(ctx context.Context, s *image.Store, n image.Name, o *archive.Options) (*Pulled, error) {
	if n.Digest != "" {
		n.Tag = "" // the digest says which, as with docker
	}
	var p *Pulled
	err := archive.WithWork(ctx, s, o, func(w *image.Work) error {
		f, err := c.find(ctx, n)
		if err != nil {
			return err
		}
		p, err = c.fetch(ctx, s, w, n, f, o)
		return err
	})
	return p, err
}

// find asks the mirrors and then the registry itself for an image.
func (c *Client) find(ctx context.Context, n image.Name) (*found, error) {
	sources, err := c.Config.sources(n)
	if err != nil {
		return nil, err
	}
	for i, at := range sources {
		own := i == len(sources)-1
		f, err := c.findAt(ctx, at, own)
		if err == nil || own || ctx.Err() != nil {
			return f, err
		}
		c.note("the mirror %s does not have it: %v", at.Domain, err)
	}
	return nil, errors.New("no registry to ask")
}

func (c *Client) findAt(ctx context.Context, at image.Name, own bool) (*found, error) {
	s, err := c.connect(ctx, at, own)
	if err != nil {
		return nil, err
	}
	f, err := s.image(ctx)
	if err != nil {
		return nil, c.explain(ctx, err, at, s.known)
	}
	return f, nil
}

// image finds the manifest that a name means, by way of a list if there is one.
func (s *session) image(ctx context.Context) (*found, error) {
	ref, want := s.at.Tag, (*image.Descriptor)(nil)
	if s.at.Digest != "" {
		ref, want = string(s.at.Digest), &image.Descriptor{Digest: s.at.Digest}
	}
	d, err := s.document(ctx, ref, want)
	if err != nil {
		return nil, err
	}
	if image.IsIndex(d.descriptor.MediaType) {
		x, err := image.ParseIndex(d.content)
		if err != nil {
			return nil, err
		}
		inner, err := choose(x, own(s.client.Platform))
		if err != nil {
			return nil, err
		}
		if d, err = s.document(ctx, string(inner.Digest), inner); err != nil {
			return nil, err
		}
		if !image.IsManifest(d.descriptor.MediaType) {
			return nil, fmt.Errorf("a list names %s as an image, and it is of type %q", inner.Digest, d.descriptor.MediaType)
		}
	}
	m, err := image.ParseManifest(d.content)
	if err != nil {
		return nil, err
	}
	return &found{at: s, manifest: d, m: m}, nil
}

// fetch brings what the store lacks, unpacks it while it comes, and commits.
func (c *Client) fetch(ctx context.Context, s *image.Store, w *image.Work, n image.Name, f *found, o *archive.Options) (*Pulled, error) {
	if err := checkSizes(f.m, o); err != nil {
		return nil, err
	}
	p := &Pulled{ID: f.m.Config.Digest, Manifest: f.manifest.descriptor.Digest, From: f.at.at.Domain}
	if err := w.WriteBlob(f.manifest.content); err != nil {
		return nil, err
	}
	had, err := f.bring(ctx, s, w, f.m.Config, func(int64) {})
	if err != nil {
		return nil, c.explain(ctx, err, f.at.at, f.at.known)
	}
	p.New = !had
	config, err := readConfig(w, f.m)
	if err != nil {
		return nil, err
	}
	if want := own(c.Platform); config.OS != want.OS || config.Architecture != want.Architecture {
		if c.Platform.OS != "" {
			return nil, fmt.Errorf("the image is for %s alone", config.Platform)
		}
		c.note("the image is for %s: this machine cannot run it", config.Platform)
	}
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := c.layers(both, cancel, s, w, f, o)
	taken := archive.Prepared{Manifest: f.manifest.descriptor, Documents: f.m, Config: config, Names: []image.Name{n}}
	err = archive.Take(both, s, w, o, taken, l.wait)
	cancel(err) // what is still on its way; nothing where all went well
	l.wg.Wait()
	if err != nil {
		return nil, c.explain(ctx, err, f.at.at, f.at.known)
	}
	p.New = p.New || l.came.Load()
	return p, nil
}

// maxLayers is how many layers of the largest size an image may have the bytes
// of, as with archives.
const maxLayers = 4

// checkSizes refuses what the limits would refuse once it is there.
func checkSizes(m *image.Manifest, o *archive.Options) error {
	limit, total := o.MaxLayer(), int64(0)
	for i, l := range m.Layers {
		if l.Size > limit {
			return fmt.Errorf("layer %d of %d has %d bytes, compressed, and at most %d are allowed\n  fix: allow more with --max-size", i+1, len(m.Layers), l.Size, limit)
		}
		if total += l.Size; total > maxLayers*limit {
			return fmt.Errorf("the layers have more than %d bytes together\n  fix: allow more with --max-size", maxLayers*limit)
		}
	}
	return nil
}

// bring puts a blob into the work directory: the store's own, or the
// registry's. It tells whether the store had it.
func (f *found) bring(ctx context.Context, s *image.Store, w *image.Work, d image.Descriptor, report func(int64)) (bool, error) {
	had, err := s.HoldBlob(w, d)
	if had || err != nil {
		return had, err
	}
	return false, f.at.blob(ctx, s, w, d, report)
}

func readConfig(w *image.Work, m *image.Manifest) (*image.ConfigFile, error) {
	b, err := image.ReadDocument(w.Blob(m.Config.Digest))
	if err != nil {
		return nil, err
	}
	if got := image.DigestOf(b); got != m.Config.Digest { // the store's may be damaged
		return nil, fmt.Errorf("the config of the image has the digest %s instead of %s\n  fix: brig system check --repair", got, m.Config.Digest)
	}
	c, err := image.ParseConfig(b)
	if err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("the image is inconsistent: %d layers in its manifest, %d in its config", len(m.Layers), len(c.RootFS.DiffIDs))
	}
	return c, nil
}

// layers are the layers of an image on their way, some at once.
type layers struct {
	wg    sync.WaitGroup
	ready map[image.Digest]chan struct{} // closed when the blob is there
	came  atomic.Bool
}

// layers begins to fetch the layers, in their order. The first that cannot be
// had ends all.
func (c *Client) layers(ctx context.Context, cancel context.CancelCauseFunc, s *image.Store, w *image.Work, f *found, o *archive.Options) *layers {
	l := &layers{ready: map[image.Digest]chan struct{}{}}
	queue := make(chan int, len(f.m.Layers))
	for i, d := range f.m.Layers {
		if l.ready[d.Digest] == nil {
			l.ready[d.Digest] = make(chan struct{})
			queue <- i
		}
	}
	close(queue)
	o.Unpacked = func(number int) {
		d := f.m.Layers[number]
		c.report(Progress{Number: number + 1, Layers: len(f.m.Layers), Digest: d.Digest, Done: d.Size, Total: d.Size, State: Unpacked})
	}
	for range defaultJobs {
		l.wg.Go(func() {
			for i := range queue {
				d := f.m.Layers[i]
				p := Progress{Number: i + 1, Layers: len(f.m.Layers), Digest: d.Digest, Total: d.Size}
				had, err := f.bring(ctx, s, w, d, func(done int64) {
					p.Done = done
					c.report(p)
				})
				if err != nil {
					cancel(fmt.Errorf("layer %d of %d: %w", p.Number, p.Layers, err))
					return
				}
				close(l.ready[d.Digest])
				p.Done, p.State = d.Size, Moved
				if had {
					p.State = Present
				} else {
					l.came.Store(true)
				}
				c.report(p)
			}
		})
	}
	return l
}

// wait waits for one blob.
func (l *layers) wait(ctx context.Context, d image.Digest) error {
	select {
	case <-l.ready[d]:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
