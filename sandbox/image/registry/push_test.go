package registry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/logs"
	library "github.com/google/go-containerregistry/pkg/registry"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// memory is a registry in memory that notes what it is asked.
type memory struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
}

func newMemory(t testing.TB) *memory {
	t.Helper()
	m := &memory{}
	inner := library.New(library.Logger(logs.Debug))
	m.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.requests = append(m.requests, r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery)
		m.mu.Unlock()
		if r.Method == http.MethodHead && strings.HasPrefix(r.URL.Path, "/v2/b/y/blobs/") {
			w.WriteHeader(http.StatusNotFound) // it keeps no repositories apart
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(m.Close)
	return m
}

// take forgets what was asked until now, and returns it.
func (m *memory) take(method string) (list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.requests {
		if strings.HasPrefix(r, method) {
			list = append(list, r)
		}
	}
	m.requests = nil
	return list
}

func (m *memory) client() *Client {
	return &Client{Config: &Config{}, Credentials: &Credentials{}, Roots: m.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
}

// filled is a store with the sample under the names.
func filled(t *testing.T, names ...image.Name) (*image.Store, *sample) {
	t.Helper()
	sam := newSample(t)
	srv := serve(t, sam)
	s := newStore(t)
	if _, err := srv.client().Pull(t.Context(), s, srv.name(t, ":1"), options()); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if err := s.Tag(srv.name(t, ":1").String(), n); err != nil {
			t.Fatal(err)
		}
	}
	return s, sam
}

func TestPush(t *testing.T) {
	m := newMemory(t)
	host := strings.TrimPrefix(m.URL, "https://")
	a, b := image.Name{Domain: host, Path: "a/x", Tag: "1"}, image.Name{Domain: host, Path: "b/y", Tag: "2"}
	s, sam := filled(t, a, b)
	var mu sync.Mutex
	states := map[State]int{}
	c := m.client()
	c.Progress = func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.State != Moving {
			states[p.State]++
		}
	}
	d, err := c.Push(t.Context(), s, a)
	want := image.DigestOf(toJSON(t, &sam.manifest))
	if err != nil || d != want {
		t.Fatalf("%s %v, want %s", d, err, want)
	}
	if states[Moved] != 3 || states[Present] != 0 {
		t.Errorf("the first push: %v", states)
	}
	m.take("")
	// Nothing is sent twice.
	if _, err := c.Push(t.Context(), s, a); err != nil {
		t.Fatal(err)
	}
	if again := m.take("P"); len(again) > 0 || states[Present] != 3 {
		t.Errorf("the second push asked %q; %v", again, states)
	}
	// Another repository gets the blobs of the first one.
	clear(states)
	if _, err := c.Push(t.Context(), s, b); err != nil {
		t.Fatal(err)
	}
	// It mounts none, and so gets them after all.
	mounts := slices.DeleteFunc(m.take("POST"), func(r string) bool { return !strings.Contains(r, "from=a%2Fx") })
	if len(mounts) != 3 {
		t.Errorf("asked to mount %q", mounts)
	}
	// What was pushed is what is pulled.
	other := newStore(t)
	p, err := c.Pull(t.Context(), other, b, options())
	if err != nil || p.Manifest != want {
		t.Fatal(p, err)
	}
	whole(t, other)
}

func TestPushRefuses(t *testing.T) {
	m := newMemory(t)
	n := image.Name{Domain: strings.TrimPrefix(m.URL, "https://"), Path: "a/x", Tag: "1"}
	s, sam := filled(t, n)
	c := m.client()
	missing := n
	missing.Tag = "2"
	if _, err := c.Push(t.Context(), s, missing); text(err) != fmt.Sprintf("no such image: %s\n  fix: there is %s", missing, n) {
		t.Error(err)
	}
	byDigest := n
	byDigest.Tag, byDigest.Digest = "", sam.big().Digest
	if _, err := c.Push(t.Context(), s, byDigest); text(err) != byDigest.String()+": what is pushed needs a tag, and its digest follows from it\n  fix: brig tag IMAGE NAME:TAG, and push that" {
		t.Error(err)
	}
	// What the disk has spoilt is not handed on.
	spoilt := s.BlobPath(sam.big().Digest)
	content, err := os.ReadFile(spoilt)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	for _, tt := range []struct {
		content []byte
		want    string
	}{
		{content, "its content has another digest"},
		{content[:100], "it is cut off"},
	} {
		if err := os.WriteFile(spoilt, tt.content, 0o600); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("the blob %s of the image store is damaged: %s\n  fix: brig system check --repair", sam.big().Digest, tt.want)
		if _, err := c.Push(t.Context(), s, n); text(err) != want {
			t.Errorf("got %v", err)
		}
	}
	if _, err := c.Pull(t.Context(), newStore(t), n, options()); err == nil {
		t.Error("the damaged image is there")
	}
}
