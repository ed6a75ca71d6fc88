package userns

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMapValidate(t *testing.T) {
	many := make(Map, MaxExtents+1)
	long := make(Map, 200)
	for i := range many {
		many[i] = Mapping{uint32(2 * i), uint32(2 * i), 1}
	}
	for i := range long {
		long[i] = Mapping{4000000000 + uint32(i), 4000000000 + uint32(i), 1}
	}
	tests := map[string]struct {
		m     Map
		cause string // "" is valid
	}{
		"one":               {m: Map{{0, 100000, 65536}}},
		"340 extents":       {m: many[:MaxExtents]},
		"last id":           {m: Map{{0, maxID, 1}}},
		"neighbours":        {m: Map{{0, 100, 10}, {10, 110, 10}, {20, 90, 10}}},
		"empty":             {cause: "the id map is empty"},
		"341 extents":       {m: many, cause: "the id map has 341 extents, the kernel takes at most 340"},
		"more than a page":  {m: long, cause: "the id map is 4800 bytes of text, the kernel takes at most 4095"},
		"no ids":            {m: Map{{0, 1, 1}, {5, 6, 0}}, cause: `extent 2 "5 6 0" of the id map is empty`},
		"outside past end":  {m: Map{{0, maxID, 2}}, cause: `extent 1 "0 4294967294 2" of the id map goes past the last id 4294967294`},
		"inside past end":   {m: Map{{4294967295, 1, 1}}, cause: `extent 1 "4294967295 1 1" of the id map goes past the last id 4294967294`},
		"wraps around":      {m: Map{{1, 100, 4294967295}}, cause: `extent 1 "1 100 4294967295" of the id map goes past the last id 4294967294`},
		"overlap inside":    {m: Map{{0, 100, 10}, {9, 200, 1}}, cause: `extents 1 "0 100 10" and 2 "9 200 1" of the id map overlap inside`},
		"overlap outside":   {m: Map{{0, 100, 10}, {10, 50, 51}}, cause: `extents 1 "0 100 10" and 2 "10 50 51" of the id map overlap outside`},
		"same extent twice": {m: Map{{0, 100, 1}, {0, 100, 1}}, cause: `extents 1 "0 100 1" and 2 "0 100 1" of the id map overlap inside`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := tt.m.Validate()
			if tt.cause == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantProblem(t, err, MapInvalid, tt.cause)
		})
	}
}

// wantProblem requires the reason, the exact cause, and that a fix is given.
func wantProblem(t *testing.T, err error, reason Reason, cause string) {
	t.Helper()
	_ = theProblem(t, err, reason, cause)
}

// theProblem is wantProblem for who looks at the rest of the problem too.
func theProblem(t *testing.T, err error, reason Reason, cause string) *Problem {
	t.Helper()
	var p *Problem
	if !errors.As(err, &p) {
		t.Fatalf("error is %v, want a Problem %s", err, reason)
	}
	if !errors.Is(err, reason) {
		t.Errorf("reason is %q, want %q", p.Reason, reason)
	}
	if p.Cause != cause {
		t.Errorf("cause is\n\t%s\nwant\n\t%s", p.Cause, cause)
	}
	if p.Fix == "" || !strings.Contains(err.Error(), p.Fix) {
		t.Errorf("no fix in %q", err)
	}
	return p
}

func TestProblemIsOnlyItsOwnReason(t *testing.T) {
	err := Map{}.Validate()
	if errors.Is(err, NoRange) {
		t.Error("MapInvalid is NoRange")
	}
	if !errors.Is(IDs{}.Validate(), MapInvalid) {
		t.Error("the reason is lost when IDs wraps it")
	}
	if got := (IDs{UID: Map{{0, 1, 1}}}).Validate().Error(); !strings.HasPrefix(got, "gid map: ") {
		t.Errorf("%q does not name the gid map", got)
	}
}

func TestMapLookup(t *testing.T) {
	m := Map{{0, 100000, 1000}, {1000, 1001, 1}, {1001, 101000, 64535}}
	for inside, outside := range map[uint32]uint32{0: 100000, 999: 100999, 1000: 1001, 1001: 101000, 65535: 165534} {
		if got, ok := m.Lookup(inside); !ok || got != outside {
			t.Errorf("Lookup(%d) = %d, %v, want %d", inside, got, ok, outside)
		}
		if !m.HasInside(inside) || !m.HasOutside(outside) {
			t.Errorf("%d -> %d is not seen", inside, outside)
		}
	}
	for _, id := range []uint32{65536, 1<<32 - 1} {
		if got, ok := m.Lookup(id); ok {
			t.Errorf("Lookup(%d) = %d", id, got)
		}
	}
	for _, id := range []uint32{0, 1000, 1002, 99999, 165535} {
		if m.HasOutside(id) {
			t.Errorf("HasOutside(%d)", id)
		}
	}
}

func TestMapText(t *testing.T) {
	m := Map{{0, 100000, 1000}, {1000, 1001, 1}}
	const text = "0 100000 1000\n1000 1001 1\n"
	if got := m.String(); got != text {
		t.Errorf("String() = %q, want %q", got, text)
	}
	for _, in := range []string{text, "         0     100000       1000\n      1000       1001          1\n"} {
		got, err := ParseMap(in)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, got); d != "" {
			t.Errorf("ParseMap(%q): %s", in, d)
		}
	}
	for in, want := range map[string]string{
		"0 0\n":            `id map line "0 0": want three numbers`,
		"0 0 4294967296\n": `id map line "0 0 4294967296": strconv.ParseUint: parsing "4294967296": value out of range`,
		"0 -1 1\n":         `id map line "0 -1 1": strconv.ParseUint: parsing "-1": invalid syntax`,
	} {
		if _, err := ParseMap(in); err == nil || err.Error() != want {
			t.Errorf("ParseMap(%q): %v, want %s", in, err, want)
		}
	}
}

func TestMapCovers(t *testing.T) {
	m := Map{{100, 0, 10}, {0, 1000, 100}}
	for r, want := range map[Range]bool{
		{0, 110}: true, {95, 15}: true, {109, 1}: true, {0, 0}: true,
		{0, 111}: false, {110, 1}: false, {1<<32 - 1, 1}: false, {1<<32 - 1, 1<<32 - 1}: false,
	} {
		if got := m.covers(r); got != want {
			t.Errorf("covers(%v) = %v", r, got)
		}
	}
}

func TestCheckInside(t *testing.T) {
	ids := IDs{UID: Map{{0, 100, 10}, {20, 200, 1}}, GID: Map{{0, 100, 5}}}
	if err := ids.CheckInside(20, 4); err != nil {
		t.Error(err)
	}
	wantProblem(t, ids.CheckInside(1000, 0), IDNotMapped, "uid 1000 does not exist in the sandbox, whose map has 0-9, 20-20")
	wantProblem(t, ids.CheckInside(0, 5), IDNotMapped, "gid 5 does not exist in the sandbox, whose map has 0-4")
}

func TestMapsRoot(t *testing.T) {
	for name, tt := range map[string]struct {
		ids  IDs
		want bool
	}{
		"user":   {Single(0, 7, 1, 1), true},
		"group":  {Single(7, 0, 1, 1), true},
		"nobody": {Single(7, 7, 0, 0), false},
	} {
		if got := tt.ids.MapsRoot(); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
