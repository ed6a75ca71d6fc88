package probe

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Session is what explains whether a service manager can be asked for a scope:
// the host's for root, for everybody else their own.
type Session struct {
	// Systemd says that systemd is the host's init, see sd_booted(3).
	Systemd bool `json:"systemd,omitempty"`
	// RuntimeDir is the directory with the manager's sockets. Foreign is what
	// XDG_RUNTIME_DIR names instead, where that is no directory of the caller's,
	// as after su.
	RuntimeDir string `json:"runtime_dir,omitempty"`
	Foreign    string `json:"foreign,omitempty"`
	// Silent says why no manager answers there; "" where one may.
	Silent Silence `json:"silent,omitempty"`
}

// Silence is why a service manager cannot be reached.
type Silence string

// Why a service manager cannot be reached.
const (
	NoRuntimeDir    Silence = "absent" // there is no such directory
	NoManagerSocket Silence = "socket" // nobody listens in it
)

// readSession looks for what would be the caller's manager.
func readSession(uid uint32) Session {
	s := Session{Systemd: Look(systemdRuns).Type == Dir, RuntimeDir: "/run"}
	if uid != 0 {
		s.RuntimeDir = runtimeDir(uid)
		if given := os.Getenv("XDG_RUNTIME_DIR"); given != "" && strings.TrimRight(given, "/") != s.RuntimeDir {
			s.Foreign = given
		}
	}
	s.Silent = silence(s.RuntimeDir)
	return s
}

// silence says why nobody listens in a directory, as far as it can be seen.
func silence(dir string) Silence {
	var st unix.Stat_t
	switch err := unix.Stat(dir+"/systemd/private", &st); {
	case err == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK:
		return ""
	case Look(dir).Type == Absent:
		return NoRuntimeDir
	}
	return NoManagerSocket
}

// readControllers reads which controllers a group has.
func readControllers(dir string) ([]string, bool) {
	var buf [4096]byte
	text, err := readSmall(dir+"/cgroup.controllers", buf[:])
	return strings.Fields(text), err == nil
}

// readContainer names the container around the calling process, "" where
// nothing speaks for one. See systemd's CONTAINER_INTERFACE.
func readContainer() string {
	var buf [256]byte
	if name, err := readSmall("/run/systemd/container", buf[:]); err == nil && strings.TrimSpace(name) != "" {
		return strings.TrimSpace(name)
	}
	switch {
	case Look("/run/.containerenv").Type != Absent:
		return "podman"
	case os.Getenv("KUBERNETES_SERVICE_HOST") != "":
		return "kubernetes"
	case Look("/.dockerenv").Type != Absent:
		return "docker"
	}
	return ""
}
