package userns

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxID is the largest id there is: 2^32-1 is (uid_t)-1, which the kernel
	// reads as "leave unchanged" and refuses in a map.
	maxID = 1<<32 - 2
	// MaxExtents is how many lines the kernel takes in one map
	// (UID_GID_MAP_MAX_EXTENTS, user_namespaces(7)).
	MaxExtents = 340
	// maxMapText is the longest map in bytes: the kernel takes a map in one
	// write that is shorter than a page, and the smallest page is 4096.
	maxMapText = 4096 - 1
)

// Range is a run of ids outside the sandbox: Start to Start+Count-1.
type Range struct{ Start, Count uint32 }

// last returns the range's last id; Count must not be 0.
func (r Range) last() uint64 { return uint64(r.Start) + uint64(r.Count) - 1 }

// contains reports whether id is in the range.
func (r Range) contains(id uint32) bool { return id >= r.Start && id-r.Start < r.Count }

// overlaps reports whether the two ranges share an id.
func (r Range) overlaps(o Range) bool {
	return r.Count > 0 && o.Count > 0 && uint64(r.Start) <= o.last() && uint64(o.Start) <= r.last()
}

// String returns "100000-165535".
func (r Range) String() string {
	if r.Count == 0 {
		return strconv.FormatUint(uint64(r.Start), 10) + "-(empty)"
	}
	return strconv.FormatUint(uint64(r.Start), 10) + "-" + strconv.FormatUint(r.last(), 10)
}

// SubIDs are the ids that a user may map besides the user's own.
type SubIDs struct{ UID, GID []Range }

// Mapping is one extent of a map: the ids Inside.. are the ids Outside.. of
// the parent user namespace, Count of them.
type Mapping struct{ Inside, Outside, Count uint32 }

func (m Mapping) inside() Range  { return Range{m.Inside, m.Count} }
func (m Mapping) outside() Range { return Range{m.Outside, m.Count} }

// Map is a whole uid_map or gid_map.
type Map []Mapping

// IDs is the mapping of a sandbox.
type IDs struct{ UID, GID Map }

// String returns the map as it is written to /proc/PID/uid_map: a line
// "inside outside count" for each extent. The kernel pads it when it is read
// back; see [ParseMap].
func (m Map) String() string {
	return string(m.appendText(make([]byte, 0, 33*len(m))))
}

func (m Map) appendText(b []byte) []byte {
	for _, e := range m {
		b = strconv.AppendUint(b, uint64(e.Inside), 10)
		b = append(b, ' ')
		b = strconv.AppendUint(b, uint64(e.Outside), 10)
		b = append(b, ' ')
		b = strconv.AppendUint(b, uint64(e.Count), 10)
		b = append(b, '\n')
	}
	return b
}

// ParseMap reads /proc/PID/uid_map or gid_map. An empty text is an empty map:
// one that nobody has written yet.
func ParseMap(text string) (Map, error) {
	var m Map
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		var v [3]uint32
		if len(f) != len(v) {
			return nil, fmt.Errorf("id map line %q: want three numbers", strings.TrimSuffix(line, "\n"))
		}
		for i := range v {
			n, err := strconv.ParseUint(f[i], 10, 32)
			if err != nil {
				return nil, fmt.Errorf("id map line %q: %w", strings.TrimSuffix(line, "\n"), err)
			}
			v[i] = uint32(n)
		}
		m = append(m, Mapping{v[0], v[1], v[2]})
	}
	return m, nil
}

// Lookup returns the outside id of an inside id.
func (m Map) Lookup(inside uint32) (outside uint32, ok bool) {
	for _, e := range m {
		if e.inside().contains(inside) {
			return e.Outside + (inside - e.Inside), true
		}
	}
	return 0, false
}

// HasInside reports whether an inside id is mapped.
func (m Map) HasInside(id uint32) bool {
	_, ok := m.Lookup(id)
	return ok
}

