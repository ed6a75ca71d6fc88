package archive

import (
	"crypto/sha256"
	"hash"
	"io"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// verifier hashes what is read through it.
type verifier struct {
	r   io.Reader
	sum hash.Hash
}

func newVerifier(r io.Reader) *verifier { return &verifier{r, sha256.New()} }

func (v *verifier) Read(b []byte) (int, error) {
	n, err := v.r.Read(b)
	v.sum.Write(b[:n])
	return n, err
}

func (v *verifier) digest() image.Digest { return image.SumDigest(v.sum.Sum(nil)) }
