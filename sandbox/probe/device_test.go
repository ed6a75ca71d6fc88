package probe

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// Recorded: a laptop with an encrypted volume group beside a plain disk with
// partitions, loop devices, zram, md and file systems of all kinds.
const recordedMounts = `22 30 0:21 / /proc rw,nosuid shared:12 - proc proc rw
23 30 0:22 / /sys rw,nosuid shared:2 - sysfs sysfs rw
30 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro
31 30 8:1 / /boot rw,relatime shared:3 - ext4 /dev/sda1 rw
32 30 8:2 / /boot/efi rw,relatime - vfat /dev/sda2 rw
33 30 0:40 /@home /home rw,relatime shared:4 - btrfs /dev/nvme0n1p3 rw,subvolid=256,subvol=/@home
34 30 0:41 / /pool rw,relatime - btrfs /dev/sdb rw
35 30 0:42 / /tank rw,relatime - zfs tank/data rw
36 30 0:43 / /tmp rw,nosuid - tmpfs tmpfs rw,size=8g
37 30 0:44 / /merged rw,relatime - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/srv\040x/up,workdir=/srv\040x/work
38 30 0:45 / /ctr rw,relatime - overlay overlay rw,lowerdir=/var/lib/docker/l,upperdir=/var/lib/docker/overlay2/1/diff,workdir=/w
39 30 0:46 / /only rw,relatime - overlay overlay ro,lowerdir=/l1:/l2
40 30 0:47 / /net rw,relatime - nfs4 server:/export rw,vers=4.2
41 30 0:48 / /ssh rw,relatime - fuse.sshfs me@there: rw,user_id=1000
42 30 8:3 / /win rw,relatime - fuseblk /dev/sda3 rw
43 30 7:0 / /snap ro,nodev - squashfs /dev/loop0 ro
44 30 0:49 / /bc rw,relatime - bcachefs /dev/sdc:/dev/sdd rw
45 30 0:50 / /odd rw,relatime - frobfs none rw
46 30 0:51 / /gone rw,relatime - btrfs /dev/root rw
47 30 9:0 / /raid rw,relatime - xfs /dev/md0 rw
`

// disk adds what sysfs has of a block device.
func disk(m fstest.MapFS, dir, number string, more ...string) {
	name := dir[strings.LastIndexByte(dir, '/')+1:]
	m["sys/devices/"+dir+"/dev"] = &fstest.MapFile{Data: []byte(number + "\n")}
	m["sys/dev/block/"+number] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("../../devices/" + dir)}
	m["sys/class/block/"+name] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("../../devices/" + dir)}
	for i := 0; i < len(more); i += 2 {
		m["sys/devices/"+dir+"/"+more[i]] = &fstest.MapFile{Data: []byte(more[i+1] + "\n")}
	}
}

func recordedSys() fstest.MapFS {
	m := fstest.MapFS{"proc/self/mountinfo": {Data: []byte(recordedMounts)}}
	const ata, nvme = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda", "pci0000:00/0000:00:1d.0/0000:03:00.0/nvme/nvme0/nvme0n1"
	disk(m, ata, "8:0")
	disk(m, ata+"/sda1", "8:1", "partition", "1")
	disk(m, ata+"/sda2", "8:2", "partition", "2")
	disk(m, ata+"/sda3", "8:3", "partition", "3")
	disk(m, nvme, "259:0")
	disk(m, nvme+"/nvme0n1p3", "259:3", "partition", "3")
	disk(m, "virtual/block/dm-0", "253:0", "dm/name", "vg-root", "slaves/nvme0n1p3/dev", "259:3")
	disk(m, "virtual/block/md0", "9:0", "md/level", "raid1", "slaves/sdb/dev", "8:16", "slaves/sdc/dev", "8:32")
	disk(m, "virtual/block/loop0", "7:0", "loop/backing_file", "/var/lib/snapd/snaps/core.snap")
	disk(m, "virtual/block/zram0", "252:0")
	for name, number := range map[string]string{"sdb": "8:16", "sdc": "8:32", "sdd": "8:48"} {
		disk(m, "pci0000:00/block/"+name, number)
	}
	for _, file := range []string{"features/raid56", "aaaa/devices/nvme0n1p3", "bbbb/devices/sdb", "bbbb/devices/sdc"} {
		m["sys/fs/btrfs/"+file] = &fstest.MapFile{}
	}
	m["sys/dev/block/8:99"] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("../../../etc/passwd")}
	return m
}

