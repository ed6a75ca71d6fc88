package image

import (
	"strings"
	"testing"
)

// As distribution/reference normalises.
func TestParseName(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for _, tt := range []struct{ in, full, familiar string }{
		{"debian", "docker.io/library/debian:latest", "debian:latest"},
		{"debian:12", "docker.io/library/debian:12", "debian:12"},
		{"library/debian", "docker.io/library/debian:latest", "debian:latest"},
		{"docker.io/debian", "docker.io/library/debian:latest", "debian:latest"},
		{"index.docker.io/me/x", "docker.io/me/x:latest", "me/x:latest"},
		{"me/x:v1", "docker.io/me/x:v1", "me/x:v1"},
		{"localhost/x", "localhost/x:latest", "localhost/x:latest"},
		{"reg:5000/x", "reg:5000/x:latest", "reg:5000/x:latest"},
		{"reg.example/a/b/c:1.0", "reg.example/a/b/c:1.0", "reg.example/a/b/c:1.0"},
		{"[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"},
		{"debian@" + digest, "docker.io/library/debian@" + digest, "debian@" + digest},
		{"debian:12@" + digest, "docker.io/library/debian:12@" + digest, "debian:12@" + digest},
		{"a_b__c-d--e.f", "docker.io/library/a_b__c-d--e.f:latest", "a_b__c-d--e.f:latest"},
	} {
		n, err := ParseName(tt.in)
		if err != nil || n.String() != tt.full || n.Familiar() != tt.familiar {
			t.Errorf("%s: %q %q %v", tt.in, n, n.Familiar(), err)
		}
		if again, err := ParseName(n.String()); err != nil || again != n {
			t.Errorf("%s: %v is read as %v, %v", tt.in, n, again, err)
		}
	}
}

func TestParseNameRefuses(t *testing.T) {
	const parts = "a name's parts are letters and digits, with single dots, one or two underscores, or dashes between them"
	for in, want := range map[string]string{
		"":                       parts,
		"Debian":                 "a repository's name is in lower case",
		"a//b":                   parts,
		"../x":                   "its first part is not a host name",
		"a/../b":                 parts,
		"a..b":                   parts,
		"a___b":                  parts,
		"-a":                     parts,
		"a._b":                   parts,
		"x:":                     "a tag has up to 128 letters, digits, dots, dashes and underscores, and starts with none of the first two marks",
		"x:a b":                  "a tag has up to 128 letters, digits, dots, dashes and underscores, and starts with none of the first two marks",
		"x@sha256:12":            `"sha256:12" is not a digest: sha256: and 64 digits of 0-9a-f`,
		"x@md5:1":                `"md5:1" is not a digest: sha256: and 64 digits of 0-9a-f`,
		strings.Repeat("0a", 32): "64 hexadecimal digits are an id, not a name",
		strings.Repeat("x", 255): "a repository's name has at most 255 bytes",
	} {
		_, err := ParseName(in)
		if err == nil || err.Error() != `invalid reference "`+clipped(in)+`": `+want {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func clipped(s string) string { return clip(s) }

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"debian", "a/b:c@sha256:" + strings.Repeat("0", 64), "[::1]:1/x", "x__y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseName(s)
		if err != nil {
			return
		}
		for _, form := range []string{n.String(), n.Familiar()} {
			if again, err := ParseName(form); err != nil || again != n {
				t.Errorf("%q: %q is read as %v, %v", s, form, again, err)
			}
		}
	})
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` + strings.Repeat("0", 64) + `","size":2},"layers":[]}`))
	f.Add([]byte(`{"rootfs":{"type":"layers","diff_ids":["sha256:` + strings.Repeat("1", 64) + `"]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseManifest(b); err == nil {
			for _, l := range append(m.Layers, m.Config) {
				if _, err := ParseDigest(string(l.Digest)); err != nil {
					t.Errorf("a manifest with the digest %q", l.Digest)
				}
			}
		}
		if c, err := ParseConfig(b); err == nil {
			for _, d := range c.RootFS.DiffIDs {
				if _, err := ParseDigest(string(d)); err != nil {
					t.Errorf("a config with the diff id %q", d)
				}
			}
		}
		x, err := ParseIndex(b)
		if kind, derr := DocumentType(b, ""); derr == nil {
			if _, merr := ParseManifest(b); IsIndex(kind) && merr == nil || IsManifest(kind) && err == nil && len(x.Manifests) > 0 {
				t.Errorf("a document of type %s can be read as another", kind)
			}
		}
	})
}
