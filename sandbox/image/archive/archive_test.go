package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/layer"
)

// inProcess unpacks without a sandbox: what a layer becomes is tested in
// package layer, what the sandbox holds in e2e.
type inProcess struct {
	mu    sync.Mutex
	count int
}

func (*inProcess) Map() string { return image.Single }

func (u *inProcess) Unpack(_ context.Context, r io.Reader, dir string, limits image.Limits) (*image.Layer, error) {
	u.mu.Lock()
	u.count++
	u.mu.Unlock()
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return nil, err
	}
	report, err := layer.Extract(r, tree, layer.Options{Squash: true, Limits: layer.Limits{Bytes: limits.Bytes, Files: limits.Files, Depth: limits.Depth}})
	if err != nil {
		return nil, err
	}
	return &image.Layer{Bytes: report.Bytes, Files: report.Files, Notes: report.Notes}, nil
}

func (*inProcess) Remove(_ context.Context, dirs ...string) error {
	for _, d := range dirs {
		if err := errors.Join(layer.Empty(d), os.Remove(d)); err != nil {
			return err
		}
	}
	return nil
}

func newStore(t testing.TB) *image.Store {
	t.Helper()
	s, err := image.OpenStore(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type member struct {
	name    string
	content []byte
}

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := addFile(w, m.name, int64(len(m.content)), bytes.NewReader(m.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zs(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// sample is an OCI archive under construction; tests spoil its parts.
type sample struct {
	layers   [][]byte // as stored
	types    []string
	config   image.ConfigFile
	manifest image.Manifest
	index    image.Index
	blobs    map[image.Digest][]byte
}

func (s *sample) blob(b []byte, mediaType string) image.Descriptor {
	d := image.DigestOf(b)
	s.blobs[d] = b
	return image.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

// newSample has a layer of each compression.
func newSample(t testing.TB) *sample {
	t.Helper()
	s := &sample{blobs: map[image.Digest][]byte{}}
	s.config.Platform = image.Platform{OS: "linux", Architecture: "amd64"}
	if !ours(&s.config.Platform) {
		s.config.Architecture = "arm64"
	}
	s.config.RootFS.Type = "layers"
	for i, pack := range []func(testing.TB, []byte) []byte{func(_ testing.TB, b []byte) []byte { return b }, gz, zs} {
		plain := tarOf(t, member{fmt.Sprintf("file%d", i), []byte("content")})
		s.config.RootFS.DiffIDs = append(s.config.RootFS.DiffIDs, image.DigestOf(plain))
		s.layers = append(s.layers, pack(t, plain))
	}
	s.types = []string{image.TypeLayer, image.TypeLayerGzip, image.TypeLayerZstd}
	return s
}

// archive finishes the sample, letting spoil change each document before it is
// hashed into the next.
func (s *sample) archive(t testing.TB, spoil func(*sample)) []byte {
	t.Helper()
	if spoil == nil {
		spoil = func(*sample) {}
	}
	spoil(s)
	s.manifest = image.Manifest{SchemaVersion: 2, MediaType: image.TypeManifest}
	s.manifest.Config = s.blob(toJSON(t, s.config), image.TypeConfig)
	for i, l := range s.layers {
		s.manifest.Layers = append(s.manifest.Layers, s.blob(l, s.types[i]))
	}
	spoil(s)
	d := s.blob(toJSON(t, s.manifest), image.TypeManifest)
	d.Annotations = map[string]string{image.AnnotationName: "library/sample:1"}
	s.index = image.Index{SchemaVersion: 2, Manifests: []image.Descriptor{d}}
	spoil(s)
	members := []member{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", toJSON(t, s.index)}}
	for d, b := range s.blobs {
		members = append(members, member{"blobs/sha256/" + d.Hex(), b})
	}
	return tarOf(t, members...)
}

func TestLoad(t *testing.T) {
	s, u := newStore(t), &inProcess{}
	b := newSample(t).archive(t, nil)
	for _, in := range [][]byte{b, gz(t, b), zs(t, b)} { // twice more: the same image
		list, err := Load(t.Context(), s, bytes.NewReader(in), &Options{Unpacker: u})
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || len(list[0].Names) != 1 || list[0].Names[0].Familiar() != "sample:1" {
			t.Errorf("loaded %+v", list)
		}
	}
	if u.count != 3 {
		t.Errorf("%d layers were unpacked, want each of 3 once", u.count)
	}
	i, err := image.Open(s, "sample:1")
	if err != nil {
		t.Fatal(err)
	}
	for n, dir := range i.Layers() {
		if b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("file%d", n))); err != nil || string(b) != "content" {
			t.Errorf("layer %d: %q %v", n, b, err)
		}
	}
	clean(t, s)
}

// clean checks that the store is in order and nothing of the work is left.
func clean(t *testing.T, s *image.Store) {
	t.Helper()
	f, err := s.Check(context.Background())
	if err != nil || !f.OK() {
		t.Errorf("the store is not in order: %+v, %v", f, err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir(), "tmp/*")); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

func TestLoadRefuses(t *testing.T) {
	missing := image.DigestOf([]byte("missing"))
	for _, tt := range []struct {
		name  string
		spoil func(*sample)
		want  string
	}{
		{"wrong diff id", func(s *sample) { s.config.RootFS.DiffIDs[1] = missing }, "layer 2 of 3: the uncompressed layer has the digest sha256:"},
		{"unknown layer type", func(s *sample) { s.types[0] = "application/x-iso" }, `reading a manifest: layer 1 is of type "application/x-iso", which brig does not know`},
		{"artifact", func(s *sample) {
			if s.manifest.Config.Digest != "" {
				s.manifest.Config.MediaType = "application/vnd.oci.empty.v1+json"
			}
		}, `reading a manifest: it is not an image's: its config is of type "application/vnd.oci.empty.v1+json"`},
		{"missing layer", func(s *sample) {
			if len(s.manifest.Layers) > 0 {
				s.manifest.Layers[2].Digest = missing
			}
		}, "the archive lacks blob " + string(missing)},
		{"wrong size", func(s *sample) {
			if len(s.manifest.Layers) > 0 {
				s.manifest.Layers[0].Size = 7
			}
		}, "has 2048 bytes, its manifest says 7"},
		{"damaged blob", func(s *sample) {
			if len(s.index.Manifests) > 0 {
				s.blobs[s.manifest.Layers[1].Digest] = []byte("spoilt")
			}
		}, "is damaged: its content has the digest " + string(image.DigestOf([]byte("spoilt")))},
		{"truncated gzip", func(s *sample) {
			if s.manifest.Config.Digest == "" {
				s.layers[1] = s.layers[1][:len(s.layers[1])-20]
			}
		}, "layer 2 of 3: unexpected EOF"},
		{"fewer diff ids", func(s *sample) { s.config.RootFS.DiffIDs = s.config.RootFS.DiffIDs[:2] }, "the image is inconsistent: 3 layers in its manifest, 2 in its config"},
		{"other platform", func(s *sample) {
			if len(s.index.Manifests) > 0 {
				s.index.Manifests[0].Platform = &image.Platform{OS: "linux", Architecture: "s390x"}
			}
		}, ", only for linux/s390x"},
		{"10,000 layers", func(s *sample) {
			if s.manifest.Config.Digest == "" {
				for range 10_000 {
					s.layers, s.types = append(s.layers, s.layers[0]), append(s.types, s.types[0])
				}
			}
		}, "the image has 10003 layers: the kernel's overlay stacks at most 500"},
		{"bomb", func(s *sample) {
			if s.manifest.Config.Digest == "" {
				s.layers[0], s.types[0] = bomb(), image.TypeLayerGzip
			}
		}, "layer 1 of 3: limit: the layer is compressed more than 250 times, as no honest one is"},
		{"no tar", func(s *sample) {
			if s.manifest.Config.Digest == "" {
				s.layers[0] = bytes.Repeat([]byte("no tar "), 100)
			}
		}, "layer 1 of 3: reading the archive: archive/tar: invalid tar header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			_, err := Load(t.Context(), s, bytes.NewReader(newSample(t).archive(t, tt.spoil)), &Options{Unpacker: &inProcess{}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if list, err := s.List(); err != nil || len(list) > 0 {
				t.Errorf("the store has %v, %v", list, err)
			}
			clean(t, s)
		})
	}
}

// bomb is 128 MiB of zeros.
func bomb() []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	tw := tar.NewWriter(w)
	_ = tw.WriteHeader(&tar.Header{Name: "zeros", Size: 128 << 20, Mode: 0o600})
	zeros := make([]byte, 1<<20)
	for range 128 {
		_, _ = tw.Write(zeros)
	}
	_ = tw.Close()
	_ = w.Close()
	return b.Bytes()
}

func TestLoadNoArchive(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "reading the archive: unexpected EOF",
		strings.Repeat("x", 1000):               "it is not an archive: archive/tar: invalid tar header\n  fix: give a file that docker save, podman save or skopeo wrote, or an OCI layout",
		string(tarOf(t, member{"bin/sh", nil})): "it holds no image: neither index.json nor manifest.json is in it\n  fix: a plain root file system is for brig import FILE NAME",
		string(tarOf(t, member{"manifest.json", []byte(`[{"Config":"../../etc/passwd"}]`)})):   `the archive lacks "etc/passwd"`,
		string(tarOf(t, member{"index.json", bytes.Repeat([]byte(" "), image.MaxDocument+1)})): "neither index.json nor manifest.json",
	} {
		s := newStore(t)
		_, err := Load(t.Context(), s, strings.NewReader(in), &Options{Unpacker: &inProcess{}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
		clean(t, s)
	}
}

// TestRoundTrip: what Save writes in either form, Load takes in as the same
// image.
func TestRoundTrip(t *testing.T) {
	s, o := newStore(t), &Options{Unpacker: &inProcess{}}
	name, _ := image.ParseName("mine:1")
	in := &ImportOptions{Created: time.Unix(1e9, 0), Config: image.Config{Cmd: []string{"/bin/sh"}}, Message: "hello"}
	l, err := Import(t.Context(), s, bytes.NewReader(zs(t, tarOf(t, member{"a", []byte("b")}))), []image.Name{name}, in, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{FormatOCI, FormatDocker} {
		var b bytes.Buffer
		if err := Save(s, &b, format, []string{"mine:1"}); err != nil {
			t.Fatal(err)
		}
		to := newStore(t)
		list, err := Load(t.Context(), to, &b, o)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 || list[0].ID != l.ID || !cmp.Equal(list[0].Names, []image.Name{name}) {
			t.Errorf("%s: %+v, want %+v", format, list, l)
		}
		i, err := image.Open(to, "mine:1")
		if err != nil || !cmp.Equal(i.Config(), in.Config) {
			t.Errorf("%s: %+v %v", format, i.Config(), err)
		}
		clean(t, to)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(newSample(f).archive(f, nil))
	f.Add(tarOf(f, member{"manifest.json", []byte(`[{"Config":"c","Layers":["l"],"RepoTags":["x:1"]}]`)}, member{"c", []byte(`{}`)}, member{"l", nil}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newStore(t)
		o := &Options{Unpacker: &inProcess{}, Limits: image.Limits{Bytes: 1 << 20, Files: 100, Depth: 16}}
		_, _ = Load(t.Context(), s, bytes.NewReader(b), o)
		clean(t, s)
	})
}
