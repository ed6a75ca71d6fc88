package sandboxtest

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leakGrace is how long what is on its way out may take: the kernel ends the
// processes of a sandbox and frees its mounts after their last user is gone.
const leakGrace = 5 * time.Second

// Scope says whose processes a Snapshot takes in.
type Scope int

// The scopes.
const (
	// Descendants are the processes below this one. Orphans count: Take makes
	// this process the reaper of whatever its descendants leave behind.
	Descendants Scope = iota
	// Host are all processes that are called brig…, live in a user namespace
	// other than this process's, or belong to the user named brigtest.
	Host
)

// Snapshot is what exists at one moment, by kind and then by name.
type Snapshot map[string][]string

// Leaks takes a snapshot and compares when the test ends: a process, mount,
// cgroup, descriptor or directory that was not there before fails it. Tests
// that run in parallel see each other's; they call it in the test above them.
func Leaks(t testing.TB) {
	t.Helper()
	before, err := Take(Descendants)
	if err != nil {
		t.Fatalf("leaks: %v", err)
	}
	t.Cleanup(func() {
		left, err := Left(before, Descendants)
		if err != nil {
			t.Errorf("leaks: %v", err)
		}
		for _, item := range left {
			t.Errorf("left behind: %s", item)
		}
	})
}

// Left lists what exists now and did not exist before, once it has stopped
// becoming less for a grace period.
func Left(before Snapshot, scope Scope) ([]string, error) {
	for end := time.Now().Add(leakGrace); ; time.Sleep(20 * time.Millisecond) {
		now, err := Take(scope)
		if err != nil {
			return nil, err
		}
		left := now.since(before)
		if len(left) == 0 || time.Now().After(end) {
			return left, nil
		}
	}
}

// since lists the items of s that before does not have, equal ones by number.
func (s Snapshot) since(before Snapshot) []string {
	var left []string
	for _, kind := range slices.Sorted(maps.Keys(s)) {
		had := map[string]int{}
		for _, item := range before[kind] {
			had[item]++
		}
		for _, item := range s[kind] {
			if had[item]--; had[item] < 0 {
				left = append(left, kind+" "+item)
			}
		}
	}
	return left
}

// Take looks at processes in scope, at the mounts of this mount namespace, at
// cgroups that are below this process's own or named brig…, at files named
// brig-… where temporary files go and, unless scope is Host, at this process's
// descriptors.
func Take(scope Scope) (Snapshot, error) {
	s := Snapshot{}
	kinds := map[string]func() ([]string, error){
		"process": func() ([]string, error) { return processes(scope) },
		"mount":   mounts,
		"cgroup":  cgroups,
		"path":    temporaryPaths,
	}
	if scope == Descendants {
		kinds["descriptor"] = descriptors
	}
	for kind, take := range kinds {
		items, err := take()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		s[kind] = items
	}
	return s, nil
}

// process is one line of /proc/PID/stat. Zombies are left out: they hold
// nothing but their number, and wait for their parent.
type process struct {
	pid, parent int
	name        string
	started     string // clock ticks after boot; with the pid it names a process
}

func (p process) String() string {
	return fmt.Sprintf("%d %s (started at tick %s)", p.pid, p.name, p.started)
}

func processes(scope Scope) ([]string, error) {
	if scope == Descendants {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("become a subreaper: %w", err)
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, ok := readProcess(pid); ok {
				all[pid] = p
			}
		}
	}
	var found []string
	for _, p := range all {
		if scope == Descendants && isBelow(all, p.pid, os.Getpid()) || scope == Host && isOfBrig(p) {
			found = append(found, p.String())
		}
	}
	slices.Sort(found)
	return found, nil
}

// readProcess parses /proc/PID/stat; false for one that has ended.
func readProcess(pid int) (process, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// The name is in parentheses and may itself hold some.
	open, end := strings.IndexByte(string(data), '('), strings.LastIndexByte(string(data), ')')
	if open < 0 || end < open {
		return process{}, false
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return process{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	return process{pid: pid, parent: parent, name: string(data[open+1 : end]), started: fields[19]}, err == nil
}

func isBelow(all map[int]process, pid, ancestor int) bool {
	for pid != ancestor {
		p, ok := all[pid]
		if !ok || p.parent == 0 {
			return false
		}
		if pid = p.parent; pid == ancestor {
			return true
		}
	}
	return false
}

// isOfBrig reports whether a process anywhere on the host is one that brig or
// its tests started. What cannot be looked at is somebody else's.
func isOfBrig(p process) bool {
	if p.pid == os.Getpid() {
		return false
	}
	if strings.HasPrefix(p.name, "brig") {
		return true
	}
	dir := fmt.Sprintf("/proc/%d", p.pid)
	mine, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return false
	}
	if theirs, err := os.Readlink(dir + "/ns/user"); err == nil && theirs != mine {
		return true
	}
	var st unix.Stat_t
	return unix.Stat(dir, &st) == nil && st.Uid != 0 && fmt.Sprint(st.Uid) == testUser()
}

func mounts() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			found = append(found, fields[0]+" "+fields[4])
		}
	}
	return found, nil
}

// cgroups walks the mounted hierarchies. A cgroup that vanishes meanwhile is
// none that was left.
func cgroups() ([]string, error) {
	own := ownCgroup()
	var found []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above; a hierarchy that is not mounted has no cgroups
		}
		if !entry.IsDir() {
			return nil
		}
		// The slice is systemd's, which keeps it once it was asked for.
		if strings.HasPrefix(entry.Name(), "brig") && entry.Name() != "brig.slice" || own != "" && strings.HasPrefix(path, own+"/") {
			found = append(found, path)
		}
		return nil
	})
	return found, err
}

// ownCgroup is the directory of this process's cgroup of version 2, empty when
// that is the root or not to be found: all others are below the root.
func ownCgroup() string {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::/"); ok && path != "" {
			return filepath.Join("/sys/fs/cgroup", path)
		}
	}
	return ""
}

// descriptors lists this process's open files by what they refer to. The Go
// runtime opens its poller when it first needs it and keeps it.
func descriptors() ([]string, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if err != nil || target == "anon_inode:[eventpoll]" || target == "anon_inode:[eventfd]" ||
			strings.HasPrefix(target, "/proc/") {
			continue // closed meanwhile, the runtime's, or the one that lists them
		}
		found = append(found, target)
	}
	return found, nil
}

// temporaryPaths lists what brig would leave in the places for such files. The
// directories of the test run itself are named brig-test.
func temporaryPaths() ([]string, error) {
	dirs := []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm", "/run", fmt.Sprintf("/run/user/%d", os.Getuid())}
	for _, variable := range []string{"XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"} {
		if dir := os.Getenv(variable); dir != "" {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	var found []string
	for _, dir := range slices.Compact(dirs) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // a place that is not there or not ours holds nothing of ours
		}
		for _, entry := range entries {
			if dir == "/run" && entry.Name() == "brig" {
				continue // the locks of root's ids, of which only the files come and go
			}
			name := strings.TrimPrefix(entry.Name(), ".")
			if (name == "brig" || strings.HasPrefix(name, "brig-")) && !strings.HasPrefix(name, "brig-test") {
				found = append(found, filepath.Join(dir, entry.Name()))
			}
		}
	}
	return found, nil
}
