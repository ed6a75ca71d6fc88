package registry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/brig-sandbox/brig/sandbox/image"
	"github.com/brig-sandbox/brig/sandbox/image/archive"
	"github.com/brig-sandbox/brig/sandbox/image/layer"
)

// inProcess unpacks without a sandbox: what the sandbox holds is tested in e2e.
type inProcess struct{}

func (inProcess) Map() string { return image.Single }

func (inProcess) Unpack(_ context.Context, r io.Reader, dir string, limits image.Limits) (*image.Layer, error) {
	tree := filepath.Join(dir, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return nil, err
	}
	report, err := layer.Extract(r, tree, layer.Options{Squash: true, Limits: layer.Limits{Bytes: limits.Bytes, Files: limits.Files, Depth: limits.Depth}})
	if err != nil {
		return nil, err
	}
	return &image.Layer{Bytes: report.Bytes, Files: report.Files}, nil
}

func (inProcess) Remove(_ context.Context, dirs ...string) error {
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

func toJSON(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tarOf is an archive with one file of random bytes.
func tarOf(t testing.TB, seed uint64, n int) []byte {
	t.Helper()
	content := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(content)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("file%d", seed), Size: int64(n), Mode: 0o644, ModTime: time.Unix(1e9, 0)})
	if err == nil {
		_, err = w.Write(content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
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

// sample is an image under construction; tests spoil its parts.
type sample struct {
	config   image.ConfigFile
	manifest image.Manifest
	blobs    map[string][]byte // by digest
}

func (s *sample) blob(b []byte, mediaType string) image.Descriptor {
	d := image.DigestOf(b)
	s.blobs[string(d)] = b
	return image.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

// newSample has a layer of each compression; the last has three megabytes.
func newSample(t testing.TB) *sample {
	t.Helper()
	s := &sample{blobs: map[string][]byte{}}
	s.config.Platform = image.Platform{OS: "linux", Architecture: runtime.GOARCH}
	s.config.RootFS.Type = "layers"
	s.manifest = image.Manifest{SchemaVersion: 2, MediaType: image.TypeManifest}
	for i, l := range []struct {
		size      int
		mediaType string
		pack      func(testing.TB, []byte) []byte
	}{
		{1000, image.TypeLayer, func(_ testing.TB, b []byte) []byte { return b }},
		{2000, image.TypeLayerZstd, zs},
		{3 << 20, image.TypeLayerGzip, gz},
	} {
		plain := tarOf(t, uint64(i), l.size)
		s.config.RootFS.DiffIDs = append(s.config.RootFS.DiffIDs, image.DigestOf(plain))
		s.manifest.Layers = append(s.manifest.Layers, s.blob(l.pack(t, plain), l.mediaType))
	}
	return s
}

// big is the digest of the last layer.
func (s *sample) big() image.Descriptor { return s.manifest.Layers[len(s.manifest.Layers)-1] }

// server is a registry with one repository, "r/app", that a test spoils.
type server struct {
	*httptest.Server
	mu        sync.Mutex
	blobs     map[string][]byte
	manifests map[string]sent // by tag and by digest
	// spoil answers in the server's place where it returns true.
	spoil    func(w http.ResponseWriter, r *http.Request) bool
	prefix   string   // of the repository
	requests []string // "METHOD PATH [RANGE]", without the repository
	headers  []http.Header
}

// sent is a document and its type.
type sent struct {
	content   []byte
	mediaType string
}

// serve starts a registry that has an image as app:1.
func serve(t testing.TB, s *sample) *server {
	t.Helper()
	srv := &server{blobs: s.blobs, manifests: map[string]sent{}}
	s.manifest.Config = s.blob(toJSON(t, &s.config), image.TypeConfig)
	srv.put("1", toJSON(t, &s.manifest), image.TypeManifest)
	srv.Server = httptest.NewTLSServer(srv)
	srv.Config.ErrorLog = nil
	t.Cleanup(srv.Close)
	return srv
}

func (s *server) put(tag string, b []byte, mediaType string) image.Descriptor {
	d := image.Descriptor{MediaType: mediaType, Digest: image.DigestOf(b), Size: int64(len(b))}
	s.manifests[tag], s.manifests[string(d.Digest)] = sent{b, mediaType}, sent{b, mediaType}
	return d
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v2"+s.prefix+"/r/app")
	s.mu.Lock()
	s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+path+" "+r.Header.Get("Range")))
	s.headers = append(s.headers, r.Header.Clone())
	spoil := s.spoil
	s.mu.Unlock()
	if spoil != nil && spoil(w, r) {
		return
	}
	if path == "/v2/" {
		return
	}
	if name, ok := strings.CutPrefix(path, "/manifests/"); ok {
		if m, ok := s.manifests[name]; ok {
			w.Header().Set("Content-Type", m.mediaType)
			_, _ = w.Write(m.content)
			return
		}
	}
	if name, ok := strings.CutPrefix(path, "/blobs/"); ok {
		if b, ok := s.blobs[name]; ok {
			sendBlob(w, r, b)
			return
		}
	}
	http.Error(w, `{"errors":[{"code":"NAME_UNKNOWN","message":"no such thing"}]}`, http.StatusNotFound)
}

// sendBlob answers with a blob, or with the rest of it.
func sendBlob(w http.ResponseWriter, r *http.Request, b []byte) {
	from := 0
	if ask := r.Header.Get("Range"); ask != "" {
		from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(ask, "bytes="), "-"))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
		w.Header().Set("Content-Length", strconv.Itoa(len(b)-from))
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	}
	_, _ = w.Write(b[from:])
}

// count tells how many requests began with a prefix.
func (s *server) count(prefix string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// host is the first part of images' names at the server.
func (s *server) host() string { return strings.TrimPrefix(s.URL, "https://") }

func (s *server) name(t testing.TB, rest string) image.Name {
	t.Helper()
	n, err := image.ParseName(s.host() + "/r/app" + rest)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// client trusts the server.
func (s *server) client() *Client {
	roots := s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	return &Client{Config: &Config{}, Credentials: &Credentials{}, Roots: roots}
}

func options() *archive.Options { return &archive.Options{Unpacker: inProcess{}} }

// whole fails where a store is not in order.
func whole(t testing.TB, s *image.Store) {
	t.Helper()
	f, err := s.Check(t.Context())
	if err != nil || !f.OK() {
		t.Errorf("the store is not in order: %+v %v", f, err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
