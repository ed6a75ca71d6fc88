package policy

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
)

// Docker's and podman's flags for limits whose values are not those of a
// policy's keys: each is converted, or refused with the reason.

// The keys of those overrides.
const (
	overrideShares    = "limits.cpu_shares"
	overridePeriod    = "limits.cpu_period"
	overrideQuota     = "limits.cpu_quota"
	overrideSwapTotal = "limits.memory_swap"
	overrideStorage   = "limits.storage_option"
	overrideTimeout   = "limits.timeout"
	// overrideRate is followed by a key of [[limits.io]].
	overrideRate = "limits.io."
)

// Docker's ranges: shares of CPU as cgroup v1 had them, and the kernel's for
// the period and quota of the CPU bandwidth controller, in microseconds
// (Documentation/scheduler/sched-bwc.rst).
const (
	minShares, maxShares = 2, 262144
	minPeriod, maxPeriod = 1000, 1000000
	minQuota             = 1000
	defaultPeriod        = 100000
)

// SetCPUShares is docker's --cpu-shares, 2 to 262144 with 1024 for the default:
// the CPU weight is shares × 100 / 1024, so that 1024 beside 512 get 2:1. What
// is beyond the kernel's weights of 1 to 10000 gets the nearest.
func SetCPUShares(shares, flag string) Override { return Override{overrideShares, shares, flag} }

// SetCPUQuota is docker's --cpu-quota: microseconds of CPU time in every
// period, at least 1000, or -1 for no limit. Together with the period it
// becomes limits.cpus, and beside --cpus it is refused.
func SetCPUQuota(quota, flag string) Override { return Override{overrideQuota, quota, flag} }

// SetCPUPeriod is docker's --cpu-period: what the quota is of, 1000 to 1000000
// microseconds, 100000 where it is not given.
func SetCPUPeriod(period, flag string) Override { return Override{overridePeriod, period, flag} }

// SetMemorySwap is docker's --memory-swap: memory and swap together, or -1.
// It is converted when every other override has been applied.
func SetMemorySwap(total, flag string) Override { return Override{overrideSwapTotal, total, flag} }

// SetReadBPS is docker's --device-read-bps, PATH:SIZE: bytes read in a second
// from the device that PATH names, or that the file system of PATH lies on.
// Flags about one device are one entry of limits.io, and change a policy's.
func SetReadBPS(rate, flag string) Override { return Override{overrideRate + "read_bps", rate, flag} }

// SetWriteBPS is docker's --device-write-bps, PATH:SIZE; see SetReadBPS.
func SetWriteBPS(rate, flag string) Override {
	return Override{overrideRate + "write_bps", rate, flag}
}

// SetReadIOPS is docker's --device-read-iops, PATH:COUNT: reads in a second;
// see SetReadBPS.
func SetReadIOPS(rate, flag string) Override { return Override{overrideRate + "read_iops", rate, flag} }

// SetWriteIOPS is docker's --device-write-iops, PATH:COUNT; see SetReadBPS.
func SetWriteIOPS(rate, flag string) Override {
	return Override{overrideRate + "write_iops", rate, flag}
}

// SetStorageOption is docker's --storage-opt, of which there is size=SIZE: the
// space of the writable layer, limits.scratch.
func SetStorageOption(option, flag string) Override { return Override{overrideStorage, option, flag} }

// SetTimeout is podman's --timeout: limits.wall_time in whole seconds.
func SetTimeout(seconds, flag string) Override { return Override{overrideTimeout, seconds, flag} }

// docker applies one of the overrides above and says what is wrong with it; ok
// is false for any other override.
func (o *overrider) docker(ov Override) (problem string, ok bool) {
	switch ov.Key {
	case overrideShares:
		return o.shares(ov), true
	case overrideSwapTotal:
		o.swap = &ov
	case overridePeriod:
		o.period = &ov
	case overrideQuota:
		o.quota = &ov
	case overrideStorage:
		size, isSize := strings.CutPrefix(ov.Value, "size=")
		if !isSize {
			return quote(ov.Value) + " is not accepted: of these options there is size=SIZE", true
		}
		return o.scalar("limits.scratch", size, ov.Origin), true
	case overrideTimeout:
		if !isDigits(ov.Value) {
			return quote(ov.Value) + " is not accepted: it is not a whole number of seconds; --wall-time takes other units", true
		}
		return o.scalar("limits.wall_time", ov.Value+"s", ov.Origin), true
	default:
		name, isRate := strings.CutPrefix(ov.Key, overrideRate)
		if !isRate {
			return "", false
		}
		return o.rate(name, ov), true
	}
	return "", true
}

