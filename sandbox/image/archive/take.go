package archive

import (
	"context"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// Ready waits until the blob of a layer is in the work directory, checked.
type Ready func(ctx context.Context, blob image.Digest) error

func (r Ready) wait(ctx context.Context, blob image.Digest) error {
	if r == nil {
		return nil
	}
	return r(ctx, blob)
}

// Prepared is an image whose documents are in a work directory, and whose layers
// are there or on their way.
type Prepared struct {
	Manifest  image.Descriptor
	Documents *image.Manifest
	Config    *image.ConfigFile // with as many layers
	Names     []image.Name
}

// WithWork sweeps what killed commands left, and lends a work directory, which
// is discarded in the end whatever comes.
func WithWork(ctx context.Context, s *image.Store, o *Options, do func(*image.Work) error) error {
	if err := s.Sweep(ctx, o.Unpacker); err != nil {
		return err
	}
	w, err := s.NewWork()
	if err != nil {
		return err
	}
	err = do(w)
	// Also after a cancellation what was begun is removed.
	if derr := s.Discard(context.WithoutCancel(ctx), o.Unpacker, w); err == nil {
		err = derr
	}
	return err
}

// MaxLayer is how many bytes a layer may have as an archive.
func (o *Options) MaxLayer() int64 { return maxArchive(o.Limits.WithDefaults()) }

// Take unpacks the layers of an image as they become ready, and commits it when
// all of them are.
func Take(ctx context.Context, s *image.Store, w *image.Work, o *Options, p Prepared, ready Ready) error {
	if err := o.unpackLayers(ctx, s, w, p.Documents, p.Config, nil, ready); err != nil {
		return err
	}
	for _, l := range p.Documents.Layers { // also those that are unpacked already
		if err := ready.wait(ctx, l.Digest); err != nil {
			return err
		}
	}
	return o.commit(ctx, s, w, p.Manifest, p.Documents, p.Config, p.Names)
}
