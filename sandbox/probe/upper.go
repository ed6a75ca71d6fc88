package probe

import (
	"fmt"
	"os"
	"path/filepath"
)

// UppersRoot is the directory below which the caller's sandboxes keep what
// their jobs change, where a tmpfs cannot hold it. It need not exist yet.
func UppersRoot() (string, error) {
	if os.Getuid() == 0 {
		return "/var/lib/brig/uppers", nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a directory for what jobs change: %w", err)
	}
	return filepath.Join(cache, "brig", "uppers"), nil
}

// newUpper stands for the name of a directory that is not made yet.
const newUpper = "NEW"

// placeUpper tells where a sandbox's upper directory would be made, for plans
// that are made before it, or only shown. A caller without a cache directory
// has none, which is the resolver's to refuse.
func (h *Host) placeUpper() {
	if h.TmpfsXattr.OK {
		return
	}
	if root, err := UppersRoot(); err == nil {
		h.Upper = filepath.Join(root, newUpper)
	}
}