// converted applies the overrides that depend on others, when all are known.
func (o *overrider) converted() {
	if o.swap != nil {
		if problem := o.swapTotal(); problem != "" {
			o.fault(*o.swap, problem)
		}
	}
	if at, problem := o.bandwidth(); problem != "" {
		o.fault(*at, problem)
	}
}

func (o *overrider) shares(ov Override) string {
	shares, problem := dockerNumber(ov.Value, minShares, maxShares, "; 1024 is the default")
	if problem != "" {
		return problem
	}
	weight := math.Round(float64(shares) * 100 / 1024)
	o.policy.Limits.CPUWeight = Count(min(max(weight, 1), 10000))
	o.origins.setFlag("limits.cpu_weight", ov.Origin)
	return ""
}

// dockerNumber reads a whole number in a range.
func dockerNumber(s string, lowest, highest int64, more string) (int64, string) {
	n, err := strconv.ParseInt(s, 10, 64)
	if !isDigits(s) || err != nil || n < lowest || n > highest {
		return 0, fmt.Sprintf("%s is not accepted; write a whole number from %d to %d%s", quote(s), lowest, highest, more)
	}
	return n, ""
}

// bandwidth converts docker's period and quota into a number of CPUs, and says
// what is wrong with which of them.
func (o *overrider) bandwidth() (at *Override, problem string) {
	period := int64(defaultPeriod)
	if o.period != nil {
		if period, problem = dockerNumber(o.period.Value, minPeriod, maxPeriod, " of microseconds"); problem != "" {
			return o.period, problem
		}
	}
	at = o.quota
	if at == nil {
		at = o.period
	}
	switch {
	case at == nil:
		return nil, ""
	case o.cpus != nil:
		return at, o.cpus.Origin + " says how many CPUs may be used, too: leave out one of the two"
	case o.quota == nil:
		return at, "it is the period of a quota, and there is none: set --cpu-quota, too, or --cpus alone"
	case at.Value == "-1" || at.Value == "unlimited":
		return at, o.scalar("limits.cpus", "unlimited", at.Origin)
	}
	quota, problem := dockerNumber(at.Value, minQuota, maxCPUs*period, " of microseconds in each period, or -1 for no limit")
	if problem != "" {
		return at, problem
	}
	return at, o.scalar("limits.cpus", formatCPUs(float64(quota)/float64(period)), at.Origin)
}

// swapTotal converts docker's total of memory and swap into swap.
func (o *overrider) swapTotal() string {
	limits := &o.policy.Limits
	total, err := ParseDockerSize(o.swap.Value)
	switch {
	case o.swap.Value == "-1" || err == nil && total == Unlimited:
		limits.Swap = Unlimited
	case err != nil:
		return fmt.Sprintf("%s is not accepted: %s", quote(o.swap.Value), err)
	case limits.Memory == Unlimited:
		return "it is the total of memory and swap, and the memory is unlimited: set --memory, too"
	case total < limits.Memory:
		return fmt.Sprintf("the total of memory and swap, %s, is less than the memory, %s", total, limits.Memory)
	case total-limits.Memory > maxSize:
		return fmt.Sprintf("%s is more swap than there can be, %s", total-limits.Memory, Size(maxSize))
	default:
		limits.Swap = total - limits.Memory
	}
	o.origins.setFlag("limits.swap", o.swap.Origin)
	return ""
}

// rate sets one rate of one device: the key of [[limits.io]] that name is.
func (o *overrider) rate(name string, ov Override) string {
	field := ioTable.find(name)
	what := "SIZE"
	if field.kind == kindCount {
		what = "COUNT"
	}
	// A path may hold colons, a rate has none.
	colon := strings.LastIndexByte(ov.Value, ':')
	if colon <= 0 {
		return fmt.Sprintf("%s is not accepted: it is not PATH:%s, such as /dev/sda:%s", quote(ov.Value), what, strings.Trim(field.example, `"`))
	}
	device, value := ov.Value[:colon], ov.Value[colon+1:]
	if why := checkPath(device); why != "" {
		return fmt.Sprintf("%s is not accepted: device %s: %s", quote(ov.Value), quote(device), why)
	}
	limit := IOLimit{Device: anchor(o.opts.Dir, o.opts.HomeDir, device)}
	if !path.IsAbs(limit.Device) {
		return relative(limit.Device).Problem
	}
	for _, l := range o.policy.Limits.IO {
		if l.Device == limit.Device {
			limit = l
		}
	}
	if problem := field.setText(value, true, field.field(&limit)); problem != "" {
		return problem
	}
	mergeIO(&o.policy.Limits.IO, limit)
	o.origins.setFlag(ioKey(limit.Device), ov.Origin)
	return ""
}
