// Package changes finds what a job changed in an overlay, and brings it to the
// directory below the overlay or throws it away.
//
// A Tree is the upper of an overlay that was mounted with userxattr, and its
// lower layers, while nothing has it mounted. Scan yields its changes; Patch
// writes them as text; Discard takes some of them back. All three read what a
// hostile job wrote: they run inside a sandbox, where they may read everything,
// and what they say goes out through Encoder and comes in through Decoder, which
// believes none of it.
//
//	sandboxed:  Tree.Scan ──► Encoder ──┐ pipe
//	caller:     Decoder ──► Apply ──► the host's own directory, by descriptor
//
// Apply runs outside, with the caller's own rights and no others. Copy, inside as
// well, makes a second upper of one, for one in memory that is to last.
//
// # What counts as a change
//
// Only what a reader of the merged directory would see: a file that was copied
// up and holds the same bytes is none, nor is a directory that is in the upper
// because something in it is. Times, extended attributes and the mode of the
// merged root itself are not compared. A directory that was added or deleted is
// one change; what is in it is yielded as well, marked Within.
//
// # Limits
//
// Paths have at most 4095 bytes, names in memory at most maxNameBytes, and a
// file's old and new text in a patch at most MaxPatch bytes each. Past a limit
// there is an error, never a part of the answer. Hard links are files of their
// own.
package changes
