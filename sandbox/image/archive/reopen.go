package archive

import (
	"context"
	"errors"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// Reopen unpacks an image's layers again from its blobs, as far as they are
// missing, for the Unpacker's mapping. Who comes while another does so waits: most
// of the time there is nothing left to do then.
func Reopen(ctx context.Context, s *image.Store, d image.Digest, o *Options) error {
	leave, err := s.Turn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return WithWork(ctx, s, o, func(w *image.Work) error {
		m, c, err := s.Documents(image.Descriptor{Digest: d})
		if err != nil {
			return err
		}
		if err := o.unpackLayers(ctx, s, w, m, c, nil, nil); err != nil {
			return err
		}
		for {
			err := s.CommitLayers(w, d, c, o.Unpacker.Map())
			var missing *image.MissingError
			if !errors.As(err, &missing) {
				return err
			}
			if err := o.unpackLayers(ctx, s, w, m, c, missing.DiffIDs, nil); err != nil {
				return err
			}
		}
	})
}
