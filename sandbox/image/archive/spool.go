package archive

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// maxEntries is how many files an archive of images may have.
const maxEntries = 100_000

// spooled is a file of an archive, in the work directory.
type spooled struct {
	path   string
	digest image.Digest
	size   int64
}

// spool is an archive of images, taken apart.
type spool struct {
	work  *image.Work
	files map[string]*spooled // by name in the archive
	links map[string]string
	blobs map[image.Digest]*spooled
	count int // of files made in the work directory
}

// copier copies with one buffer and ends with its context.
type copier struct {
	ctx context.Context
	buf []byte
}

func (c *copier) copy(dst io.Writer, src io.Reader) (int64, error) {
	if c.buf == nil {
		c.buf = make([]byte, 1<<20)
	}
	return io.CopyBuffer(struct{ io.Writer }{dst}, ender{c.ctx, src}, c.buf)
}

// ender is a reader that ends with its context.
type ender struct {
	ctx context.Context
	r   io.Reader
}

func (e ender) Read(b []byte) (int, error) {
	if err := e.ctx.Err(); err != nil {
		return 0, context.Cause(e.ctx)
	}
	return e.r.Read(b)
}

// readSpool takes an archive apart. Its files may have maxBytes together.
func readSpool(ctx context.Context, w *image.Work, r io.Reader, maxBytes int64) (*spool, error) {
	s := &spool{work: w, files: map[string]*spooled{}, links: map[string]string{}, blobs: map[image.Digest]*spooled{}}
	plain, err := decompress(r)
	if err != nil {
		return nil, fmt.Errorf("reading the archive: %w", err)
	}
	defer plain.Close()
	c := &copier{ctx: ctx}
	tr := tar.NewReader(ender{ctx, plain})
	var total int64
	for n := 0; ; n++ {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if n == 0 && ctx.Err() == nil {
				return nil, fmt.Errorf("it is not an archive: %w\n  fix: give a file that docker save, podman save or skopeo wrote, or an OCI layout", err)
			}
			return nil, fmt.Errorf("reading the archive: %w", err)
		}
		if n == maxEntries {
			return nil, fmt.Errorf("reading the archive: more than %d files\n  fix: %s", maxEntries, fixImport)
		}
		name := path.Clean("/" + hdr.Name)[1:]
		switch hdr.Typeflag {
		case tar.TypeReg:
			if total += hdr.Size; total > maxBytes || total < 0 {
				return nil, fmt.Errorf("reading the archive: more than %d bytes\n  fix: allow more with --max-size", maxBytes)
			}
			if err := s.add(c, name, tr); err != nil {
				return nil, fmt.Errorf("reading %q from the archive: %w", name, err)
			}
		case tar.TypeSymlink:
			s.links[name] = path.Join("/", path.Dir(name), hdr.Linkname)[1:]
		case tar.TypeLink:
			s.links[name] = path.Clean("/" + hdr.Linkname)[1:]
		}
	}
	return s, nil
}

const fixImport = "a plain root file system is for brig import FILE NAME"

// add writes one file of an archive, and syncs it later, when it is needed.
func (s *spool) add(c *copier, name string, r io.Reader) error {
	f, err := s.store(c, r)
	if err != nil {
		return err
	}
	s.files[name] = f
	s.blobs[f.digest] = f
	return nil
}

func (s *spool) store(c *copier, r io.Reader) (*spooled, error) {
	s.count++
	name := filepath.Join(s.work.Dir, "file-"+strconv.Itoa(s.count))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	n, err := c.copy(io.MultiWriter(f, sum), r)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &spooled{path: name, digest: image.SumDigest(sum.Sum(nil)), size: n}, nil
}

// find gives a file by its name in the archive. docker save once wrote links
// for layers that are there twice.
func (s *spool) find(name string) (*spooled, error) {
	name = path.Clean("/" + name)[1:]
	for range 8 {
		if f := s.files[name]; f != nil {
			return f, nil
		}
		to, ok := s.links[name]
		if !ok {
			break
		}
		name = to
	}
	return nil, fmt.Errorf("the archive lacks %q", name)
}

// document reads a small file of the archive.
func (s *spool) document(name string) ([]byte, error) {
	f, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return image.ReadDocument(f.path)
}

// blob gives a file by its digest, and checks its size. That the archive has
// one under the digest's name with other content is the likeliest reason for
// its absence.
func (s *spool) blob(d image.Descriptor) (*spooled, error) {
	f := s.blobs[d.Digest]
	if f == nil {
		if other := s.files["blobs/sha256/"+d.Digest.Hex()]; other != nil {
			return nil, fmt.Errorf("blob %s is damaged: its content has the digest %s", d.Digest, other.digest)
		}
		return nil, fmt.Errorf("the archive lacks blob %s", d.Digest)
	}
	if d.Size > 0 && f.size != d.Size {
		return nil, fmt.Errorf("blob %s has %d bytes, its manifest says %d", d.Digest, f.size, d.Size)
	}
	return f, nil
}

// prepare syncs a blob and puts it where Commit looks for it.
func (s *spool) prepare(f *spooled) error {
	to := s.work.Blob(f.digest)
	if f.path == to {
		return nil
	}
	if err := syncFile(f.path); err != nil {
		return err
	}
	if err := os.Rename(f.path, to); err != nil {
		return err
	}
	f.path = to
	return nil
}

// write adds a document that brig makes itself.
func (s *spool) write(b []byte) (*spooled, error) {
	return s.store(&copier{ctx: context.Background()}, strings.NewReader(string(b)))
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
