// Package rootfs reads single files of a root file system of layers before it
// is mounted: the user database of an image, above all. It sees what an overlay
// of the layers would show, whiteouts and opaque directories included.
//
// Nothing of it serves to read many files, or large ones, and it does not see
// what brig puts into a root. A layer is hostile: names are looked up one at a
// time below descriptors, links are followed inside the root only, and whatever
// is not plain is an error rather than a guess.
package rootfs
