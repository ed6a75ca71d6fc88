package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// ErrLimit is wrapped when a layer is more than the limits allow.
var ErrLimit = errors.New("limit")

// ratioFrom is where a layer's ratio begins to matter: small files of zeros
// compress as well as bombs do.
const ratioFrom = 64 << 20

// layerReader is a layer on its way to an Unpacker: it decompresses, hashes and
// counts. Its own error is the cause of whatever its reader says of it.
type layerReader struct {
	in     *counter
	plain  io.ReadCloser
	sum    hash.Hash
	n      int64
	limits image.Limits
	err    error
	ended  bool
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

func newLayerReader(r io.Reader, limits image.Limits) (*layerReader, error) {
	l := &layerReader{in: &counter{r: r}, sum: sha256.New(), limits: limits}
	var err error
	l.plain, err = decompress(l.in)
	return l, err
}

// maxArchive is how long the archive of a layer may be: its files' bytes, and
// for each file its header with room for long names.
func maxArchive(l image.Limits) int64 { return l.Bytes + l.Files*4096 }

func (l *layerReader) Read(b []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.plain.Read(b)
	l.sum.Write(b[:n])
	l.n += int64(n)
	switch {
	case l.n > maxArchive(l.limits):
		err = fmt.Errorf("%w: the layer has more than %d bytes", ErrLimit, maxArchive(l.limits))
	case l.n > ratioFrom && l.n/l.limits.Ratio > l.in.n:
		err = fmt.Errorf("%w: the layer is compressed more than %d times, as no honest one is", ErrLimit, l.limits.Ratio)
	}
	if errors.Is(err, io.EOF) {
		l.ended = true
	} else if err != nil {
		l.err = err
		return 0, err
	}
	return n, err
}

// unpackLayers unpacks the layers of an image that the store does not have,
// some at once. ready waits for a layer's blob, where blobs may still be on
// their way.
func (o *Options) unpackLayers(ctx context.Context, s *image.Store, w *image.Work, m *image.Manifest, c *image.ConfigFile, only []image.Digest, ready Ready) error {
	type job struct {
		number int
		diffID image.Digest
	}
	var jobs []job
	seen := map[image.Digest]bool{}
	for i, d := range c.RootFS.DiffIDs {
		switch {
		case seen[d], only == nil && s.HasLayer(o.Unpacker.Map(), d), only != nil && !slices.Contains(only, d):
			continue
		}
		if _, err := os.Lstat(w.Layer(d)); err == nil {
			continue // another image of the same archive has it
		}
		seen[d] = true
		jobs = append(jobs, job{i, d})
	}
	if len(jobs) == 0 {
		return nil
	}
	w.Subordinate = true
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	queue := make(chan job)
	for range min(len(jobs), runtime.NumCPU()) {
		wg.Go(func() {
			for j := range queue {
				err := ready.wait(ctx, m.Layers[j.number].Digest)
				if err == nil {
					err = o.unpackLayer(ctx, s, w, m.Layers[j.number].Digest, j.diffID)
				}
				if ctx.Err() != nil {
					continue // something else has failed
				}
				if err != nil {
					cancel(fmt.Errorf("layer %d of %d: %w", j.number+1, len(m.Layers), err))
				} else if o.Unpacked != nil {
					o.Unpacked(j.number)
				}
			}
		})
	}
	for _, j := range jobs {
		if ctx.Err() != nil {
			break
		}
		queue <- j
	}
	close(queue)
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// Once for all: trees have too many files to sync each.
	return syncTree(w.Dir)
}

func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = unix.Syncfs(int(f.Fd()))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("syncing the unpacked layers: %w", err)
	}
	return nil
}

// blobFile is where a blob is now: prepared, or in the store.
func blobFile(s *image.Store, w *image.Work, d image.Digest) (*os.File, error) {
	f, err := os.Open(w.Blob(d))
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.Open(s.BlobPath(d))
	}
	return f, err
}

func (o *Options) unpackLayer(ctx context.Context, s *image.Store, w *image.Work, blob, diffID image.Digest) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f, err := blobFile(s, w, blob)
	if err != nil {
		return err
	}
	defer f.Close()
	limits := o.Limits.WithDefaults()
	r, err := newLayerReader(f, limits)
	if err != nil {
		return err
	}
	defer r.plain.Close()
	dir := w.Layer(diffID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	l, err := o.Unpacker.Unpack(ctx, r, dir, limits)
	switch {
	case r.err != nil:
		return r.err // whatever it led to
	case err != nil:
		return err
	case !r.ended:
		return errors.New("the unpacking stopped before the layer's end")
	}
	if got := image.SumDigest(r.sum.Sum(nil)); got != diffID {
		return fmt.Errorf("the uncompressed layer has the digest %s, the config says %s", got, diffID)
	}
	l.DiffID, l.Map = diffID, o.Unpacker.Map()
	for _, note := range l.Notes {
		o.say(fmt.Sprintf("layer %s: %s", diffID.Short(), note))
	}
	return w.WriteLayer(l)
}
