package registry

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/sandbox/image"
)

func TestPull(t *testing.T) {
	sam := newSample(t)
	srv := serve(t, sam)
	s := newStore(t)
	var mu sync.Mutex
	last := map[int]Progress{}
	c := srv.client()
	c.Progress = func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.State >= last[p.Number].State {
			last[p.Number] = p
		}
	}
	p, err := c.Pull(t.Context(), s, srv.name(t, ":1"), options())
	if err != nil {
		t.Fatal(err)
	}
	if !p.New || p.ID != sam.manifest.Config.Digest || p.From != srv.host() {
		t.Errorf("pulled %+v", p)
	}
	want := map[int]Progress{}
	for i, l := range sam.manifest.Layers {
		want[i+1] = Progress{Number: i + 1, Layers: 3, Digest: l.Digest, Done: l.Size, Total: l.Size, State: Unpacked}
	}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Error(diff)
	}
	if _, err := image.Open(s, srv.name(t, ":1").String()); err != nil {
		t.Error(err)
	}
	whole(t, s)

	// What is there is not fetched again.
	before := srv.count("GET /blobs/")
	p, err = c.Pull(t.Context(), s, srv.name(t, ":1"), options())
	if err != nil || p.New || srv.count("GET /blobs/") != before {
		t.Errorf("the second pull: %+v %v, %d requests for blobs more", p, err, srv.count("GET /blobs/")-before)
	}
}

// TestPullByDigest: an image that was asked for by the digest of a list is found
// by that digest, too.
func TestPullByDigest(t *testing.T) {
	sam := newSample(t)
	srv := serve(t, sam)
	s := newStore(t)
	mine := srv.put("mine", toJSON(t, &sam.manifest), image.TypeManifest)
	mine.Platform = &sam.config.Platform
	other := image.Descriptor{MediaType: image.TypeManifest, Digest: image.DigestOf([]byte("x")), Size: 1, Platform: &image.Platform{OS: "linux", Architecture: "s390x"}}
	list := srv.put("list", toJSON(t, &image.Index{SchemaVersion: 2, MediaType: image.TypeIndex, Manifests: []image.Descriptor{other, mine}}), image.TypeIndex)
	for _, rest := range []string{"@" + string(list.Digest), ":any@" + string(mine.Digest), ":list"} {
		if _, err := srv.client().Pull(t.Context(), s, srv.name(t, rest), options()); err != nil {
			t.Fatalf("%s: %v", rest, err)
		}
		e, err := s.Find(srv.name(t, rest).String())
		if err != nil || e.Manifest.Digest != mine.Digest {
			t.Errorf("%s: found %v, %v", rest, e, err)
		}
	}
	if e, err := s.Find(srv.name(t, "@"+string(other.Digest)).String()); err == nil {
		t.Errorf("a digest that was never asked for leads to %v", e)
	}
	e, err := s.List()
	if err != nil || len(e) != 1 || len(e[0].Names) != 3 {
		t.Errorf("%+v %v", e, err)
	}
	whole(t, s)
}

