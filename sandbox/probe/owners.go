package probe

import (
	"io/fs"
	"os"
	"syscall"
)

// Owner is an owner of files below a directory, with one of them.
type Owner struct {
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	Example string `json:"example"`
}

// Bounds of a look at owners: it is made for people who read a plan, and a
// large tree tells no more than a large part of it.
const (
	maxOwnerFiles = 20_000
	maxOwners     = 32
)

// owners lists who owns the files below a directory. What cannot be read is
// left out, and so is what lies beyond the bounds.
func owners(dir string) []Owner {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	var list []Owner
	seen := map[[2]uint32]bool{}
	files := 0
	_ = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if files++; files > maxOwnerFiles || len(list) >= maxOwners {
			return fs.SkipAll
		}
		if err != nil {
			return nil //nolint:nilerr // what cannot be read is left out
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // gone since
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[[2]uint32{st.Uid, st.Gid}] {
			seen[[2]uint32{st.Uid, st.Gid}] = true
			list = append(list, Owner{UID: st.Uid, GID: st.Gid, Example: name})
		}
		return nil
	})
	return list
}
