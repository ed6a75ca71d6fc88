package probe

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cacheName is the file that holds what Try found to differ from what Quick
// presumes. Where nothing differs there is no such file, so that a good host
// pays for one failed open.
const cacheName = "host.json"

// Bounds of the cache: bytes, and for how long it is believed. Hosts are mended
// in ways that its key does not see, such as a module that is loaded. What a
// service manager did is believed for a shorter time: it may only have been busy.
const (
	maxCache    = 64 << 10
	cacheExpiry = 24 * time.Hour
	scopeExpiry = time.Minute
)

// cached is the cache's content. What was found holds for this key alone.
type cached struct {
	Version int               `json:"version"`
	Key     cacheKey          `json:"key"`
	Facts   map[FactName]Fact `json:"facts"`
}

const cacheVersion = 1

// cacheKey is what facts depend on, as far as it can be read cheaply.
type cacheKey struct {
	BootID  string `json:"boot_id"`
	Release string `json:"release"`
	Kernel  string `json:"kernel"` // its build, as uname's version
	UID     uint32 `json:"uid"`
	Build   string `json:"build"`  // brig's own
	Cgroup  string `json:"cgroup"` // the caller's
	// Sysctls are user.max_user_namespaces, kernel.unprivileged_userns_clone
	// and kernel.apparmor_restrict_unprivileged_userns, empty where absent.
	Sysctls [3]string `json:"sysctls"`
	// Namespaces and Confinement are the caller's: its user and mount
	// namespaces, filters, no_new_privs and AppArmor's or SELinux's label.
	Namespaces  [2]string `json:"namespaces"`
	Confinement [5]string `json:"confinement"`
}

func currentKey(h *Host, uts *unix.Utsname) cacheKey {
	k := cacheKey{
		Release: h.Kernel.Release, Kernel: unix.ByteSliceToString(uts.Version[:]),
		UID: h.UID, Build: buildID(),
	}
	for _, f := range [...]struct {
		path string
		dst  *string
	}{
		{"/proc/sys/kernel/random/boot_id", &k.BootID},
		{"/proc/self/cgroup", &k.Cgroup},
		{"/proc/sys/user/max_user_namespaces", &k.Sysctls[0]},
		{"/proc/sys/kernel/unprivileged_userns_clone", &k.Sysctls[1]},
		{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", &k.Sysctls[2]},
	} {
		var buf [4096]byte
		if text, err := readSmall(f.path, buf[:]); err == nil {
			*f.dst = strings.TrimSpace(text)
		}
	}
	for i, name := range [...]string{"user", "mnt"} {
		if link, err := readlink("/proc/self/ns/" + name); err == nil {
			k.Namespaces[i] = link
		}
	}
	k.Confinement = confinement()
	return k
}

// confinement is what is laid upon the caller beside its namespaces.
func confinement() (c [5]string) {
	buf := make([]byte, 16<<10)
	if text, err := readSmall("/proc/self/attr/current", buf); err == nil {
		c[0] = strings.Trim(text, "\x00\n")
	}
	text, err := readSmall("/proc/self/status", buf)
	if err != nil {
		return c
	}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "NoNewPrivs":
			c[1] = strings.TrimSpace(value)
		case "Seccomp":
			c[2] = strings.TrimSpace(value)
		case "Seccomp_filters":
			c[3] = strings.TrimSpace(value)
		case "TracerPid":
			// Under strace(1) and its like newuidmap is not set-uid, see ptrace(2).
			if strings.TrimSpace(value) != "0" {
				c[4] = "traced"
			}
		}
	}
	return c
}

// buildID tells one build of brig from another as well as the linker does.
func buildID() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	id := info.GoVersion + " " + info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
			id += " " + s.Value
		}
	}
	return id
}

// cacheDir is brig's directory below $XDG_CACHE_HOME, or ~/.cache; "" where
// there is neither.
func cacheDir(h *Host) string {
	if dir := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(dir) {
		return dir + "/brig"
	}
	if h.HomeDir == "" {
		return ""
	}
	return h.HomeDir + "/.cache/brig"
}

