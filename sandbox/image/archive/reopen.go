package archive

import (
	"context"
	"fmt"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// Reopen unpacks an image's layers again from its blobs, as far as they are
// missing, for the Unpacker's mapping.
func Reopen(ctx context.Context, s *image.Store, d image.Digest, o *Options) error {
	_, err := withWork(ctx, s, o, func(w *image.Work) ([]Loaded, error) {
		entries, err := s.List()
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Manifest.Digest != d {
				continue
			}
			m, c, err := s.Documents(e.Manifest)
			if err != nil {
				return nil, err
			}
			if err := o.unpackLayers(ctx, s, w, m, c, nil, nil); err != nil {
				return nil, err
			}
			return nil, o.commit(ctx, s, w, e.Manifest, m, c, e.Names)
		}
		return nil, fmt.Errorf("%w: %s", image.ErrNotFound, d)
	})
	return err
}
