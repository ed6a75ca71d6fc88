package cgroup

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// property is one of a transient unit's, with its D-Bus type; see
// systemd.resource-control(5) for what each means.
type property struct {
	name  string
	kind  string // "s", "b", "t", "au", "ay" or "a(st)"
	value any
}

// deviceRate is an element of "a(st)": a device node and a rate.
type deviceRate struct {
	device string
	rate   uint64
}

// properties are what systemd calls a setting. The order of the entries is
// fixed, so that a request is the same for the same limits.
func (s Setting) properties() ([]property, error) {
	bad := fmt.Errorf("cgroup: %s cannot be a property", s)
	number := func(name string) ([]property, error) {
		n, err := strconv.ParseUint(s.Value, 10, 64)
		if s.Value == "max" {
			n, err = math.MaxUint64, nil
		}
		if err != nil {
			return nil, bad
		}
		return []property{{name, "t", n}}, nil
	}
	set := func(name string) ([]property, error) {
		list, err := members(s.Value)
		if err != nil {
			return nil, bad
		}
		mask := make([]byte, list[len(list)-1]/8+1)
		for _, n := range list {
			mask[n/8] |= 1 << (n % 8)
		}
		return []property{{name, "ay", mask}}, nil
	}
	switch s.File {
	case MemoryMax:
		return number("MemoryMax")
	case MemoryHigh:
		return number("MemoryHigh")
	case MemoryLow:
		return number("MemoryLow")
	case SwapMax:
		return number("MemorySwapMax")
	case PIDsMax:
		return number("TasksMax")
	case CPUWeight:
		return number("CPUWeight")
	case CPUSet:
		return set("AllowedCPUs")
	case CPUSetMems:
		return set("AllowedMemoryNodes")
	case CPUMax:
		quota, period, _ := strings.Cut(s.Value, " ")
		q, err := strconv.ParseUint(quota, 10, 32)
		p, perr := strconv.ParseUint(period, 10, 32)
		if err != nil || perr != nil || p == 0 {
			return nil, bad
		}
		return []property{{"CPUQuotaPerSecUSec", "t", q * 1000000 / p}, {"CPUQuotaPeriodUSec", "t", p}}, nil
	case IOMax:
		return s.ioProperties()
	}
	return nil, bad
}

// ioProperties names the device by the link that udev keeps for its numbers.
func (s Setting) ioProperties() ([]property, error) {
	device, limits, _ := strings.Cut(s.Value, " ")
	names := map[string]string{
		"rbps": "IOReadBandwidthMax", "wbps": "IOWriteBandwidthMax", "riops": "IOReadIOPSMax", "wiops": "IOWriteIOPSMax",
	}
	var list []property
	for _, l := range strings.Fields(limits) {
		key, value, _ := strings.Cut(l, "=")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil || names[key] == "" {
			return nil, fmt.Errorf("cgroup: %s cannot be a property", s)
		}
		list = append(list, property{names[key], "a(st)", []deviceRate{{"/dev/block/" + device, n}}})
	}
	return list, nil
}
