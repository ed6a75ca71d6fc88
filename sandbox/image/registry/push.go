package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// Push sends an image of a store to the registry of its name, byte for byte as
// the store has it, and returns its digest. What the registry has is not sent:
// blobs of the same repository are found, those of another one of which the
// store knows are mounted from there.
func (c *Client) Push(ctx context.Context, s *image.Store, n image.Name) (image.Digest, error) {
	if n.Tag == "" || n.Digest != "" {
		return "", fmt.Errorf("%s: what is pushed needs a tag, and its digest follows from it\n  fix: brig tag IMAGE NAME:TAG, and push that", n.Familiar())
	}
	e, err := s.Find(n.String())
	if err != nil {
		return "", err
	}
	local, err := c.stored(s, e)
	if err != nil {
		return "", err
	}
	img, err := partial.CompressedToImage(local)
	if err != nil {
		return "", err
	}
	from, err := c.elsewhere(s, n)
	if err != nil {
		return "", err
	}
	repo, tr, _, err := c.target(n, true)
	if err != nil {
		return "", err
	}
	auth, err := authn.Resolve(ctx, c.Credentials, repo)
	if err != nil {
		return "", err
	}
	first := &firstError{inner: tr}
	p, err := remote.NewPusher(remote.WithTransport(first), remote.WithAuth(auth), remote.WithJobs(defaultJobs),
		remote.WithNondistributable, remote.WithUserAgent("brig"), remote.WithContext(ctx))
	if err != nil {
		return "", err
	}
	if err := p.Push(ctx, repo.Tag(n.Tag), &mountable{img, from}); err != nil {
		if damaged := local.failed(); damaged != nil {
			return "", damaged
		}
		if first.err != nil && isTLS(first.err) {
			err = first.err // plain HTTP was refused then
		}
		return "", c.explain(ctx, err, n, auth != authn.Anonymous)
	}
	for _, l := range local.layers {
		l.present()
	}
	return e.Manifest.Digest, nil
}

// mountable is an image whose layers say where the registry may have them.
type mountable struct {
	v1.Image
	from map[image.Digest]name.Reference
}

// Layers implements v1.Image.
func (m *mountable) Layers() ([]v1.Layer, error) {
	list, err := m.Image.Layers()
	if err != nil {
		return nil, err
	}
	for i, l := range list {
		h, err := l.Digest()
		if err != nil {
			return nil, err
		}
		if from := m.from[image.Digest(h.String())]; from != nil {
			list[i] = &remote.MountableLayer{Layer: l, Reference: from}
		}
	}
	return list, nil
}

// elsewhere finds other repositories of the same registry that had a blob when
// the store got it.
func (c *Client) elsewhere(s *image.Store, n image.Name) (map[image.Digest]name.Reference, error) {
	entries, err := s.List()
	if err != nil {
		return nil, err
	}
	from := map[image.Digest]name.Reference{}
	for _, other := range entries {
		at := slices.IndexFunc(other.Names, func(o image.Name) bool { return o.Domain == n.Domain && o.Path != n.Path })
		if at < 0 {
			continue
		}
		m, _, err := s.Documents(other.Manifest)
		if err != nil {
			return nil, err
		}
		repo, _, _, err := c.target(other.Names[at], true)
		if err != nil {
			return nil, err
		}
		for _, l := range m.Layers {
			from[l.Digest] = repo.Digest(string(other.Manifest.Digest))
		}
	}
	return from, nil
}
