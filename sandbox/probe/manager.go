package probe

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Manager is what is known of the service manager that could be asked for a
// scope: root's is the host's, everybody else's their own.
type Manager struct {
	// Systemd says that systemd is the host's init, see sd_booted(3).
	Systemd bool `json:"systemd,omitempty"`
	// RuntimeDir is the directory with the manager's sockets, Given whether
	// XDG_RUNTIME_DIR names it.
	RuntimeDir string `json:"runtime_dir,omitempty"`
	Given      bool   `json:"given,omitempty"`
	// Silent says why no manager answers there; "" where one may.
	Silent Silence `json:"silent,omitempty"`
	// Controllers are those of the manager's own group, which it can hand on.
	Controllers []string `json:"controllers,omitempty"`
}

// Silence is why a service manager cannot be reached.
type Silence string

// Why a service manager cannot be reached.
const (
	NoRuntimeDir      Silence = "absent"  // there is no such directory
	ForeignRuntimeDir Silence = "foreign" // it is another user's, as after su
	NoManagerSocket   Silence = "socket"  // nobody listens in it
)

// readManager looks for the caller's manager.
func readManager(uid uint32, mounts []*mountinfo.Info) Manager {
	m := Manager{Systemd: Look("/run/systemd/system").Type == Dir}
	group := fmt.Sprintf("/user.slice/user-%d.slice/user@%[1]d.service", uid)
	if uid == 0 {
		m.RuntimeDir, group = "/run", ""
	} else if m.RuntimeDir = os.Getenv("XDG_RUNTIME_DIR"); strings.HasPrefix(m.RuntimeDir, "/") {
		m.Given = true
	} else {
		m.RuntimeDir = fmt.Sprintf("/run/user/%d", uid)
	}
	m.Silent = silence(m.RuntimeDir, uid)
	for _, mount := range mounts {
		if mount.FSType != "cgroup2" || mount.Root != "/" || !m.Systemd {
			continue
		}
		if list, ok := readControllers(mount.Mountpoint + group); ok {
			m.Controllers = list
			break
		}
	}
	return m
}

// silence says why nobody listens in a directory, as far as it can be seen.
func silence(dir string, uid uint32) Silence {
	f := Look(dir)
	var st unix.Stat_t
	err := unix.Stat(dir+"/systemd/private", &st)
	switch {
	case f.Type == Absent:
		return NoRuntimeDir
	case f.Type == Dir && f.UID != uid, errors.Is(err, unix.EACCES):
		return ForeignRuntimeDir
	case err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK:
		return NoManagerSocket
	}
	return ""
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
