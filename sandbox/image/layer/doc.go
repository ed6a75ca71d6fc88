// Package layer turns the archive of an OCI layer into a directory that
// overlayfs, mounted with userxattr, takes for a lower layer, and an upper of
// such an overlay, or the merged tree, into an archive. It runs inside a
// sandbox, as root of its own user namespace or with a single id, and trusts
// nothing that it reads.
//
// What the kernel expects (Documentation/filesystems/overlayfs.rst): a deleted
// file is a character device 0:0 in its place, a directory that hides what was
// below it has user.overlay.opaque=y. The archive says the same with .wh.NAME
// and .wh..wh..opq (image-spec, layer.md).
//
// Every path is resolved by openat2 with RESOLVE_IN_ROOT from the tree's own
// descriptor: no name, symbolic link or hard link leads out of the tree, whether
// the archive is unpacked in a sandbox or not.
//
// What is left out, each said in a note: devices, attributes other than user.*,
// attributes of overlayfs, and owners where there is a single id. Packing leaves
// out sockets, and refuses names that a layer would take for deletions.
package layer