// recordedStat is what stat said there.
func recordedStat(name string) (node, error) {
	dir := func(major, minor uint32, mount int) node {
		return node{mode: unix.S_IFDIR, dev: devno{major, minor}, mount: mount}
	}
	block := func(major, minor uint32) node {
		return node{mode: unix.S_IFBLK, dev: devno{0, 6}, rdev: devno{major, minor}, mount: 99}
	}
	n, ok := map[string]node{
		"/": dir(253, 0, 30), "/boot": dir(8, 1, 31), "/boot/efi": dir(8, 2, 32), "/home/alice": dir(0, 61, 33),
		"/pool": dir(0, 41, 34), "/tank": dir(0, 42, 35), "/tmp": dir(0, 43, 36), "/merged": dir(0, 44, 37),
		"/merged/file": {mode: unix.S_IFREG, dev: devno{8, 1}, mount: 37},
		"/srv x/up":    dir(8, 1, 31), "/ctr": dir(0, 45, 38), "/only": dir(0, 46, 39), "/net": dir(0, 47, 40),
		"/ssh": dir(0, 48, 41), "/win": dir(8, 3, 42), "/snap": dir(7, 0, 43), "/bc": dir(0, 49, 44), "/odd": dir(0, 50, 45),
		"/gone": dir(0, 51, 46), "/raid": dir(9, 0, 47), "/proc/1": dir(0, 21, 22), "/elsewhere": dir(0, 77, 0),
		"/old":     dir(8, 1, 0), // without STATX_MNT_ID
		"/dev/sda": block(8, 0), "/dev/sda1": block(8, 1), "/dev/nvme0n1p3": block(259, 3), "/dev/zram0": block(252, 0),
		"/dev/loop0": block(7, 0), "/dev/sr9": block(11, 9), "/dev/bad": block(8, 99), "/dev/mapper/vg-root": block(253, 0),
		"/dev/null": {mode: unix.S_IFCHR, rdev: devno{1, 3}},
	}[name]
	if name == "/secret/x" {
		return node{}, unix.EACCES
	}
	if !ok {
		return node{}, unix.ENOENT
	}
	return n, nil
}

