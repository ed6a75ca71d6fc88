// Package image keeps OCI images and their unpacked layers for sandboxes. It
// yields directories and runs nothing: what unpacks and removes trees is handed
// in as an Unpacker, since it is itself an untrusted job.
//
// A store is one directory, by default $XDG_DATA_HOME/brig/images, for root
// /var/lib/brig/images:
//
//	oci-layout, index.json   the names and the images, as an OCI layout has them
//	index.spare              space set aside for taking from index.json on a full disk
//	blobs/sha256/HEX         manifests, configs and layers as they were received
//	layers/MAP/DIFFID/tree   a layer unpacked for overlayfs with userxattr,
//	                         owned by the ids of MAP (see Unpacker)
//	                         one for each mapping that was needed
//	layers/MAP/DIFFID/layer.json  what the unpacking said about it
//	tmp/NAME, tmp/NAME.lock  what a process is working on; without the lock it
//	                         is what a killed one left, and the next command
//	                         that changes the store removes it
//	partial/HEX              the part of a blob that a pull got; the next goes on
//	                         from there, and after a week it is removed
//	lock                     held exclusively while names and blobs change hands
//	unpack.lock              held while an image's layers are unpacked again
//
// Everything is written under tmp, synced, and renamed to its place; index.json
// is replaced last, so that at any moment it names only what is complete. What
// no entry of it leads to is garbage, and collected.
//
// Image.Hold is a shared lock on the image's manifest: collecting leaves held
// images and their layers alone.
//
// Limits: one image for each name, that of this machine's platform; an image
// index is not kept. When not to use it: to read images whose layers are not
// wanted as directories, a library for registries does better.
package image
