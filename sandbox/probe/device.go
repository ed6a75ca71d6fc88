package probe

import (
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// Device is the block device on which a limit on transfers can be set: a whole
// disk, since the kernel limits no partition.
type Device struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
	// Name is the kernel's name of the disk, such as "sda".
	Name string `json:"name,omitempty"`
	// Problem says why there is none, Fix what the user can do.
	Problem string `json:"problem,omitempty"`
	Fix     string `json:"fix,omitempty"`
}

// lookDevices fills in Devices.
func (h *Host) lookDevices(paths []string) {
	for _, p := range paths {
		if h.Devices == nil {
			h.Devices = map[string]Device{}
		}
		h.Devices[p] = lookDevice(p)
	}
}

// lookDevice finds the disk that a device node stands for, or on which the file
// system of a path lies.
func lookDevice(p string) Device {
	const fix = "name a block device, or a path on a file system that lies on one"
	var st unix.Stat_t
	if err := unix.Stat(p, &st); err != nil {
		return Device{Problem: err.Error(), Fix: fix}
	}
	dev := st.Dev
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		dev = st.Rdev
	}
	d := Device{Major: unix.Major(dev), Minor: unix.Minor(dev)}
	if d.Major == 0 {
		return Device{Problem: "its file system lies on no block device", Fix: fix}
	}
	// The link leads into the device's directory, which for a partition lies
	// in its disk's.
	link, err := readlink(fmt.Sprintf("/sys/dev/block/%d:%d", d.Major, d.Minor))
	if err != nil {
		return Device{Problem: fmt.Sprintf("/sys/dev/block/%d:%d: %v", d.Major, d.Minor, err), Fix: fix}
	}
	d.Name = path.Base(link)
	if Look(fmt.Sprintf("/sys/dev/block/%d:%d/partition", d.Major, d.Minor)).Type == Absent {
		return d
	}
	d.Name = path.Base(path.Dir(link))
	var buf [64]byte
	text, err := readSmall("/sys/class/block/"+d.Name+"/dev", buf[:])
	if err == nil {
		_, err = fmt.Sscanf(text, "%d:%d", &d.Major, &d.Minor)
	}
	if err != nil {
		return Device{Problem: fmt.Sprintf("the disk of the partition %s: %v", path.Base(link), err), Fix: fix}
	}
	return d
}