// recall replaces presumptions by what Try has found earlier. A cache that is
// not the caller's own, damaged, of another host or too old is not believed. The
// caller's own goes with that: to read it again costs each run more than all else
// that Quick does.
func (h *Host) recall(uts *unix.Utsname) {
	dir := cacheDir(h)
	if dir == "" {
		return
	}
	data, age, err := readOwn(dir+"/"+cacheName, h.UID)
	var c cached
	if errors.Is(err, errOld) || err == nil && (json.Unmarshal(data, &c) != nil || c.Version != cacheVersion || c.Key != currentKey(h, uts)) {
		if ownDir(dir, h.UID) {
			_ = unix.Unlink(dir + "/" + cacheName)
		}
		return
	}
	if err != nil {
		return
	}
	for name, found := range c.Facts {
		// A user namespace is never refused from memory: what forbids it is
		// often mended by a profile, which the key does not see.
		if f := h.Fact(name); f != nil && name != UserNS && (name != Scope || age < scopeExpiry) {
			found.Tried = true
			*f = found
			h.Cached = true
		}
	}
}

// errForeign says that a file is not one that the caller alone can have written.
var errForeign = errors.New("not a small regular file that only its owner, the caller, can write")

// errOld says that a file is the caller's own, and not to be believed any more.
var errOld = errors.New("written too long ago, or in the future")

// readOwn reads a small file that nobody but the caller can have written, and
// tells for how long it has been as it is.
func readOwn(path string, uid uint32) (data []byte, age time.Duration, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Uid != uid || st.Mode&0o022 != 0 || st.Nlink != 1 || st.Size > maxCache {
		return nil, 0, errForeign
	}
	if age = time.Since(time.Unix(st.Mtim.Unix())); age < -time.Minute || age > cacheExpiry {
		return nil, 0, errOld
	}
	buf := make([]byte, st.Size+1)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil, 0, err
	}
	if int64(n) != st.Size {
		return nil, 0, errForeign
	}
	return buf[:n], age, nil
}

// remember writes what differs from the presumption, or removes the cache when
// nothing does. It is only ever a help: a cache that cannot be written is
// none, and every later job pays for what it would have told.
func (h *Host) remember(uts *unix.Utsname, transient map[FactName]bool) {
	dir := cacheDir(h)
	if dir == "" {
		return
	}
	// ~/.cache may not be there yet: XDG's rules say how to make it.
	if dir == h.HomeDir+"/.cache/brig" && ownDir(h.HomeDir, h.UID) {
		_ = unix.Mkdir(h.HomeDir+"/.cache", 0o700)
	}
	if !ownDir(filepath.Dir(dir), h.UID) {
		return
	}
	presumed := *h
	presumed.presume()
	differing := map[FactName]Fact{}
	for _, name := range append(FactNames(), Scope) {
		found := *h.Fact(name)
		if found.OK != presumed.Fact(name).OK && found.Tried && !transient[name] && name != UserNS {
			differing[name] = found
		}
	}
	if len(differing) == 0 {
		_ = unix.Unlink(dir + "/" + cacheName)
		return
	}
	data, err := json.Marshal(cached{Version: cacheVersion, Key: currentKey(h, uts), Facts: differing})
	if err != nil || len(data) > maxCache {
		return
	}
	_ = writeOwn(dir, data, h.UID)
}

// writeOwn puts the content in place at once, so that no reader sees half of it.
func writeOwn(dir string, data []byte, uid uint32) error {
	if err := unix.Mkdir(dir, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if !ownDir(dir, uid) {
		return errForeign
	}
	temporary := dir + "/" + cacheName + "." + strconv.Itoa(os.Getpid())
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = unix.Rename(temporary, dir+"/"+cacheName)
	}
	if err != nil {
		_ = unix.Unlink(temporary)
	}
	return err
}

// ownDir tells whether path is a directory, no link, in which nobody but the
// caller makes files. Root with another user's HOME has none there.
func ownDir(path string, uid uint32) bool {
	f := Look(path)
	return f.Type == Dir && f.UID == uid && f.Mode&0o022 == 0
}