// HasOutside reports whether an id of the parent namespace is mapped.
func (m Map) HasOutside(id uint32) bool {
	for _, e := range m {
		if e.outside().contains(id) {
			return true
		}
	}
	return false
}

// covers reports whether each id of the range exists inside the map.
func (m Map) covers(r Range) bool {
	left := uint64(r.Count)
	for at := uint64(r.Start); left > 0; {
		i := slices.IndexFunc(m, func(e Mapping) bool { return at <= maxID && e.inside().contains(uint32(at)) })
		if i < 0 {
			return false
		}
		n := min(left, m[i].inside().last()-at+1)
		at, left = at+n, left-n
	}
	return true
}

// Validate checks the map by the kernel's rules (map_write in
// kernel/user_namespace.c): at least one extent and at most MaxExtents, none
// empty, none past the last id, no overlap on either side, and the text
// shorter than a page. A violation is a *Problem with Reason MapInvalid.
func (m Map) Validate() error {
	switch {
	case len(m) == 0:
		return invalidMap("the id map is empty")
	case len(m) > MaxExtents:
		return invalidMap("the id map has %d extents, the kernel takes at most %d", len(m), MaxExtents)
	}
	for i, e := range m {
		if e.Count == 0 {
			return invalidMap("extent %d %q of the id map is empty", i+1, e.text())
		}
		if e.inside().last() > maxID || e.outside().last() > maxID {
			return invalidMap("extent %d %q of the id map goes past the last id %d", i+1, e.text(), uint32(maxID))
		}
		for j, o := range m[:i] {
			if e.inside().overlaps(o.inside()) {
				return invalidMap("extents %d %q and %d %q of the id map overlap inside", j+1, o.text(), i+1, e.text())
			}
			if e.outside().overlaps(o.outside()) {
				return invalidMap("extents %d %q and %d %q of the id map overlap outside", j+1, o.text(), i+1, e.text())
			}
		}
	}
	if n := len(m.appendText(nil)); n > maxMapText {
		return invalidMap("the id map is %d bytes of text, the kernel takes at most %d", n, maxMapText)
	}
	return nil
}

func (m Mapping) text() string { return strings.TrimSuffix(Map{m}.String(), "\n") }

func invalidMap(format string, args ...any) error {
	return &Problem{
		Reason: MapInvalid,
		Cause:  fmt.Sprintf(format, args...),
		Fix:    "give the user one contiguous range of 65536 ids in /etc/subuid and /etc/subgid",
	}
}

// Validate checks both maps; see [Map.Validate].
func (ids IDs) Validate() error {
	if err := ids.UID.Validate(); err != nil {
		return fmt.Errorf("uid map: %w", err)
	}
	if err := ids.GID.Validate(); err != nil {
		return fmt.Errorf("gid map: %w", err)
	}
	return nil
}

// MapsRoot reports whether id 0 of the parent namespace is mapped, as a user
// or as a group. In the initial user namespace that is the host's root, which
// a job must never be; inside an unprivileged container it is nobody special.
func (ids IDs) MapsRoot() bool { return ids.UID.HasOutside(0) || ids.GID.HasOutside(0) }

// CheckInside returns a *Problem with Reason IDNotMapped unless the user and
// the group both exist inside.
func (ids IDs) CheckInside(uid, gid uint32) error {
	if !ids.UID.HasInside(uid) {
		return notMapped("uid", uid, ids.UID)
	}
	if !ids.GID.HasInside(gid) {
		return notMapped("gid", gid, ids.GID)
	}
	return nil
}

func notMapped(kind string, id uint32, m Map) error {
	have := make([]string, len(m))
	for i, e := range m {
		have[i] = e.inside().String()
	}
	return &Problem{
		Reason: IDNotMapped,
		Cause:  fmt.Sprintf("%s %d does not exist in the sandbox, whose map has %s", kind, id, strings.Join(have, ", ")),
		Fix:    fmt.Sprintf("choose a %s that is mapped, or give the user a range of 65536 ids in /etc/sub%s", kind, kind),
	}
}
