package userns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// WriteMaps lets newuidmap and newgidmap write the maps of a process that was
// cloned into a new user namespace, both at the same time. The process must be
// the caller's child and not yet reaped. The first failure is returned, as a
// *Problem with what the tool said; a half-written mapping cannot be repaired,
// so the process must then be killed.
func WriteMaps(ctx context.Context, pid int, ids IDs, tools Tools) error {
	if err := checkWritable(ids); err != nil {
		return err
	}
	null, err := openNull()
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	u, err := startTool(ctx, null, false, tools.NewUIDMap, mapArgs(pid, ids.UID)...)
	if err != nil {
		return toolFailed(tools.NewUIDMap, err)
	}
	g, err := startTool(ctx, null, false, tools.NewGIDMap, mapArgs(pid, ids.GID)...)
	if err != nil {
		_, _, _, _ = u.wait(ctx)
		return toolFailed(tools.NewGIDMap, err)
	}
	uErr, gErr := u.finish(ctx, newUIDMap, "/etc/subuid"), g.finish(ctx, newGIDMap, "/etc/subgid")
	if uErr != nil {
		return uErr
	}
	return gErr
}

func mapArgs(pid int, m Map) []string {
	args := make([]string, 1, 1+3*len(m))
	args[0] = strconv.Itoa(pid)
	for _, e := range m {
		for _, v := range [...]uint32{e.Inside, e.Outside, e.Count} {
			args = append(args, strconv.FormatUint(uint64(v), 10))
		}
	}
	return args
}

// finish waits for a map tool and explains its failure.
func (r *running) finish(ctx context.Context, name, file string) error {
	state, _, said, err := r.wait(ctx)
	switch {
	case err != nil:
		return err
	case state.Success():
		return nil
	}
	if said == "" {
		said = "it said nothing"
	}
	return explainTool(name, r.path, file, state.String(), said)
}

// explainTool finds the reason in what newuidmap or newgidmap (shadow) said.
func explainTool(name, path, file, state, said string) *Problem {
	p := &Problem{Reason: ToolFailed, Cause: path + " failed (" + state + ")", Err: errors.New(said)}
	switch {
	case strings.Contains(said, "not allowed"):
		p.Reason = ToolRefusedRange
		p.Fix = fmt.Sprintf("compare the user's line in %s (getsubids%s \"$(id -un)\") with the range named here, and use a range that is granted", file, map[string]string{newGIDMap: " -g"}[name])
	case strings.Contains(said, "owned by a different user"):
		p.Reason = ToolRefusedOwner
		p.Fix = "run brig with the login's own user and primary group (not under newgrp, sg or a changed group), or use the single mapping"
	case strings.Contains(said, "Operation not permitted"):
		p.Fix = fmt.Sprintf("check that %s is set-uid root or has its file capability, and that no AppArmor or SELinux rule confines it (brig doctor)", path)
	case strings.Contains(said, "Cannot determine your user name"):
		p.Reason = UnknownUser
		p.Fix = "add an account for this uid to /etc/passwd, or use the single mapping"
	default:
		p.Fix = "run brig doctor; if /proc is mounted with hidepid, mount it without"
	}
	return p
}

// checkWritable refuses maps that must not reach the kernel.
func checkWritable(ids IDs) error {
	if err := ids.Validate(); err != nil {
		return err
	}
	if !ids.MapsRoot() {
		return nil
	}
	initial, err := InInitial()
	if err != nil {
		return err
	}
	if initial {
		return &Problem{
			Reason: HostRoot,
			Cause:  "the mapping contains the host's root (id 0)",
			Fix:    "use ids of a range from AllocateRange, as brig does when root calls it",
		}
	}
	return nil
}

// InInitial reports whether the caller is in the initial user namespace, or
// in one that maps every id to itself, which is as dangerous.
func InInitial() (bool, error) {
	text, err := readHost("/proc/self/uid_map", maxProcFile)
	if err != nil {
		return false, fmt.Errorf("reading /proc/self/uid_map: %w", err)
	}
	m, err := ParseMap(string(text))
	if err != nil {
		return false, err
	}
	return isIdentity(m), nil
}

func isIdentity(m Map) bool { return len(m) == 1 && m[0] == Mapping{0, 0, 1<<32 - 1} }

// WriteMapsDirect writes the maps of a process that was cloned into a new user
// namespace. The caller needs CAP_SETUID and CAP_SETGID over the parent
// namespace, or the map must be that of Single for the caller itself, after
// DenySetgroups. A refusal is a *Problem with Reason MapRefused.
func WriteMapsDirect(pid int, ids IDs) error {
	if err := checkWritable(ids); err != nil {
		return err
	}
	if err := writeProc(pid, "uid_map", ids.UID.String()); err != nil {
		return err
	}
	return writeProc(pid, "gid_map", ids.GID.String())
}

// DenySetgroups forbids setgroups(2) in the process's user namespace for good,
// without which the kernel takes no gid_map from an unprivileged writer: a
// group could otherwise be dropped that denies access (user_namespaces(7)).
func DenySetgroups(pid int) error { return writeProc(pid, "setgroups", "deny") }

// writeProc writes a file of a process in one write, as the kernel demands.
func writeProc(pid int, name, text string) error {
	path := "/proc/" + strconv.Itoa(pid) + "/" + name
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return refused("opening "+path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := retry(func() (int, error) { return unix.Write(fd, []byte(text)) }); err != nil {
		return refused("writing "+strconv.Quote(text)+" to "+path, err)
	}
	return nil
}

func refused(doing string, err error) error {
	p := &Problem{Reason: MapRefused, Cause: doing, Err: err}
	switch {
	case errors.Is(err, unix.EPERM):
		p.Fix = "only a process with CAP_SETUID and CAP_SETGID in the parent user namespace may map ids other than its own; give these to brig, or let newuidmap and newgidmap write the maps"
	case errors.Is(err, unix.EACCES):
		p.Fix = "the process is not dumpable or a security module denies it; write the maps before the process changes its ids"
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH):
		p.Fix = "the process has ended before its ids were mapped; its own error says why"
	default:
		p.Fix = "run brig doctor"
	}
	return p
}
