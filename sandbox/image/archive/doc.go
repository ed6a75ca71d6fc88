// Package archive moves images between a store and archives: OCI archives and
// layouts, what docker save writes, and plain root file systems.
//
// An archive is read once, from its beginning to its end, so that it may come
// from a pipe. Each file in it is written into the store's work directory while
// its digest is computed; what the manifests name is then looked up by digest
// and moved to its place, and the rest is thrown away. Nothing is named after
// the archive's file names, which therefore cannot lead anywhere.
//
// Layers are decompressed here, so that the digest of exactly the bytes that an
// Unpacker is given is known: a layer that lies about its diff id is refused
// before anybody else can share it.
package archive