// TestGoesOn: a broken connection costs what it broke, and no more.
func TestGoesOn(t *testing.T) {
	cut := 1 << 20
	for name, tt := range map[string]struct {
		later func(w http.ResponseWriter, r *http.Request, b []byte) // the second answer
		want  []string
	}{
		"with the rest": {sendBlob, []string{"", fmt.Sprintf("bytes=%d-", cut)}},
		"with all of it": {func(w http.ResponseWriter, r *http.Request, b []byte) {
			r.Header.Del("Range")
			sendBlob(w, r, b)
		}, []string{"", fmt.Sprintf("bytes=%d-", cut)}},
		"not at all": {func(w http.ResponseWriter, r *http.Request, b []byte) {
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			sendBlob(w, r, b)
		}, []string{"", fmt.Sprintf("bytes=%d-", cut), ""}},
	} {
		t.Run(name, func(t *testing.T) {
			sam := newSample(t)
			srv := serve(t, sam)
			s := newStore(t)
			var mu sync.Mutex
			var ranges []string
			srv.spoil = func(w http.ResponseWriter, r *http.Request) bool {
				b := sam.blobs[string(sam.big().Digest)]
				if !strings.HasSuffix(r.URL.Path, string(sam.big().Digest)) {
					return false
				}
				mu.Lock()
				ranges = append(ranges, r.Header.Get("Range"))
				first := len(ranges) == 1
				mu.Unlock()
				if !first {
					tt.later(w, r, b)
					return true
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(b)))
				_, _ = w.Write(b[:cut])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			if _, err := srv.client().Pull(t.Context(), s, srv.name(t, ":1"), options()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(ranges, tt.want) {
				t.Errorf("asked for %q, want %q", ranges, tt.want)
			}
			whole(t, s)
		})
	}
}

// TestGoesOnLater: what a pull that was ended had got is not fetched again, and
// is not trusted either.
func TestGoesOnLater(t *testing.T) {
	sam := newSample(t)
	srv := serve(t, sam)
	b := sam.blobs[string(sam.big().Digest)]
	half := len(b) / 2
	for name, tt := range map[string]struct {
		change func(file string) error
		want   []string
	}{
		"as it was left": {func(string) error { return nil }, []string{fmt.Sprintf("bytes=%d-", half)}},
		"damaged": {func(file string) error {
			return os.WriteFile(file, make([]byte, half), 0o600)
		}, []string{fmt.Sprintf("bytes=%d-", half), ""}},
		"longer than the whole": {func(file string) error {
			return os.WriteFile(file, make([]byte, len(b)+1), 0o600)
		}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			var ranges []string
			srv.spoil = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, string(sam.big().Digest)) {
					return false
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(b)))
				_, _ = w.Write(b[:half])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return true
			}
			c := srv.client()
			c.Progress = func(p Progress) {
				if p.Digest == sam.big().Digest && p.Done >= int64(half) {
					cancel(fmt.Errorf("told to end"))
				}
			}
			if _, err := c.Pull(ctx, s, srv.name(t, ":1"), options()); text(err) != "told to end" {
				t.Fatal(err)
			}
			whole(t, s)
			file := filepath.Join(s.Dir(), "partial", sam.big().Digest.Hex())
			if info, err := os.Stat(file); err != nil || info.Size() != int64(half) {
				t.Fatalf("left %v, %v", info, err)
			}
			if err := tt.change(file); err != nil {
				t.Fatal(err)
			}
			srv.spoil = func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, string(sam.big().Digest)) {
					ranges = append(ranges, r.Header.Get("Range"))
				}
				return false
			}
			if _, err := srv.client().Pull(t.Context(), s, srv.name(t, ":1"), options()); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(ranges, tt.want) {
				t.Errorf("asked for %q, want %q", ranges, tt.want)
			}
			whole(t, s)
			left, err := os.ReadDir(filepath.Dir(file))
			if err != nil || len(left) > 0 {
				t.Errorf("left %v %v", left, err)
			}
		})
	}
}

// TestPruneTakesParts: what nobody goes on with can be got rid of.
func TestPruneTakesParts(t *testing.T) {
	s := newStore(t)
	w, err := s.NewWork()
	if err != nil {
		t.Fatal(err)
	}
	mine, err := s.Partial(w, image.DigestOf([]byte("a")))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := s.Partial(w, image.DigestOf([]byte("b")))
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Prune(t.Context(), nil, false, nil); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(s.Dir(), "partial"))
	if err != nil || len(left) != 1 || left[0].Name() != image.DigestOf([]byte("a")).Hex() {
		t.Errorf("left %v %v", left, err)
	}
	if err := mine.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(t.Context(), nil, w); err != nil {
		t.Fatal(err)
	}
}

func TestTwoPullsAtOnce(t *testing.T) {
	sam := newSample(t)
	srv := serve(t, sam)
	s := newStore(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := srv.client().Pull(t.Context(), s, srv.name(t, ":1"), options()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	whole(t, s)
}

func TestMirrors(t *testing.T) {
	sam := newSample(t)
	srv := serve(t, sam)
	mirror := serve(t, newSample(t))
	mirror.manifests = map[string]sent{}
	n := srv.name(t, ":1")
	var notes []string
	c := srv.client()
	c.Config = &Config{Registries: map[string]Registry{n.Domain: {Mirrors: []string{mirror.host()}}}}
	c.Roots.AddCert(mirror.Certificate())
	c.Note = func(s string) { notes = append(notes, s) }
	p, err := c.Pull(t.Context(), newStore(t), n, options())
	if err != nil || p.From != srv.host() {
		t.Fatal(p, err)
	}
	want := fmt.Sprintf("the mirror %s does not have it: no such image at %s: %s/r/app:1 (404 NAME_UNKNOWN: no such thing)", mirror.host(), mirror.host(), mirror.host())
	if !slices.Equal(notes, []string{want}) {
		t.Errorf("notes %q, want %q", notes, want)
	}
	// And one that has it, below a prefix.
	mirror.manifests = srv.manifests
	mirror.prefix = "/pre/fix"
	before := srv.count("")
	c.Config.Registries[n.Domain] = Registry{Mirrors: []string{mirror.host() + "/pre/fix"}}
	s := newStore(t)
	if p, err = c.Pull(t.Context(), s, n, options()); err != nil || p.From != mirror.host() || srv.count("") != before {
		t.Error(p, err)
	}
	if _, err := s.Find(n.String()); err != nil {
		t.Error(err)
	}
}