func TestDevices(t *testing.T) {
	part := func(disk, part string) string {
		return "held for the whole disk " + disk + ": the kernel does not limit the partition " + part + " alone"
	}
	const list = "name a block device, or a path on the file system that it holds; lsblk lists both"
	const up = "it lies on an overlay, which has no device of its own: what is written goes to "
	for name, want := range map[string]Device{
		"/dev/sda":            {Major: 8, Minor: 0, Name: "sda"},
		"/dev/sda1":           {Major: 8, Minor: 0, Name: "sda", Holes: []string{part("sda", "sda1")}},
		"/boot":               {Major: 8, Minor: 0, Name: "sda", Holes: []string{part("sda", "sda1")}},
		"/old":                {Major: 8, Minor: 0, Name: "sda", Holes: []string{part("sda", "sda1")}},
		"/boot/efi":           {Major: 8, Minor: 0, Name: "sda", Holes: []string{part("sda", "sda2"), "vfat writes back as the host what a job has buffered: of its writes only the direct ones are limited"}},
		"/":                   {Major: 253, Minor: 0, Name: "dm-0", Holes: []string{"held at dm-0 (vg-root): what reaches nvme0n1p3 by other ways is not limited"}},
		"/dev/mapper/vg-root": {Major: 253, Minor: 0, Name: "dm-0", Holes: []string{"held at dm-0 (vg-root): what reaches nvme0n1p3 by other ways is not limited"}},
		"/raid":               {Major: 9, Minor: 0, Name: "md0", Holes: []string{"held at md0: what reaches sdb, sdc by other ways is not limited"}},
		"/home/alice":         {Major: 259, Minor: 0, Name: "nvme0n1", Holes: []string{part("nvme0n1", "nvme0n1p3")}},
		"/snap":               {Major: 7, Minor: 0, Name: "loop0", Holes: []string{"loop0 is the file /var/lib/snapd/snaps/core.snap: the disk that this file lies on is not limited"}},
		"/dev/zram0":          {Major: 252, Minor: 0, Name: "zram0", Holes: []string{"zram0 lies in memory: a limit on it holds no disk"}},

		"/pool":        {Problem: "it lies on a btrfs of 2 devices (sdb, sdc), and a limit is for one", Fix: "give each of them a limit of its own: /dev/sdb, /dev/sdc"},
		"/bc":          {Problem: "it lies on a bcachefs of 2 devices (sdc, sdd), and a limit is for one", Fix: "give each of them a limit of its own: /dev/sdc, /dev/sdd"},
		"/gone":        {Problem: `it lies on a btrfs mounted from "/dev/root", which is no device that can be seen here`, Fix: list},
		"/tank":        {Problem: "it lies on a zfs, whose own threads read and write for every job alike: no limit of a cgroup reaches them", Fix: "leave this limit out, or put what the job writes on a file system of another kind"},
		"/tmp":         {Problem: "it lies on a tmpfs, which is memory and no disk", Fix: "leave this limit out: memory and scratch hold what is written there"},
		"/merged":      {Problem: up + "/srv x/up", Fix: "name that directory, which lies on sda, or /dev/sda itself"},
		"/merged/file": {Problem: up + "/srv x/up", Fix: "name that directory, which lies on sda, or /dev/sda itself"},
		"/ctr":         {Problem: up + "/var/lib/docker/overlay2/1/diff, which cannot be seen here", Fix: "name the device that directory lies on, as the host around this container has it; lsblk lists them"},
		"/only":        {Problem: "it lies on an overlay, which has no device of its own and is only read", Fix: "name the device that its lower directories lie on; lsblk lists them"},
		"/net":         {Problem: "it lies on nfs4, which comes from another machine: there is no block device here", Fix: "leave this limit out, or set one where the files lie"},
		"/ssh":         {Problem: "it lies on a fuse.sshfs, where a program reads and writes for the job, outside of the job's cgroup", Fix: "name the disk or path that the program keeps its files on, and know that its transfers are not the job's: leave this limit out"},
		"/win":         {Problem: "it lies on a fuseblk, where a program reads and writes for the job, outside of the job's cgroup", Fix: "name the disk or path that the program keeps its files on, and know that its transfers are not the job's: leave this limit out"},
		"/proc/1":      {Problem: "it lies on a proc, which the kernel makes up: there is nothing behind it", Fix: list},
		"/odd":         {Problem: "it lies on a frobfs, whose device the kernel does not tell", Fix: list},
		"/elsewhere":   {Problem: "its file system has no device, and /proc/self/mountinfo does not tell which one it is", Fix: list},
		"/missing":     {Problem: "there is no such file or device", Fix: list},
		"/secret/x":    {Problem: "it cannot be looked at: permission denied", Fix: list},
		"/dev/null":    {Problem: "it is a character device, and only block devices have limits of I/O", Fix: list},
		"/dev/sr9":     {Problem: "the kernel has no block device 11:9", Fix: list},
		"/dev/bad":     {Problem: `/sys/dev/block/8:99 leads to "../../../etc/passwd", which is no device`, Fix: "mount a sysfs on /sys"},
	} {
		f := &deviceFinder{fsys: recordedSys(), stat: recordedStat}
		if diff := cmp.Diff(want, f.device(name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestDevicesWithoutSys: nothing is guessed where /sys or /proc is hidden.
func TestDevicesWithoutSys(t *testing.T) {
	hidden := fstest.MapFS{"proc/self/mountinfo": {Data: []byte(recordedMounts)}}
	f := &deviceFinder{fsys: hidden, stat: recordedStat}
	if got, want := f.device("/dev/sda1"), (Device{
		Problem: "/sys/dev/block does not tell whether 8:1 is a disk or a partition: file does not exist", Fix: "mount a sysfs on /sys",
	}); !cmp.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	sys := recordedSys()
	delete(sys, "proc/self/mountinfo")
	f = &deviceFinder{fsys: sys, stat: recordedStat}
	if got := f.device("/home/alice"); got.Problem != "the mount points cannot be read: open proc/self/mountinfo: file does not exist" {
		t.Errorf("got %+v", got)
	}
	sys = recordedSys()
	for name := range sys {
		if strings.HasPrefix(name, "sys/fs/btrfs") {
			delete(sys, name)
		}
	}
	f = &deviceFinder{fsys: sys, stat: recordedStat}
	if got := f.device("/home/alice"); got.Problem != "it lies on a btrfs, and /sys/fs/btrfs does not tell on which devices: file does not exist" {
		t.Errorf("got %+v", got)
	}
}

// TestDevicesHere asks the kernel: the number of a disk is the one of sysfs.
func TestDevicesHere(t *testing.T) {
	missing := t.TempDir() + "/missing"
	found := FindDevices([]string{"/proc", "/dev/null", missing, "/"})
	for name, problem := range map[string]string{
		"/proc": "it lies on a proc,", "/dev/null": "it is a character device,", missing: "there is no such file or device",
	} {
		if !strings.HasPrefix(found[name].Problem, problem) {
			t.Errorf("%s: %+v", name, found[name])
		}
	}
	root := found["/"]
	if root.Problem != "" {
		if root.Fix == "" || root.Name != "" {
			t.Errorf("/ is refused without a fix: %+v", root)
		}
		return
	}
	text, err := os.ReadFile("/sys/class/block/" + root.Name + "/dev")
	if err != nil || strings.TrimSpace(string(text)) != (devno{root.Major, root.Minor}).String() {
		t.Errorf("/ lies on %+v, and sysfs says %q, %v", root, text, err)
	}
	if _, err := os.Stat("/sys/class/block/" + root.Name + "/partition"); err == nil {
		t.Errorf("a partition: %+v", root)
	}
}

// FuzzDevice: whatever mountinfo and sysfs say, there is a device or a problem
// with its fix, never both and never neither.
func FuzzDevice(f *testing.F) {
	for _, line := range strings.SplitAfter(recordedMounts, "\n") {
		f.Add(line, uint32(0), uint32(44), 37, "../../devices/virtual/block/dm-0", "8:0\n", "/dev/sda")
	}
	f.Add(`1 1 0:1 / / rw - overlay o rw,upperdir=/\0`, uint32(0), uint32(1), 1, "..", "x", "a")
	f.Add(`1 1 0:1 / / rw - btrfs /dev/x rw`, uint32(0), uint32(1), 1, "../../devices/x", "8:", "x")
	f.Fuzz(func(t *testing.T, mounts string, major, minor uint32, mount int, link, number, name string) {
		fsys := recordedSys()
		fsys["proc/self/mountinfo"] = &fstest.MapFile{Data: []byte(mounts)}
		fsys["sys/dev/block/8:0"] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte(link)}
		fsys["sys/devices/virtual/block/dm-0/dev"] = &fstest.MapFile{Data: []byte(number)}
		fsys["sys/devices/virtual/block/dm-0/partition"] = &fstest.MapFile{}
		finder := &deviceFinder{fsys: fsys, stat: func(string) (node, error) {
			return node{mode: unix.S_IFDIR, dev: devno{major, minor}, mount: mount}, nil
		}}
		d := finder.device(name)
		if (d.Problem == "") == (d.Name == "") || (d.Problem == "") != (d.Fix == "") {
			t.Errorf("%+v", d)
		}
	})
}
