// Package userns knows whose ids a sandbox may use: subordinate ids, id
// mappings, the set-uid tools that write them, unused ranges for root, and
// why a user namespace cannot be had.
//
// # Limits
//
// The package never clones. Maps are written for a child that somebody else
// cloned into a new user namespace and that has not been reaped, so that its
// pid cannot be reused meanwhile.
//
// Ids of users that exist only in a directory service (LDAP, FreeIPA) are seen
// where glibc is asked (getsubids, getent), never while a range for root is
// chosen: [AllocateRange] takes slices from a part of the id space that such
// services do not use by default.
//
// # The way through
//
//	LookupSubIDs  -> SubIDs   which ids the caller was given
//	AllocateRange -> Lease    the same for root, who needs no grant
//	Isolated, KeepID, Single  -> IDs, the mapping
//	FindTools     -> Tools    newuidmap and newgidmap, checked
//	WriteMaps, WriteMapsDirect     the mapping of one process
//	ReadFacts, Diagnose -> Problem why not
//
// Each failure is a [*Problem] with a [Reason], the cause in a sentence and
// the fix as a command; errors.Is(err, userns.NoRange) tells them apart.
package userns
