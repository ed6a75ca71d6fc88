package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Device is the block device behind a path, as io.max takes it: a whole disk or
// what the kernel treats as one (device mapper, md, loop, zram). Partitions
// have no limits of their own: blkg_conf_open_bdev in block/blk-cgroup.c.
type Device struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
	// Name is the kernel's ("sda").
	Name string `json:"name,omitempty"`
	// Holes are sentences about what a limit on it does not reach.
	Holes []string `json:"holes,omitempty"`
	// Problem says why there is no device that can be limited, and Fix what to
	// name instead; the other fields are empty then.
	Problem string `json:"problem,omitempty"`
	Fix     string `json:"fix,omitempty"`
}

// FindDevices looks for the block device behind each path: of a device node
// the device itself, of any other file the one that its file system lies on.
// Links are followed.
func FindDevices(paths []string) map[string]Device {
	f := &deviceFinder{fsys: os.DirFS("/"), stat: statNode}
	devices := make(map[string]Device, len(paths))
	for _, p := range paths {
		devices[p] = f.device(p)
	}
	return devices
}

// lookDevices fills in Devices.
func (h *Host) lookDevices(paths []string) {
	if len(paths) > 0 {
		h.Devices = FindDevices(paths)
	}
}

// node is what stat tells of a path.
type node struct {
	mode      uint32 // S_IFMT
	dev, rdev devno
	mount     int // its mount's number in mountinfo, 0 where it is not known
}

// devno is a device's number.
type devno struct{ major, minor uint32 }

// String writes the number as sysfs does.
func (d devno) String() string { return fmt.Sprintf("%d:%d", d.major, d.minor) }

func statNode(name string) (node, error) {
	var st unix.Statx_t
	// STATX_MNT_ID is from 5.8 on; see statx(2).
	if err := unix.Statx(unix.AT_FDCWD, name, 0, unix.STATX_TYPE|unix.STATX_MNT_ID, &st); err != nil {
		return node{}, err
	}
	n := node{
		mode: uint32(st.Mode) & unix.S_IFMT,
		dev:  devno{st.Dev_major, st.Dev_minor}, rdev: devno{st.Rdev_major, st.Rdev_minor},
	}
	if st.Mask&unix.STATX_MNT_ID != 0 {
		n.mount = int(st.Mnt_id)
	}
	return n, nil
}

// deviceFinder looks for devices. What it looks at is replaced in tests.
type deviceFinder struct {
	fsys fs.FS // the root directory: for sys/ and proc/self/mountinfo
	stat func(path string) (node, error)

	mounts []*mountinfo.Info // nil until they are needed
}

const (
	listThem  = "name a block device, or a path on the file system that it holds; lsblk lists both"
	showSysfs = "mount a sysfs on /sys"
)

func refusedDevice(fix, format string, args ...any) Device {
	return Device{Problem: fmt.Sprintf(format, args...), Fix: fix}
}

func (f *deviceFinder) device(name string) Device { return f.behind(name, 0) }

// behind finds the device behind a path. Depth counts overlays on overlays.
func (f *deviceFinder) behind(name string, depth int) Device {
	n, err := f.stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		return refusedDevice(listThem, "there is no such file or device")
	case err != nil:
		return refusedDevice(listThem, "it cannot be looked at: %v", err)
	case n.mode == unix.S_IFCHR:
		return refusedDevice(listThem, "it is a character device, and only block devices have limits of I/O")
	case n.mode == unix.S_IFBLK:
		return f.whole(n.rdev)
	}
	m, err := f.mountOf(n)
	if err != nil {
		return refusedDevice(listThem, "the mount points cannot be read: %v", err)
	}
	// Numbers with the major 0 are the kernel's for file systems without a
	// device, or with several. An overlay may show the number of a layer, and
	// behind a fuseblk it is not the job that reads and writes.
	if n.dev.major == 0 || m != nil && (m.FSType == "overlay" || m.FSType == "fuseblk") {
		return f.anonymous(m, depth)
	}
	d := f.whole(n.dev)
	if d.Problem == "" && m != nil {
		d.addHole(writebackHole(m.FSType))
	}
	return d
}

func (d *Device) addHole(hole string) {
	if hole != "" {
		d.Holes = append(d.Holes, hole)
	}
}

// writebackHole: what a file system writes later, out of the page cache, is
// charged to the writer's cgroup only where the file system helps; see
// "Writeback" in Documentation/admin-guide/cgroup-v2.rst.
func writebackHole(fstype string) string {
	switch fstype {
	case "ext2", "ext3", "ext4", "btrfs", "f2fs", "xfs":
		return ""
	case "erofs", "squashfs", "iso9660", "udf", "cramfs", "romfs": // nothing is written
		return ""
	}
	return fstype + " writes back as the host what a job has buffered: of its writes only the direct ones are limited"
}

