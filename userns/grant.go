package userns

import (
	"strconv"
)

// Grant is what a user lacks of subordinate ids in /etc/subuid and /etc/subgid,
// for whoever may write there.
type Grant struct {
	// Range is free in both files.
	Range Range
	// UID and GID say which of the two have no entry of the user's.
	UID, GID bool
}

// MissingGrant looks what the user lacks. Where /etc/nsswitch.conf names another
// source for subid nothing is missing that a line in these files would mend.
// Errors are *Problem: RangeMalformed, FileUnreadable.
func MissingGrant(o LookupOptions) (Grant, error) {
	src := etc{o.FS}
	source, err := src.subidSource()
	if err != nil || source != "files" {
		return Grant{}, err
	}
	files, err := src.readSubIDs()
	if err != nil {
		return Grant{}, err
	}
	uid := strconv.FormatUint(uint64(o.UID), 10)
	return Grant{Range: freeRange(files), UID: !owns(files.uid, o.Name, uid), GID: !owns(files.gid, o.Name, uid)}, nil
}
