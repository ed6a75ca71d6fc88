package userns

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Tools are the paths of the programs that write id maps for a user who may
// not write them.
type Tools struct{ NewUIDMap, NewGIDMap string }

// ToolFacts are what decides whether a map-writing tool can do its work.
type ToolFacts struct {
	Name string // "newuidmap" or "newgidmap"
	Path string // "" when it was found nowhere
	// Executable: the caller may run it.
	Executable bool
	Setuid     bool
	Owner      uint32
	// FileCaps is the security.capability attribute, nil if there is none.
	FileCaps []byte
	Nosuid   bool // mounted nosuid
	// NoNewPrivs and Bounded are the caller's: no_new_privs is set, the needed
	// capability is missing in the bounding set.
	NoNewPrivs, Bounded bool
}

const (
	newUIDMap = "newuidmap"
	newGIDMap = "newgidmap"
)

// capability is what the tool needs: its name as setcap spells it and its number.
func (f ToolFacts) capability() (name string, number uint) {
	if f.Name == newGIDMap {
		return "cap_setgid", unix.CAP_SETGID
	}
	return "cap_setuid", unix.CAP_SETUID
}

// FindTools finds newuidmap and newgidmap and checks that they can work for
// the caller: set-uid root or with the file capability, on a mount that honours
// it, by a caller whom the kernel lets gain privileges. Both are looked for in
// the usual directories, then along PATH; the first that passes is taken. The
// error is a *Problem of the first one found, or ToolMissing.
func FindTools() (Tools, error) {
	var t Tools
	var err error
	if t.NewUIDMap, err = findMapTool(newUIDMap); err != nil {
		return Tools{}, err
	}
	if t.NewGIDMap, err = findMapTool(newGIDMap); err != nil {
		return Tools{}, err
	}
	return t, nil
}

func findMapTool(name string) (string, error) {
	var found string
	var first *Problem
	eachToolPath(name, func(path string) bool {
		f, err := ReadToolFacts(name, path)
		if err != nil {
			return false
		}
		p := DiagnoseTool(f)
		switch {
		case p == nil:
			found = path
		case first == nil:
			first = p
		}
		return p == nil
	})
	if found != "" {
		return found, nil
	}
	if first == nil {
		first = DiagnoseTool(ToolFacts{Name: name})
	}
	return "", first
}

// ReadToolFacts gathers the facts of the tool at path.
func ReadToolFacts(name, path string) (ToolFacts, error) {
	f := ToolFacts{Name: name, Path: path}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return f, fmt.Errorf("stat %s: %w", path, err)
	}
	f.Executable = st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Access(path, unix.X_OK) == nil
	f.Setuid = st.Mode&unix.S_ISUID != 0
	f.Owner = st.Uid
	var attr [64]byte
	if n, err := unix.Getxattr(path, "security.capability", attr[:]); err == nil {
		f.FileCaps = attr[:n:n]
	} else if !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
		return f, fmt.Errorf("reading security.capability of %s: %w", path, err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return f, fmt.Errorf("statfs %s: %w", path, err)
	}
	f.Nosuid = fs.Flags&unix.ST_NOSUID != 0
	nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	if err != nil {
		return f, fmt.Errorf("prctl(PR_GET_NO_NEW_PRIVS): %w", err)
	}
	f.NoNewPrivs = nnp == 1
	_, capNumber := f.capability()
	in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(capNumber), 0, 0, 0)
	if err != nil {
		return f, fmt.Errorf("prctl(PR_CAPBSET_READ): %w", err)
	}
	f.Bounded = in == 0
	return f, nil
}

// packages says what to install, by the distributions' names.
const packages = "install the package uidmap (Debian, Ubuntu), shadow-utils (Fedora, RHEL), shadow (Arch, openSUSE) or shadow-uidmap (Alpine)"

// DiagnoseTool returns why the tool cannot write maps, or nil. It is pure.
func DiagnoseTool(f ToolFacts) *Problem {
	capName, capNumber := f.capability()
	setuidFix := fmt.Sprintf("sudo chown root:root %[1]s && sudo chmod 4755 %[1]s", f.Path)
	switch {
	case f.Path == "":
		return &Problem{Reason: ToolMissing, Cause: f.Name + " is not installed", Fix: packages}
	case !f.Executable:
		return &Problem{Reason: ToolNotRunnable, Cause: f.Path + " cannot be executed by this user", Fix: setuidFix}
	case f.NoNewPrivs:
		return &Problem{
			Reason: ToolNoNewPrivs,
			Cause:  "no_new_privs is set on this process, so " + f.Path + " gains no privileges",
			Fix:    "start brig from a shell without it: remove --security-opt no-new-privileges, allowPrivilegeEscalation: false or NoNewPrivileges=yes of the container, pod or unit around it; or use the single mapping",
		}
	case f.Bounded:
		return &Problem{
			Reason: ToolBounded,
			Cause:  fmt.Sprintf("%s is missing in this process's bounding set, so %s cannot gain it", capName, f.Path),
			Fix:    "start the container around brig with --cap-add SETUID --cap-add SETGID (Kubernetes: capabilities.add: [SETUID, SETGID]); or use the single mapping",
		}
	case f.Nosuid:
		return &Problem{
			Reason: ToolNosuidMount,
			Cause:  f.Path + " lies on a file system mounted nosuid, so it gains no privileges",
			Fix:    fmt.Sprintf("remount it with suid (sudo mount -o remount,suid \"$(findmnt -nro TARGET -T %s)\"), or install the tools on another file system", f.Path),
		}
	case f.Setuid && f.Owner == 0:
		return nil
	case len(f.FileCaps) > 0:
		if why := fileCapFault(f.FileCaps, capNumber); why != "" {
			return &Problem{
				Reason: ToolNoCapability,
				Cause:  fmt.Sprintf("%s has file capabilities, but %s %s", f.Path, capName, why),
				Fix:    fmt.Sprintf("sudo setcap %s=ep %s", capName, f.Path),
			}
		}
		return nil
	case f.Setuid:
		return &Problem{
			Reason: ToolNotSetuid,
			Cause:  fmt.Sprintf("%s is set-uid, but belongs to uid %d and not to root", f.Path, f.Owner),
			Fix:    setuidFix,
		}
	}
	return &Problem{
		Reason: ToolNotSetuid,
		Cause:  fmt.Sprintf("%s is neither set-uid root nor has it the file capability %s", f.Path, capName),
		Fix:    setuidFix,
	}
}

// fileCapFault reads struct vfs_ns_cap_data (linux/capability.h): a magic with
// the revision and the "effective" bit, then permitted and inheritable sets in
// 32-bit halves, then with revision 3 the uid of the namespace's root.
func fileCapFault(attr []byte, capNumber uint) string {
	const (
		revisionMask = 0xff000000
		revision2    = 0x02000000
		revision3    = 0x03000000
		effective    = 0x000001
	)
	if len(attr) < 20 {
		return "cannot be read from them"
	}
	magic := binary.LittleEndian.Uint32(attr)
	permitted := binary.LittleEndian.Uint32(attr[4:])
	switch magic & revisionMask {
	case revision2:
	case revision3:
		// The kernel shows revision 3 only for a root that is not the
		// caller's own, and then does not honour it.
		if len(attr) < 24 || binary.LittleEndian.Uint32(attr[20:]) != 0 {
			return "holds only in another user namespace"
		}
	default:
		return "cannot be read from them"
	}
	switch {
	case permitted&(1<<capNumber) == 0:
		return "is not among them"
	case magic&effective == 0:
		return "is not effective"
	}
	return ""
}
