package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/brig-sandbox/brig/sandbox/image"
)

func loaded(t *testing.T, s *image.Store) *Options {
	t.Helper()
	o := &Options{Unpacker: &inProcess{}}
	if _, err := Load(t.Context(), s, bytes.NewReader(newSample(t).archive(t, nil)), o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestHold: what a sandbox uses is not removed under it, whatever is asked.
func TestHold(t *testing.T) {
	s := newStore(t)
	o := loaded(t, s)
	i, err := image.Open(s, "sample:1")
	if err != nil {
		t.Fatal(err)
	}
	release, err := i.Hold()
	if err != nil {
		t.Fatal(err)
	}
	again, err := i.Hold() // two sandboxes
	if err != nil {
		t.Fatal(err)
	}
	again()
	want := func(kept bool) {
		t.Helper()
		for _, dir := range i.Layers() {
			if _, err := os.Lstat(dir); (err == nil) != kept {
				t.Errorf("kept %v wanted, but %v", kept, err)
			}
		}
	}
	if _, err := s.Remove(t.Context(), o.Unpacker, "sample:1", false); !errors.Is(err, image.ErrInUse) ||
		err.Error() != "sample:1 is in use by a running sandbox\n  fix: end it first, or take the name alone with --force" {
		t.Errorf("removing a held image: %v", err)
	}
	if r, err := s.Prune(t.Context(), o.Unpacker, true, nil); err != nil || len(r.Deleted) > 0 {
		t.Errorf("pruning a held image: %+v %v", r, err)
	}
	if u, err := s.Usage(); err != nil || u.Images.Active != 1 || u.Layers.Active != 3 || u.Layers.Reclaimable != 0 {
		t.Errorf("usage %+v %v", u, err)
	}
	if r, err := s.Remove(t.Context(), o.Unpacker, "sample:1", true); err != nil || r.Layers != 0 {
		t.Errorf("removing by force: %+v %v", r, err)
	}
	want(true)
	release()
	if r, err := s.Prune(t.Context(), o.Unpacker, false, nil); err != nil || r.Layers != 3 {
		t.Errorf("pruning after the end: %+v %v", r, err)
	}
	want(false)
	if _, err := i.Hold(); !errors.Is(err, image.ErrNotFound) {
		t.Errorf("holding what is gone: %v", err)
	}
	clean(t, s)
}

// TestNames: a name moves, an image without one stays until it is pruned.
func TestNames(t *testing.T) {
	s := newStore(t)
	o := loaded(t, s)
	name := func(text string) image.Name {
		n, err := image.ParseName(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	other, err := Import(t.Context(), s, bytes.NewReader(tarOf(t, member{"x", nil})), []image.Name{name("other")}, &ImportOptions{}, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tag(other.ID.Short(), name("sample:1")); err != nil {
		t.Fatal(err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 {
		t.Fatalf("%+v %v", list, err)
	}
	for _, e := range list {
		if names := len(e.Names); (e.Manifest.Digest == other.Manifest) != (names == 2) || names == 1 {
			t.Errorf("%s has the names %v", e.Manifest.Digest, e.Names)
		}
	}
	if _, err := s.Remove(t.Context(), o.Unpacker, string(other.ID), false); err == nil ||
		err.Error() != string(other.ID)+" has 2 names\n  fix: remove them one by one, or all with --force" {
		t.Errorf("removing by id: %v", err)
	}
	if _, err := s.Find(""); err == nil {
		t.Error("nothing was found by nothing")
	}
	if _, err := s.Find("sample@" + string(list[0].Manifest.Digest)); (err == nil) != (list[0].Manifest.Digest == other.Manifest) {
		t.Errorf("by digest: %v", err)
	}
	if r, err := s.Prune(t.Context(), o.Unpacker, false, nil); err != nil || len(r.Deleted) != 1 || r.Layers != 3 {
		t.Errorf("prune: %+v %v", r, err)
	}
	clean(t, s)
}

// TestAtOnce: many loads, tags and prunes at the same time leave a whole store.
func TestAtOnce(t *testing.T) {
	s := newStore(t)
	b := newSample(t).archive(t, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				o := &Options{Unpacker: &inProcess{}}
				if _, err := Load(t.Context(), s, bytes.NewReader(b), o); err != nil {
					t.Error(err)
				}
				if _, err := s.Prune(t.Context(), o.Unpacker, true, nil); err != nil {
					t.Error(err)
				}
				if i, err := image.Open(s, "sample:1"); err == nil {
					if release, err := i.Hold(); err == nil {
						for _, dir := range i.Layers() {
							if _, err := os.Lstat(dir); err != nil {
								t.Errorf("held, and gone: %v", err)
							}
						}
						release()
					}
				}
			}
		})
	}
	wg.Wait()
	clean(t, s)
}

// TestDamagedIndex: what cannot be read is an error that names the way out, and
// the way out keeps the images.
func TestDamagedIndex(t *testing.T) {
	s := newStore(t)
	o := loaded(t, s)
	name := filepath.Join(s.Dir(), "index.json")
	for _, content := range []string{"", "{", `{"manifests":[{"digest":"sha256:../../x"}]}`, strings.Repeat(" ", image.MaxDocument+1)} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.List(); err == nil {
			t.Errorf("%.20q was read as an index", content)
		}
		f, err := s.Check(t.Context())
		if err != nil || f.Index == "" {
			t.Fatalf("check: %+v %v", f, err)
		}
		if _, err := s.Repair(t.Context(), o.Unpacker, f); err != nil {
			t.Fatal(err)
		}
		if list, err := s.List(); err != nil || len(list) != 1 {
			t.Errorf("after the repair: %+v %v", list, err)
		}
		clean(t, s)
	}
}

// BenchmarkOpen is what a run pays for its image, whatever the image's size.
func BenchmarkOpen(b *testing.B) {
	s := newStore(b)
	if _, err := Load(b.Context(), s, bytes.NewReader(newSample(b).archive(b, nil)), &Options{Unpacker: &inProcess{}}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		i, err := image.Open(s, "sample:1")
		if err != nil {
			b.Fatal(err)
		}
		release, err := i.Hold()
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}
