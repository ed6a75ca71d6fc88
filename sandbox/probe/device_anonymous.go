package probe

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

const leaveOut = "leave this limit out"

// anonymous finds the device of a file system that has none of its own to the
// kernel, or says why there is none. The mount is nil where it is not known.
func (f *deviceFinder) anonymous(m *mountinfo.Info, depth int) Device {
	if m == nil {
		return refusedDevice(listThem, "its file system has no device, and /proc/self/mountinfo does not tell which one it is")
	}
	kind, _, _ := strings.Cut(m.FSType, ".") // fuse.sshfs
	switch kind {
	case "btrfs":
		return f.btrfs(m)
	case "bcachefs":
		return f.bcachefs(m)
	case "overlay":
		return f.overlay(m, depth)
	case "tmpfs", "ramfs", "devtmpfs", "hugetlbfs":
		return refusedDevice(leaveOut+": memory and scratch hold what is written there",
			"it lies on a %s, which is memory and no disk", m.FSType)
	case "zfs":
		return refusedDevice(leaveOut+", or put what the job writes on a file system of another kind",
			"it lies on a zfs, whose own threads read and write for every job alike: no limit of a cgroup reaches them")
	case "nfs", "nfs4", "cifs", "smb3", "ceph", "afs", "9p", "virtiofs", "gfs2", "lustre", "ncpfs", "coda":
		return refusedDevice(leaveOut+", or set one where the files lie",
			"it lies on %s, which comes from another machine: there is no block device here", m.FSType)
	case "fuse", "fuseblk":
		return refusedDevice("name the disk or path that the program keeps its files on, and know that its transfers are not the job's: "+leaveOut,
			"it lies on a %s, where a program reads and writes for the job, outside of the job's cgroup", m.FSType)
	case "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "debugfs", "tracefs", "securityfs", "bpf",
		"pstore", "configfs", "fusectl", "binfmt_misc", "efivarfs", "autofs", "nsfs", "selinuxfs":
		return refusedDevice(listThem, "it lies on a %s, which the kernel makes up: there is nothing behind it", m.FSType)
	}
	return refusedDevice(listThem, "it lies on a %s, whose device the kernel does not tell", m.FSType)
}

// btrfs has a number of its own for each subvolume. Which devices it lies on is
// told by sysfs, where it is found by the one that was named when mounting.
func (f *deviceFinder) btrfs(m *mountinfo.Info) Device {
	name, ok := f.kernelName(m.Source)
	if !ok {
		return refusedDevice(listThem, "it lies on a btrfs mounted from %q, which is no device that can be seen here", m.Source)
	}
	ids, err := fs.ReadDir(f.fsys, "sys/fs/btrfs")
	if err != nil {
		return refusedDevice(showSysfs, "it lies on a btrfs, and /sys/fs/btrfs does not tell on which devices: %v", unwrapPath(err))
	}
	for _, id := range ids {
		dir := "sys/fs/btrfs/" + id.Name() + "/devices"
		entries, err := fs.ReadDir(f.fsys, dir)
		if err != nil {
			continue // features, and others that are no file system
		}
		var members []devno
		mine := false
		for _, e := range entries {
			mine = mine || e.Name() == name
			if dev, ok := f.numberOf(e.Name()); ok {
				members = append(members, dev)
			}
		}
		if mine && len(members) == len(entries) {
			return f.several("btrfs", members)
		}
	}
	return refusedDevice(listThem, "it lies on a btrfs, and /sys/fs/btrfs does not tell on which devices")
}

// bcachefs is mounted from all its devices, separated by colons.
func (f *deviceFinder) bcachefs(m *mountinfo.Info) Device {
	var members []devno
	for source := range strings.SplitSeq(m.Source, ":") {
		name, ok := f.kernelName(source)
		dev, ok2 := f.numberOf(name)
		if !ok || !ok2 {
			return refusedDevice(listThem, "it lies on a bcachefs mounted from %q, which is no device that can be seen here", source)
		}
		members = append(members, dev)
	}
	return f.several("bcachefs", members)
}

// kernelName is the kernel's name of a device node: what the node says, and
// where there is none the node's own name, if the kernel has a device of it.
func (f *deviceFinder) kernelName(source string) (string, bool) {
	if !strings.HasPrefix(source, "/") {
		return "", false
	}
	if n, err := f.stat(source); err == nil && n.mode == unix.S_IFBLK {
		if link, err := fs.ReadLink(f.fsys, "sys/dev/block/"+n.rdev.String()); err == nil {
			return path.Base(link), true
		}
	}
	name := path.Base(source)
	_, ok := f.numberOf(name)
	return name, ok
}

// numberOf looks a device up by the kernel's name.
func (f *deviceFinder) numberOf(name string) (devno, bool) {
	file := "sys/class/block/" + name + "/dev"
	if name == "" || !fs.ValidPath(file) {
		return devno{}, false
	}
	// The entry is a link that leads out of its directory.
	if link, err := fs.ReadLink(f.fsys, "sys/class/block/"+name); err == nil {
		if file = path.Join("sys/class/block", link, "dev"); !fs.ValidPath(file) {
			return devno{}, false
		}
	}
	text, err := fs.ReadFile(f.fsys, file)
	if err != nil {
		return devno{}, false
	}
	return parseDevno(strings.TrimSpace(string(text)))
}

// maxOverlays is how deep overlays are followed; the kernel stacks two.
const maxOverlays = 3

// overlay is refused with the name of what lies below: what is read comes from
// several file systems, and what is written goes to the upper directory's.
func (f *deviceFinder) overlay(m *mountinfo.Info, depth int) Device {
	const problem = "it lies on an overlay, which has no device of its own"
	upper := mountOption(m.VFSOptions, "upperdir")
	if upper == "" {
		return refusedDevice("name the device that its lower directories lie on; lsblk lists them", problem+" and is only read")
	}
	problem2 := fmt.Sprintf("%s: what is written goes to %s", problem, upper)
	if depth < maxOverlays && strings.HasPrefix(upper, "/") {
		if d := f.behind(upper, depth+1); d.Problem == "" {
			return refusedDevice(fmt.Sprintf("name that directory, which lies on %s, or /dev/%[1]s itself", d.Name), "%s", problem2)
		}
	}
	return refusedDevice("name the device that directory lies on, as the host around this container has it; lsblk lists them",
		"%s, which cannot be seen here", problem2)
}

// mountOption reads one of mountinfo's options of a file system, which writes
// what would be ambiguous as \ and three octal digits.
func mountOption(options, name string) string {
	for o := range strings.SplitSeq(options, ",") {
		if value, ok := strings.CutPrefix(o, name+"="); ok {
			return unescapeOctal(value)
		}
	}
	return ""
}

func unescapeOctal(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1:i+4]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// isOctal tells whether three digits are a byte in octal.
func isOctal(s string) bool {
	return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7'
}
