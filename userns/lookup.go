package userns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// LookupOptions say whose subordinate ids to look up, and where.
type LookupOptions struct {
	// UID and GID are the caller's real ids. Subordinate group ids belong to
	// the user too, so GID only serves to refuse a range that contains it.
	UID, GID uint32
	// Name is the login name; if empty it is looked up.
	Name string
	// FS stands for the host's root directory in tests; nil is the host. With
	// an FS no program is run unless Getsubids or Getent names one.
	FS fs.FS
	// Getsubids and Getent are the programs to ask when the files have no
	// entry; empty means where distributions install them.
	Getsubids, Getent string
}

// LookupSubIDs returns the caller's subordinate ids.
//
// They come from /etc/subuid and /etc/subgid, by login name and by number, in
// the files' order. Where these have no entry, or nsswitch.conf names another
// source, getsubids is asked, which knows directory services. Only then are
// programs run; else the cost is that of reading four small files.
//
// Errors are *Problem: NoRange, RangeMalformed, RangeOverlap, RangeForbidden
// (the range contains root or the caller), UnknownUser, FileUnreadable, ToolFailed.
func LookupSubIDs(ctx context.Context, o LookupOptions) (SubIDs, error) {
	src := etc{o.FS}
	if o.Name == "" {
		name, err := src.userName(o.UID)
		if err != nil {
			return SubIDs{}, err
		}
		o.Name = name
	}
	source, err := src.subidSource()
	if err != nil {
		return SubIDs{}, err
	}
	var files subidFiles
	useFiles := source == "files"
	if !useFiles {
		o.findPrograms()
		// A shadow without getsubids (before 4.10) reads the files whatever
		// nsswitch.conf says.
		useFiles = o.Getsubids == ""
	}
	if useFiles {
		if files, err = src.readSubIDs(); err != nil {
			return SubIDs{}, err
		}
		if sub, done, err := files.find(o); done || err != nil {
			return sub, err
		}
	}
	o.findPrograms()
	if o.Name == "" {
		// Users of a directory service may well be listed in the files.
		if o.Name, err = o.askName(ctx); err != nil {
			return SubIDs{}, err
		}
		if sub, done, err := files.find(o); done || err != nil {
			return sub, err
		}
	}
	if o.Getsubids == "" {
		return SubIDs{}, noRange(o, files, source, "")
	}
	return o.askRanges(ctx, files, source)
}

// findPrograms fills in the programs of the host. It costs some system calls,
// which a user with an entry in the files does not pay.
func (o *LookupOptions) findPrograms() {
	if o.FS != nil {
		return
	}
	if o.Getsubids == "" {
		o.Getsubids = findTool("getsubids")
	}
	if o.Getent == "" {
		o.Getent = findTool("getent")
	}
}

// subidFiles are both files' entries.
type subidFiles struct{ uid, gid []SubIDEntry }

func (s etc) readSubIDs() (f subidFiles, err error) {
	if f.uid, err = s.readEntries("etc/subuid"); err != nil {
		return f, err
	}
	f.gid, err = s.readEntries("etc/subgid")
	return f, err
}

// readEntries reads one file; one that does not exist has no entries.
func (s etc) readEntries(name string) ([]SubIDEntry, error) {
	data, err := s.read(name, maxSubIDFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return ParseSubIDs("/"+name, data)
}

// find returns the user's ranges; done means that there are some of each kind.
func (f subidFiles) find(o LookupOptions) (sub SubIDs, done bool, err error) {
	uid := strconv.FormatUint(uint64(o.UID), 10)
	if sub.UID, err = rangesOf("/etc/subuid", f.uid, o.Name, uid); err != nil {
		return SubIDs{}, false, err
	}
	if sub.GID, err = rangesOf("/etc/subgid", f.gid, o.Name, uid); err != nil {
		return SubIDs{}, false, err
	}
	if err := sub.check("/etc/subuid", "/etc/subgid", o); err != nil {
		return SubIDs{}, false, err
	}
	if len(sub.UID) == 0 || len(sub.GID) == 0 {
		return SubIDs{}, false, nil
	}
	return sub, true, nil
}

func (s SubIDs) check(whereUID, whereGID string, o LookupOptions) error {
	if err := checkGrant(whereUID, "uid", s.UID, o.UID); err != nil {
		return err
	}
	return checkGrant(whereGID, "gid", s.GID, o.GID)
}

// noRange says which of the two is missing, with a free range in the fix.
func noRange(o LookupOptions, f subidFiles, source, said string) error {
	who := o.Name
	if who == "" {
		who = "uid " + strconv.FormatUint(uint64(o.UID), 10)
	}
	p := &Problem{Reason: NoRange}
	if said != "" {
		p.Err = errors.New(said)
	}
	if source != "files" {
		p.Cause = fmt.Sprintf("%s has no subordinate ids in %q, the source that /etc/nsswitch.conf names for subid", who, source)
		p.Fix = fmt.Sprintf("ask whoever runs %q for a range of %d ids for %s, or remove the subid line from /etc/nsswitch.conf and use /etc/subuid", source, WantIDs, who)
		return p
	}
	free := freeRange(f)
	uid := strconv.FormatUint(uint64(o.UID), 10)
	var missing, flags []string
	if !owns(f.uid, o.Name, uid) {
		missing = append(missing, "/etc/subuid")
		flags = append(flags, "--add-subuids "+free.String())
	}
	if !owns(f.gid, o.Name, uid) {
		missing = append(missing, "/etc/subgid")
		flags = append(flags, "--add-subgids "+free.String())
	}
	p.Cause = fmt.Sprintf("%s has no range in %s", who, strings.Join(missing, " and "))
	if o.Name == "" {
		p.Fix = fmt.Sprintf("add the line %s:%d:%d to %s", uid, free.Start, free.Count, strings.Join(missing, " and "))
	} else {
		p.Fix = fmt.Sprintf("sudo usermod %s %s", strings.Join(flags, " "), o.Name)
	}
	return p
}

func owns(entries []SubIDEntry, name, uid string) bool {
	for _, e := range entries {
		if e.ownedBy(name, uid) {
			return true
		}
	}
	return false
}

// freeRange returns the first free range where useradd would look for one
// (login.defs(5): SUB_UID_MIN 100000, SUB_UID_COUNT 65536).
func freeRange(f subidFiles) Range {
	free := Range{100000, WantIDs}
	for again := true; again; {
		again = false
		for _, entries := range [...][]SubIDEntry{f.uid, f.gid} {
			for _, e := range entries {
				// Past 2^31 nothing is free that a person would want.
				if next := e.Range.last() + 1; e.Range.overlaps(free) && next < 1<<31 {
					free.Start, again = uint32(next), true
				}
			}
		}
	}
	return free
}
