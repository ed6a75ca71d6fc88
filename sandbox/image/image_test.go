package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/brig-sandbox/brig/userns"
)

func ranges(list ...userns.Range) userns.SubIDs { return userns.SubIDs{UID: list, GID: list} }

// A mapping's name says whose the files are: with other ids it is another one.
func TestKeepName(t *testing.T) {
	usual := ranges(userns.Range{Start: 100000, Count: 65536})
	for _, tt := range []struct {
		keepAs uint32
		sub    userns.SubIDs
		want   string
	}{
		{1000, usual, "keep-1000-100000-65536"},
		{65535, usual, "keep-65535-100000-65536"},
		{65536, usual, "isolated-100000-65536"},
		{70000, usual, "isolated-100000-65536"},
		{65536, ranges(userns.Range{Start: 1, Count: 2}, userns.Range{Start: 5, Count: 2}), "isolated-3c22848f1cbbb895"},
		{65536, ranges(userns.Range{Start: 5, Count: 2}, userns.Range{Start: 1, Count: 2}), "isolated-421b80a949495c07"},
		{65536, userns.SubIDs{UID: usual.UID, GID: []userns.Range{{Start: 5, Count: 9}}}, "isolated-6f28f70cf8b00713"},
	} {
		if got := KeepName(tt.keepAs, tt.sub); got != tt.want {
			t.Errorf("%d, %v: %s, not %s", tt.keepAs, tt.sub, got, tt.want)
		}
	}
}

// Trees of other mappings, or not all of them, are not taken for those asked for.
func TestKeepAs(t *testing.T) {
	s := &Store{dir: t.TempDir()}
	c := &ConfigFile{}
	c.RootFS.DiffIDs = []Digest{SumDigest(make([]byte, 32)), SumDigest(append(make([]byte, 31), 1))}
	tree := func(mapName string, d Digest) {
		if err := os.MkdirAll(filepath.Join(s.layerDir(mapName, d), "tree"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	usual := ranges(userns.Range{Start: 100000, Count: 65536})
	i := &Image{store: s, name: "web:1", config: c}
	tree("keep-1000-200000-65536", c.RootFS.DiffIDs[0])
	tree("keep-1000-200000-65536", c.RootFS.DiffIDs[1])
	tree("isolated-100000-65536", c.RootFS.DiffIDs[0])
	for _, id := range []uint32{1000, userns.WantIDs} {
		if _, err := i.KeepAs(id, usual); !errors.Is(err, ErrNotUnpacked) || err.Error() != "the layers are not unpacked for this mapping: web:1" {
			t.Errorf("%d: %v", id, err)
		}
	}
	tree("isolated-100000-65536", c.RootFS.DiffIDs[1])
	other, err := i.KeepAs(userns.WantIDs, usual)
	if err != nil || !other.IsIsolated() || other.Map() != "isolated-100000-65536" || len(other.Layers()) != 2 || i.IsIsolated() {
		t.Errorf("%+v, %v", other, err)
	}
	if names, err := s.mapNames(); err != nil || len(names) != 0 {
		t.Errorf("trees for some runs alone are taken for everybody's: %q, %v", names, err)
	}
}
