package userns

import "fmt"

const (
	// WantIDs is how many ids a sandbox gets where the ranges allow it: the
	// 16-bit ids that distributions and images use, nobody (65534) included.
	WantIDs = 65536
	// MinIsolated is the fewest subordinate ids an isolated sandbox works
	// with: one that owns its root file system, one for init and one for the
	// job. A job with a higher id needs more; see [IDs.CheckInside].
	MinIsolated = 3
	// MinKeepID is the fewest subordinate ids a keep-id sandbox works with:
	// the job has the caller's own id, init and the root file system need two.
	MinKeepID = 2
)

// Isolated maps inside ids 0 to 65535, or as many as there are, to the
// subordinate ids in their order. The caller's own ids are not mapped. Fewer
// than MinIsolated ids of either kind give a *Problem with Reason
// RangeTooSmall.
func Isolated(sub SubIDs) (IDs, error) {
	if err := checkSize("isolated", MinIsolated, sub); err != nil {
		return IDs{}, err
	}
	ids := IDs{UID: fill(nil, 0, WantIDs, &cursor{ranges: sub.UID}), GID: fill(nil, 0, WantIDs, &cursor{ranges: sub.GID})}
	return ids, ids.Validate()
}

// KeepID maps the caller to insideUID and insideGID and every other inside id
// from 0 to 65535 to the subordinate ids in their order, as podman's
// --userns=keep-id does; where there are fewer, the highest inside ids are
// missing. Fewer than MinKeepID subordinate ids of either kind give a *Problem
// with Reason RangeTooSmall.
func KeepID(callerUID, callerGID, insideUID, insideGID uint32, sub SubIDs) (IDs, error) {
	if err := checkSize("keep-id", MinKeepID, sub); err != nil {
		return IDs{}, err
	}
	ids := IDs{UID: around(callerUID, insideUID, sub.UID), GID: around(callerGID, insideGID, sub.GID)}
	return ids, ids.Validate()
}

// Single maps the caller to insideUID and insideGID and nobody else.
func Single(callerUID, callerGID, insideUID, insideGID uint32) IDs {
	return IDs{UID: Map{{insideUID, callerUID, 1}}, GID: Map{{insideGID, callerGID, 1}}}
}

// around maps caller to inside and fills the ids below and above it.
func around(caller, inside uint32, ranges []Range) Map {
	c := &cursor{ranges: ranges}
	m := fill(nil, 0, min(inside, WantIDs), c)
	m = append(m, Mapping{inside, caller, 1})
	if inside < WantIDs-1 {
		m = fill(m, inside+1, WantIDs-1-inside, c)
	}
	return m
}

// cursor hands out the ids of ranges in order.
type cursor struct {
	ranges []Range
	used   uint32 // of ranges[0]
}

// fill appends extents for the inside ids from..from+want-1, as far as the
// cursor's ids reach.
func fill(m Map, from, want uint32, c *cursor) Map {
	for want > 0 && len(c.ranges) > 0 {
		r := c.ranges[0]
		n := min(want, r.Count-c.used)
		if n > 0 {
			m = append(m, Mapping{from, r.Start + c.used, n})
			from, want, c.used = from+n, want-n, c.used+n
		}
		if c.used == r.Count {
			c.ranges, c.used = c.ranges[1:], 0
		}
	}
	return m
}

func checkSize(mode string, least uint64, sub SubIDs) error {
	for _, k := range [...]struct {
		kind   string
		ranges []Range
	}{{"uid", sub.UID}, {"gid", sub.GID}} {
		var have uint64
		for _, r := range k.ranges {
			have += uint64(r.Count)
		}
		if have < least {
			return &Problem{
				Reason: RangeTooSmall,
				Cause:  fmt.Sprintf("the %s mapping needs at least %d subordinate %ss, there are %d", mode, least, k.kind, have),
				Fix:    fmt.Sprintf("give the user a range of %d ids in /etc/sub%s (usermod --add-sub%ss)", WantIDs, k.kind, k.kind),
			}
		}
	}
	return nil
}
