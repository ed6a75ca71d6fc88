package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is "sha256:" and 64 lower-case hexadecimal digits: the content's own
// name (image-spec, descriptor.md).
type Digest string

const digestPrefix = "sha256:"

// ParseDigest checks a digest. Other algorithms than sha256 are refused.
func ParseDigest(s string) (Digest, error) {
	hexed, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(hexed) != 2*sha256.Size || !isHex(hexed) {
		return "", fmt.Errorf("%q is not a digest: sha256: and 64 digits of 0-9a-f", clip(s))
	}
	return Digest(s), nil
}

// DigestOf is the digest of some bytes.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return SumDigest(sum[:])
}

// SumDigest is the digest whose sha256 is already known.
func SumDigest(sum []byte) Digest { return Digest(digestPrefix + hex.EncodeToString(sum)) }

// Hex is the digest without its algorithm.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), digestPrefix) }

// Short is the first 12 digits, as docker prints ids.
func (d Digest) Short() string { return d.Hex()[:min(12, len(d.Hex()))] }

// UnmarshalText refuses what is no digest, so that no decoded document can hold
// one that leads out of a directory.
func (d *Digest) UnmarshalText(b []byte) error {
	parsed, err := ParseDigest(string(b))
	*d = parsed
	return err
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// clip shortens what an error quotes.
func clip(s string) string {
	if len(s) > 120 {
		return s[:120] + "…"
	}
	return s
}