// mountOf finds the mount that a path lies on, nil where none fits.
func (f *deviceFinder) mountOf(n node) (*mountinfo.Info, error) {
	if f.mounts == nil {
		file, err := f.fsys.Open("proc/self/mountinfo")
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // only read
		if f.mounts, err = mountinfo.GetMountsFromReader(file, nil); err != nil {
			return nil, err
		}
	}
	for _, m := range f.mounts {
		if n.mount != 0 && m.ID == n.mount {
			return m, nil
		}
	}
	for _, m := range f.mounts {
		if (devno{uint32(m.Major), uint32(m.Minor)}) == n.dev {
			return m, nil
		}
	}
	return nil, nil
}

// whole makes a device's number that of a whole disk.
func (f *deviceFinder) whole(dev devno) Device {
	link, err := fs.ReadLink(f.fsys, "sys/dev/block/"+dev.String())
	if err != nil {
		if _, serr := fs.Stat(f.fsys, "sys/dev/block"); serr != nil {
			return refusedDevice(showSysfs, "/sys/dev/block does not tell whether %s is a disk or a partition: %v", dev, unwrapPath(serr))
		}
		return refusedDevice(listThem, "the kernel has no block device %s", dev)
	}
	dir := path.Join("sys/dev/block", link)
	if !strings.HasPrefix(dir, "sys/devices/") || !fs.ValidPath(dir) {
		return refusedDevice(showSysfs, "/sys/dev/block/%s leads to %q, which is no device", dev, link)
	}
	d := Device{Major: dev.major, Minor: dev.minor, Name: path.Base(dir)}
	if f.exists(dir + "/partition") {
		part := d.Name
		dir = path.Dir(dir)
		text, err := fs.ReadFile(f.fsys, dir+"/dev")
		disk, ok := parseDevno(strings.TrimSpace(string(text)))
		if err != nil || !ok {
			return refusedDevice("name the disk itself; lsblk lists them", "/sys does not tell on which disk the partition %s lies", part)
		}
		d = Device{Major: disk.major, Minor: disk.minor, Name: path.Base(dir)}
		d.addHole(fmt.Sprintf("held for the whole disk %s: the kernel does not limit the partition %s alone", d.Name, part))
	}
	d.addHole(f.stackHole(dir, d.Name))
	return d
}

// stackHole tells of devices that lie on others. A bio is held where it is
// submitted first (block/blk-throttle.c), so the limit is a limit on the upper
// device alone.
func (f *deviceFinder) stackHole(dir, name string) string {
	if strings.HasPrefix(name, "zram") {
		return name + " lies in memory: a limit on it holds no disk"
	}
	if text, err := fs.ReadFile(f.fsys, dir+"/loop/backing_file"); err == nil {
		return fmt.Sprintf("%s is the file %s: the disk that this file lies on is not limited", name, strings.TrimSpace(string(text)))
	}
	var below []string
	entries, err := fs.ReadDir(f.fsys, dir+"/slaves")
	if err != nil || len(entries) == 0 {
		return ""
	}
	for _, e := range entries {
		below = append(below, e.Name())
	}
	if text, err := fs.ReadFile(f.fsys, dir+"/dm/name"); err == nil {
		name += " (" + strings.TrimSpace(string(text)) + ")"
	}
	return fmt.Sprintf("held at %s: what reaches %s by other ways is not limited", name, strings.Join(below, ", "))
}

func (f *deviceFinder) exists(name string) bool {
	_, err := fs.Stat(f.fsys, name)
	return err == nil
}

// parseDevno reads "8:0".
func parseDevno(s string) (devno, bool) {
	a, b, ok := strings.Cut(s, ":")
	major, err := strconv.ParseUint(a, 10, 32)
	minor, err2 := strconv.ParseUint(b, 10, 32)
	return devno{uint32(major), uint32(minor)}, ok && err == nil && err2 == nil
}

// unwrapPath leaves the errno of an error whose path has been told already.
func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// several makes one device of the members of a file system, or refuses it.
func (f *deviceFinder) several(fstype string, members []devno) Device {
	var found []Device
	for _, m := range members {
		d := f.whole(m)
		if d.Problem != "" {
			return d
		}
		same := func(o Device) bool { return o.Major == d.Major && o.Minor == d.Minor }
		if !slices.ContainsFunc(found, same) {
			found = append(found, d)
		}
	}
	if len(found) == 1 {
		found[0].addHole(writebackHole(fstype))
		return found[0]
	}
	var names, nodes []string
	for _, d := range found {
		names = append(names, d.Name)
		nodes = append(nodes, "/dev/"+d.Name)
	}
	return refusedDevice("give each of them a limit of its own: "+strings.Join(nodes, ", "),
		"it lies on a %s of %d devices (%s), and a limit is for one", fstype, len(found), strings.Join(names, ", "))
}
