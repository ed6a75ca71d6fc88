package image

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/userns"
)

// Image is an image of a store whose layers are unpacked.
type Image struct {
	store    *Store
	name     string
	manifest Descriptor
	id       Digest
	config   *ConfigFile
	mapName  string
	layers   []string
}

// Single is the name of the mapping with one id: root inside is the caller, and
// everything unpacked belongs to the caller, whatever the image said.
const Single = "single"

// MapName names the mapping with which layers are unpacked and run: root inside
// is the caller, and 1 and up are subordinate ids in the order in which they
// were granted (userns.KeepID with the ids 0). The first subordinate ids and
// their counts name it; without any it is Single.
func MapName(firstUID, uids, firstGID, gids uint32) string {
	if uids == 0 || gids == 0 {
		return Single
	}
	return fmt.Sprintf("ids-%d-%d-%d-%d", firstUID, uids, firstGID, gids)
}

// Beginnings of the names of mappings in which root inside is not the caller.
const (
	isolatedPrefix = "isolated-"
	keepPrefix     = "keep-"
)

// KeepApart is a caller's id inside that no image uses: each of those that images
// use is a subordinate id then, as with userns.Isolated.
const KeepApart = userns.WantIDs

// KeepName names a mapping in which the caller is keepAs inside, and all other ids
// are subordinate ids in their order (userns.KeepID). From KeepApart on it is that
// of userns.Isolated as well.
func KeepName(keepAs uint32, sub userns.SubIDs) string {
	name := isolatedPrefix
	if keepAs < KeepApart {
		name = fmt.Sprintf(keepPrefix+"%d-", keepAs)
	}
	if len(sub.UID) == 1 && slices.Equal(sub.UID, sub.GID) {
		return name + fmt.Sprintf("%d-%d", sub.UID[0].Start, sub.UID[0].Count)
	}
	sum := sha256.Sum256(fmt.Append(nil, sub.UID, sub.GID))
	return name + hex.EncodeToString(sum[:8])
}

// Open finds an image by any reference that Find takes, with its layers
// unpacked. Where they are unpacked for several mappings, one of subordinate
// ids goes before Single. Those of KeepName are left to KeepAs.
func Open(s *Store, ref string) (*Image, error) {
	e, err := s.Find(ref)
	if err != nil {
		return nil, err
	}
	m, c, err := s.Documents(e.Manifest)
	if err != nil {
		return nil, err
	}
	i := &Image{store: s, name: ref, manifest: e.Manifest, id: m.Config.Digest, config: c}
	names, err := s.mapNames()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if i.find(name) {
			return i, nil
		}
	}
	return nil, fmt.Errorf("the layers of %s are not unpacked\n  fix: brig system check --repair", clip(ref))
}

// OpenDigest finds an image by its manifest's digest, with its layers as they were
// unpacked for one mapping; a name need not lead to it any more.
func OpenDigest(s *Store, manifest Digest, mapName string) (*Image, error) {
	d, err := ParseDigest(string(manifest))
	if err != nil {
		return nil, err
	}
	m, c, err := s.Documents(Descriptor{Digest: d})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, d)
	}
	if err != nil {
		return nil, err
	}
	i := &Image{store: s, name: d.Short(), manifest: Descriptor{Digest: d}, id: m.Config.Digest, config: c}
	if filepath.Base(mapName) != mapName || !i.find(mapName) {
		return nil, fmt.Errorf("the layers of image %s are not unpacked\n  fix: brig system check --repair", d.Short())
	}
	return i, nil
}

// ErrNotUnpacked is wrapped where an image's layers are not unpacked for the
// mapping that was asked for.
var ErrNotUnpacked = errors.New("the layers are not unpacked")

// KeepAs is the same image with its layers as they were unpacked for KeepName. Its
// error wraps ErrNotUnpacked.
func (i *Image) KeepAs(keepAs uint32, sub userns.SubIDs) (*Image, error) {
	other := *i
	if !other.find(KeepName(keepAs, sub)) {
		return nil, fmt.Errorf("%w for this mapping: %s", ErrNotUnpacked, clip(i.name))
	}
	return &other, nil
}

// mapNames lists the mappings with the caller as root for which layers were
// unpacked, Single last.
func (s *Store) mapNames() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "layers"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the image store: %w", err)
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), isolatedPrefix) && !strings.HasPrefix(e.Name(), keepPrefix) {
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if (a == Single) != (b == Single) {
			if a == Single {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

// find fills in the layers when all are unpacked for a mapping.
func (i *Image) find(mapName string) bool {
	layers := make([]string, 0, len(i.config.RootFS.DiffIDs))
	for _, d := range i.config.RootFS.DiffIDs {
		dir := filepath.Join(i.store.layerDir(mapName, d), "tree")
		if _, err := os.Lstat(dir); err != nil {
			return false
		}
		layers = append(layers, dir)
	}
	i.mapName, i.layers = mapName, layers
	return true
}

// Layers are the directories of the unpacked layers, absolute, bottom first.
// They are lower directories for an overlay mounted with userxattr, and must not
// be written. Without Hold they may go away at any time.
func (i *Image) Layers() []string { return slices.Clone(i.layers) }

// DiffIDs are the digests of the layers, bottom first.
func (i *Image) DiffIDs() []Digest { return slices.Clone(i.config.RootFS.DiffIDs) }

// Map names the mapping that the layers belong to, see MapName and KeepName.
func (i *Image) Map() string { return i.mapName }

// IsIsolated tells whether the layers belong to a mapping without the caller.
func (i *Image) IsIsolated() bool { return strings.HasPrefix(i.mapName, isolatedPrefix) }

// Config is how the image wants to be run.
func (i *Image) Config() Config { return i.config.Config }

// Platform says what the image was made for.
func (i *Image) Platform() Platform { return i.config.Platform }

// Digest is the manifest's digest.
func (i *Image) Digest() Digest { return i.manifest.Digest }

// ID is the config's digest: the image's id as docker prints it.
func (i *Image) ID() Digest { return i.id }

// Hold keeps the image and its layers from being removed until release is
// called, or this process ends in any way. It is an error where the image has
// been removed since Open.
func (i *Image) Hold() (release func(), err error) {
	unlock, err := i.store.lock(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f, err := os.Open(i.store.BlobPath(i.manifest.Digest))
	if err == nil && !i.find(i.mapName) {
		err = errors.Join(fs.ErrNotExist, f.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s has just been removed (%w)", ErrNotFound, clip(i.name), err)
	}
	// It waits for no more than somebody's look at whether the image is held.
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("holding the image %s: %w", clip(i.name), err)
		}
	}
}

// users is Users, or nothing.
func (s *Store) users() (map[Digest][]string, error) {
	if s.Users == nil {
		return nil, nil
	}
	m, err := s.Users()
	if err != nil {
		return nil, fmt.Errorf("nothing is removed while it is not known which images containers need: %w", err)
	}
	return m, nil
}

// held tells whether somebody holds an image. The caller has the store's lock
// exclusively, so that nobody begins to.
func (s *Store) held(manifest Digest) bool {
	f, err := os.Open(s.BlobPath(manifest))
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil
}
