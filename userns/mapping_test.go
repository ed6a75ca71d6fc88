package userns

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func same(ranges ...Range) SubIDs { return SubIDs{UID: ranges, GID: ranges} }

func TestIsolated(t *testing.T) {
	for name, tt := range map[string]struct {
		sub  SubIDs
		want Map
	}{
		"usual":          {same(Range{100000, 65536}), Map{{0, 100000, 65536}}},
		"more than used": {same(Range{100000, 1 << 20}), Map{{0, 100000, 65536}}},
		"small":          {same(Range{100000, 3}), Map{{0, 100000, 3}}},
		"several":        {same(Range{500000, 1000}, Range{100000, 1000}), Map{{0, 500000, 1000}, {1000, 100000, 1000}}},
		"last cut":       {same(Range{100000, 65535}, Range{500000, 65536}), Map{{0, 100000, 65535}, {65535, 500000, 1}}},
		"third unused":   {same(Range{100000, 65536}, Range{500000, 65536}), Map{{0, 100000, 65536}}},
	} {
		t.Run(name, func(t *testing.T) {
			ids, err := Isolated(tt.sub)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(IDs{UID: tt.want, GID: tt.want}, ids); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestKeepID(t *testing.T) {
	usual := same(Range{100000, 65536})
	for name, tt := range map[string]struct {
		sub      SubIDs
		uid, gid uint32
		want     IDs
	}{
		"usual": {usual, 1000, 1000, IDs{
			UID: Map{{0, 100000, 1000}, {1000, 501, 1}, {1001, 101000, 64535}},
			GID: Map{{0, 100000, 1000}, {1000, 20, 1}, {1001, 101000, 64535}},
		}},
		"root inside, other group": {usual, 0, 65535, IDs{
			UID: Map{{0, 501, 1}, {1, 100000, 65535}},
			GID: Map{{0, 100000, 65535}, {65535, 20, 1}},
		}},
		"nobody, one before the last": {usual, 65534, 65535, IDs{
			UID: Map{{0, 100000, 65534}, {65534, 501, 1}, {65535, 165534, 1}},
			GID: Map{{0, 100000, 65535}, {65535, 20, 1}},
		}},
		"above 16 bits": {usual, 70000, 65536, IDs{
			UID: Map{{0, 100000, 65536}, {70000, 501, 1}},
			GID: Map{{0, 100000, 65536}, {65536, 20, 1}},
		}},
		"fewer than the id": {same(Range{100000, 2}), 1000, 1, IDs{
			UID: Map{{0, 100000, 2}, {1000, 501, 1}},
			GID: Map{{0, 100000, 1}, {1, 20, 1}, {2, 100001, 1}},
		}},
		"two ranges": {same(Range{100000, 1500}, Range{200000, 65536}), 1000, 1500, IDs{
			UID: Map{{0, 100000, 1000}, {1000, 501, 1}, {1001, 101000, 500}, {1501, 200000, 64035}},
			GID: Map{{0, 100000, 1500}, {1500, 20, 1}, {1501, 200000, 64035}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ids, err := KeepID(501, 20, tt.uid, tt.gid, tt.sub)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, ids); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMappingsRefuse(t *testing.T) {
	_, err := Isolated(same(Range{100000, 2}))
	wantProblem(t, err, RangeTooSmall, "the isolated mapping needs at least 3 subordinate uids, there are 2")
	_, err = Isolated(SubIDs{UID: []Range{{100000, 65536}}})
	wantProblem(t, err, RangeTooSmall, "the isolated mapping needs at least 3 subordinate gids, there are 0")
	_, err = KeepID(1, 1, 1, 1, same(Range{100000, 1}))
	wantProblem(t, err, RangeTooSmall, "the keep-id mapping needs at least 2 subordinate uids, there are 1")
	_, err = KeepID(100500, 1, 1000, 1, same(Range{100000, 65536}))
	wantProblem(t, err, MapInvalid, `extents 1 "0 100000 1000" and 2 "1000 100500 1" of the id map overlap outside`)
	_, err = KeepID(1, 1, 1<<32-1, 1, same(Range{100000, 65536}))
	wantProblem(t, err, MapInvalid, `extent 2 "4294967295 1 1" of the id map goes past the last id 4294967294`)
	_, err = Isolated(same(Range{1<<32 - 1, 3}))
	wantProblem(t, err, MapInvalid, `extent 1 "0 4294967295 3" of the id map goes past the last id 4294967294`)
}

func TestSingle(t *testing.T) {
	want := IDs{UID: Map{{1000, 501, 1}}, GID: Map{{100, 20, 1}}}
	if d := cmp.Diff(want, Single(501, 20, 1000, 100)); d != "" {
		t.Error(d)
	}
}

// Whatever the ranges, each inside id has one outside id, taken from the
// ranges or the caller's.
func FuzzMappings(f *testing.F) {
	f.Add(uint32(1000), uint32(1000), uint32(100000), uint32(65536), uint32(200000), uint32(5))
	f.Add(uint32(0), uint32(70000), uint32(0), uint32(0), uint32(1<<32-1), uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, caller, inside, s1, c1, s2, c2 uint32) {
		sub := same(Range{s1, c1}, Range{s2, c2})
		if ids, err := Isolated(sub); err == nil {
			checkMap(t, ids.UID, sub.UID, nil)
		}
		if ids, err := KeepID(caller, caller, inside, inside, sub); err == nil {
			checkMap(t, ids.UID, sub.UID, &caller)
			if got, ok := ids.UID.Lookup(inside); !ok || got != caller {
				t.Errorf("the caller %d is not %d inside: %v", caller, inside, ids.UID)
			}
		}
	})
}

func checkMap(t *testing.T, m Map, ranges []Range, caller *uint32) {
	t.Helper()
	if err := m.Validate(); err != nil {
		t.Fatalf("an invalid map was returned: %v", err)
	}
	if back, err := ParseMap(m.String()); err != nil || !cmp.Equal(back, m) {
		t.Errorf("%v read back is %v, %v", m, back, err)
	}
	for _, e := range m {
		if caller != nil && e.Outside == *caller && e.Count == 1 {
			continue
		}
		within := false
		for _, r := range ranges {
			within = within || r.contains(e.Outside) && r.contains(e.Outside+e.Count-1)
		}
		if !within {
			t.Errorf("extent %v is in none of %v", e, ranges)
		}
	}
}
