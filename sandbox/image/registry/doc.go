// Package registry moves images between a store and registries that speak the
// OCI distribution protocol.
//
// A registry is not trusted. What it sends is a document of at most
// image.MaxDocument bytes, or a blob whose length and digest a checked document
// has named; nothing enters the store before all of it has that digest. A
// connection on which nothing moves ends by itself, a redirect takes no
// credentials along, and neither plain HTTP nor an unverified certificate is
// accepted unless somebody allowed it for that one host.
//
//	Config       which registries have mirrors, and which may be insecure
//	Credentials  what docker login and podman login stored
//	Client       Pull and Push
//
// Talking to the registry — challenges, tokens, uploads — is the library's,
// go-containerregistry. Fetching blobs is brig's own: the library's cannot go on
// from where a connection broke.
//
// When not to use it: for artefacts that are not images, and for registries of
// Docker's version 1.
package registry
