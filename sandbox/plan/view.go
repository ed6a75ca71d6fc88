package plan

import (
	"errors"
	"fmt"
)

// View is what an Open that is Mapped makes of a directory's owners: maps from the
// ids that files have on the host to ids that processes of the sandbox have there
// (MOUNT_ATTR_IDMAP in mount_setattr(2)). Files of the op's owner belong to its UID
// and GID inside, all others to the id of their own number, as if the sandbox were
// the host; only that whoever has the job's number gets the owner's in exchange.
func (m *IDs) View(op *Op) (uid, gid []Mapping) {
	return exchange(m.UID, op.OwnerUID, op.UID), exchange(m.GID, op.OwnerGID, op.GID)
}

// exchange is the map with two of the numbers inside exchanged. Where there is no
// number owner inside, nothing else gets what inside has.
func exchange(list []Mapping, owner, inside uint32) []Mapping {
	if owner == inside {
		return list
	}
	ownerOut, hasOwner := Outside(list, owner)
	insideOut, hasInside := Outside(list, inside)
	var out []Mapping
	for _, m := range list {
		out = append(out, cut(m, min(owner, inside), max(owner, inside))...)
	}
	if hasInside {
		out = append(out, Mapping{Inside: owner, Outside: insideOut, Count: 1})
	}
	if hasOwner {
		out = append(out, Mapping{Inside: inside, Outside: ownerOut, Count: 1})
	}
	return out
}

// cut is what is left of a mapping when two numbers inside are taken out.
func cut(m Mapping, low, high uint32) []Mapping {
	var out []Mapping
	from, end := uint64(m.Inside), uint64(m.Inside)+uint64(m.Count)
	for _, n := range [...]uint64{uint64(low), uint64(high), end} {
		if n < from || n > end {
			continue
		}
		if n > from {
			out = append(out, Mapping{Inside: uint32(from), Outside: m.Outside + uint32(from-uint64(m.Inside)), Count: uint32(n - from)})
		}
		from = n + 1
	}
	return out
}

// Outside is the id on the host of one inside.
func Outside(list []Mapping, inside uint32) (id uint32, ok bool) {
	for _, m := range list {
		if inside >= m.Inside && inside-m.Inside < m.Count {
			return m.Outside + (inside - m.Inside), true
		}
	}
	return 0, false
}

// Inside is the id inside of one on the host.
func Inside(list []Mapping, outside uint32) (id uint32, ok bool) {
	for _, m := range list {
		if outside >= m.Outside && outside-m.Outside < m.Count {
			return m.Inside + (outside - m.Outside), true
		}
	}
	return 0, false
}

// checkView looks at what is Mapped. Whoever can make such a view is host root,
// and gives files of the host to ids of the sandbox: of one directory alone, which
// the plan must have seen.
func (p *Plan) checkView(op *Op) error {
	if !op.Flags.Has(Mapped) {
		if op.OwnerUID != 0 || op.OwnerGID != 0 {
			return errors.New("an owner of what is not mapped")
		}
		return nil
	}
	_, hasUID := Outside(p.IDs.UID, op.UID)
	_, hasGID := Outside(p.IDs.GID, op.GID)
	switch {
	case op.Kind != Open || op.Flags != Mapped || op.CharDevice != 0:
		return errors.New("only a directory that is opened as it is can be mapped")
	case p.IDs.By != ByParent:
		return fmt.Errorf("mapped by a caller who is not root: the id maps are written by %q", p.IDs.By)
	case op.Inode == 0:
		return errors.New("mapped, whatever it is")
	case !hasUID || !hasGID:
		return fmt.Errorf("mapped to %d:%d, which is nobody inside", op.UID, op.GID)
	}
	return nil
}
