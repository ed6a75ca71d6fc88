package main

import (
	"github.com/brig-sandbox/brig/sandbox/engine"
	"github.com/brig-sandbox/brig/sandbox/image"
)

// openStores opens the caller's images and containers. The store of images knows
// which of them containers need.
func openStores() (*image.Store, *engine.Store, error) {
	s, err := image.OpenDefault()
	if err != nil {
		return nil, nil, err
	}
	containers, err := engine.OpenDefault()
	if err != nil {
		return nil, nil, err
	}
	s.Users = func() (map[image.Digest][]string, error) {
		list, err := containers.List()
		if err != nil {
			return nil, err
		}
		users := map[image.Digest][]string{}
		for _, c := range list {
			if c.Image != nil {
				d := image.Digest(c.Image.Manifest)
				users[d] = append(users[d], c.Name)
			}
		}
		return users, nil
	}
	return s, containers, nil
}

// openImages opens the caller's images.
func openImages() (*image.Store, error) {
	s, _, err := openStores()
	return s, err
}
