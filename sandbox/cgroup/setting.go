package cgroup

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The files that hold limits; see the kernel's admin-guide/cgroup-v2.rst for the
// form of each value.
const (
	CPUMax     = "cpu.max"         // "QUOTA PERIOD" in microseconds
	CPUWeight  = "cpu.weight"      // 1 to 10000
	CPUSet     = "cpuset.cpus"     // "0-1,3"
	CPUSetMems = "cpuset.mems"     // likewise
	MemoryMax  = "memory.max"      // bytes
	MemoryHigh = "memory.high"     // bytes
	MemoryLow  = "memory.low"      // bytes
	SwapMax    = "memory.swap.max" // bytes of swap alone
	OOMGroup   = "memory.oom.group"
	PIDsMax    = "pids.max"
	IOMax      = "io.max" // "MAJOR:MINOR rbps=N wbps=N riops=N wiops=N", a device a write
)

// Setting is a value for one of these files. A file that takes several, such as
// io.max, has several settings.
type Setting struct{ File, Value string }

// String is the setting as plans print it.
func (s Setting) String() string { return s.File + "=" + s.Value }

// ParseSetting reads what String writes.
func ParseSetting(text string) (Setting, error) {
	file, value, ok := strings.Cut(text, "=")
	if !ok || value == "" || !slices.Contains([]string{
		CPUMax, CPUWeight, CPUSet, CPUSetMems, MemoryMax, MemoryHigh, MemoryLow, SwapMax, OOMGroup, PIDsMax, IOMax,
	}, file) {
		return Setting{}, fmt.Errorf("%q is no setting of a control group", text)
	}
	return Setting{file, value}, nil
}

// Controller is the part of a file's name that names its controller.
func (s Setting) Controller() string {
	name, _, _ := strings.Cut(s.File, ".")
	return name
}

// cpuPeriod is the kernel's default period, in microseconds.
const cpuPeriod = 100000

// CPUMaxOf is cpu.max for a number of CPUs. The kernel takes no quota below a
// millisecond.
func CPUMaxOf(cpus float64) string {
	quota := max(int64(cpus*cpuPeriod+0.5), 1000)
	return strconv.FormatInt(quota, 10) + " " + strconv.Itoa(cpuPeriod)
}

// holds tells whether what a file says is what was written to it. The kernel
// rounds bytes down to whole pages and lists the values of all devices.
func (s Setting) holds(said string) bool {
	said = strings.TrimSpace(said)
	switch s.File {
	case MemoryMax, MemoryHigh, MemoryLow, SwapMax:
		want, err := strconv.ParseInt(s.Value, 10, 64)
		got, gerr := strconv.ParseInt(said, 10, 64)
		if err != nil || gerr != nil {
			return s.Value == said
		}
		page := int64(os.Getpagesize())
		return got == want-want%page
	case IOMax:
		device, limits, _ := strings.Cut(s.Value, " ")
		for line := range strings.Lines(said) {
			name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			if name != device {
				continue
			}
			has := strings.Fields(rest)
			return !slices.ContainsFunc(strings.Fields(limits), func(l string) bool { return !slices.Contains(has, l) })
		}
		return false
	case CPUSet, CPUSetMems:
		return sameList(s.Value, said)
	}
	return s.Value == said
}

// sameList compares lists such as "0-1,3" by their members.
func sameList(a, b string) bool {
	x, err := members(a)
	y, yerr := members(b)
	return err == nil && yerr == nil && slices.Equal(x, y)
}

// members are the numbers of a list, sorted.
func members(list string) ([]int, error) {
	var all []int
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 13)
		b, berr := strconv.ParseUint(last, 10, 13)
		if err != nil || berr != nil || a > b {
			return nil, fmt.Errorf("%q is no list of numbers below 8192", list)
		}
		for n := a; n <= b; n++ {
			all = append(all, int(n))
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
