package registry

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// stored is an image of a store as the library wants to see one. It implements
// partial.CompressedImageCore.
type stored struct {
	manifest, config []byte
	mediaType        string
	layers           []*storedLayer
}

func (c *Client) stored(s *image.Store, e *image.Entry) (*stored, error) {
	m, _, err := s.Documents(e.Manifest)
	if err != nil {
		return nil, err
	}
	i := &stored{mediaType: e.Manifest.MediaType}
	if i.manifest, err = image.ReadDocument(s.BlobPath(e.Manifest.Digest)); err != nil {
		return nil, err
	}
	if i.config, err = image.ReadDocument(s.BlobPath(m.Config.Digest)); err != nil {
		return nil, err
	}
	for n, d := range m.Layers {
		i.layers = append(i.layers, &storedLayer{
			client: c, path: s.BlobPath(d.Digest), mediaType: d.MediaType,
			p: Progress{Number: n + 1, Layers: len(m.Layers), Digest: d.Digest, Total: d.Size},
		})
	}
	return i, nil
}

// RawManifest implements partial.CompressedImageCore.
func (i *stored) RawManifest() ([]byte, error) { return i.manifest, nil }

// RawConfigFile implements partial.CompressedImageCore.
func (i *stored) RawConfigFile() ([]byte, error) { return i.config, nil }

// MediaType implements partial.CompressedImageCore.
func (i *stored) MediaType() (types.MediaType, error) { return types.MediaType(i.mediaType), nil }

// LayerByDigest implements partial.CompressedImageCore.
func (i *stored) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, l := range i.layers {
		if string(l.p.Digest) == h.String() {
			return l, nil
		}
	}
	return nil, fmt.Errorf("the image has no layer %s", h)
}

// failed is what is wrong with the store's own blobs.
func (i *stored) failed() error {
	for _, l := range i.layers {
		if err := l.failed.Load(); err != nil {
			return *err
		}
	}
	return nil
}

// storedLayer is a layer's blob. It implements partial.CompressedLayer.
type storedLayer struct {
	client    *Client
	path      string
	mediaType string
	p         Progress
	sent      atomic.Bool
	failed    atomic.Pointer[error]
}

// Digest implements partial.CompressedLayer.
func (l *storedLayer) Digest() (v1.Hash, error) { return v1.NewHash(string(l.p.Digest)) }

// Size implements partial.CompressedLayer.
func (l *storedLayer) Size() (int64, error) { return l.p.Total, nil }

// MediaType implements partial.CompressedLayer.
func (l *storedLayer) MediaType() (types.MediaType, error) { return types.MediaType(l.mediaType), nil }

// Compressed implements partial.CompressedLayer.
func (l *storedLayer) Compressed() (io.ReadCloser, error) {
	f, err := os.Open(l.path)
	if err != nil {
		l.failed.Store(&err)
		return nil, err
	}
	return &sending{l: l, file: f, sum: sha256.New()}, nil
}

// present reports a layer of which nothing had to be sent.
func (l *storedLayer) present() {
	if !l.sent.Load() {
		p := l.p
		p.Done, p.State = p.Total, Present
		l.client.report(p)
	}
}

// sending is a blob on its way out. Its digest is compared with its name: what a
// disk has spoilt is not handed on.
type sending struct {
	l    *storedLayer
	file *os.File
	sum  hash.Hash
	done int64
}

// Read implements io.Reader.
func (s *sending) Read(b []byte) (int, error) {
	n, err := s.file.Read(b)
	s.sum.Write(b[:n])
	s.done += int64(n)
	p := s.l.p
	p.Done = s.done
	if s.done >= p.Total {
		p.State = Moved
		if got := image.SumDigest(s.sum.Sum(nil)); got != p.Digest {
			err = fmt.Errorf("the blob %s of the image store is damaged: its content has another digest\n  fix: brig system check --repair", p.Digest)
		}
	} else if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the blob %s of the image store is damaged: it is cut off\n  fix: brig system check --repair", p.Digest)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.l.failed.Store(&err)
		return 0, err
	}
	if n > 0 {
		s.l.sent.Store(true)
		s.l.client.report(p)
	}
	return n, err
}

// Close implements io.Closer.
func (s *sending) Close() error { return s.file.Close() }
