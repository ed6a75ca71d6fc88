package registry

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/brig-sandbox/brig/sandbox/image"
)

// ParsePlatform reads "linux/ARCHITECTURE[/VARIANT]".
func ParsePlatform(s string) (image.Platform, error) {
	parts := strings.Split(s, "/")
	bad := func(part string) bool {
		return part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789_.-") != ""
	}
	if len(parts) < 2 || len(parts) > 3 || slices.ContainsFunc(parts, bad) {
		return image.Platform{}, fmt.Errorf("%q is not a platform\n  fix: write linux/amd64 or linux/arm/v7, for example", s)
	}
	if parts[0] != "linux" {
		return image.Platform{}, fmt.Errorf("the platform %q is not of Linux, and brig's images are", s)
	}
	p := image.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// own is this machine's platform where none was asked for.
func own(p image.Platform) image.Platform {
	if p.OS == "" {
		return image.Platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	return p
}

// usual are the variants that an architecture has when none is written.
var usual = map[string]string{"arm64": "v8", "arm": "v7", "amd64": "v1"}

// variant is a platform's variant, also where it is not written.
func variant(p image.Platform) string {
	if p.Variant == "" {
		return usual[p.Architecture]
	}
	return p.Variant
}

// choose picks the manifest for a platform from a list. A variant that was
// asked for must be the one; otherwise the usual one goes before the others.
func choose(x *image.Index, want image.Platform) (*image.Descriptor, error) {
	var found *image.Descriptor
	var others []string
	for i := range x.Manifests {
		d := &x.Manifests[i]
		if d.Platform == nil || !image.IsManifest(d.MediaType) {
			continue
		}
		fits := d.Platform.OS == want.OS && d.Platform.Architecture == want.Architecture
		same := variant(*d.Platform) == variant(want)
		switch {
		case fits && same:
			return d, nil
		case fits && want.Variant == "" && found == nil:
			found = d
		case d.Platform.OS != "unknown": // attestations
			others = append(others, clip(d.Platform.String(), 60))
		}
	}
	if found != nil {
		return found, nil
	}
	slices.Sort(others)
	others = slices.Compact(others)
	if len(others) == 0 {
		return nil, fmt.Errorf("the list names no image for any platform")
	}
	more := ""
	if len(others) > 20 {
		more = fmt.Sprintf(" and %d more", len(others)-20)
		others = others[:20]
	}
	return nil, fmt.Errorf("there is no image for %s, only for %s%s", want, strings.Join(others, ", "), more)
}
