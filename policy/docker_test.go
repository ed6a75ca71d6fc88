package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/brig-sandbox/brig/policy"
)

// TestDockerOverrides: what docker's flags become.
func TestDockerOverrides(t *testing.T) {
	base := "version = 1\n[[limits.io]]\ndevice = \"/\"\nread_iops = 7\n"
	type list = []policy.Override
	io := func(more ...policy.IOLimit) []policy.IOLimit {
		return append([]policy.IOLimit{{Device: "/", ReadIOPS: 7}}, more...)
	}
	for _, tt := range []struct {
		name      string
		overrides list
		change    func(*policy.Limits)
	}{
		{"shares", list{policy.SetCPUShares("1024", "-c")}, func(l *policy.Limits) { l.CPUWeight = 100 }},
		{"half of them", list{policy.SetCPUShares("512", "-c")}, func(l *policy.Limits) { l.CPUWeight = 50 }},
		{"to the nearest", list{policy.SetCPUShares("1000", "-c")}, func(l *policy.Limits) { l.CPUWeight = 98 }},
		{"the least shares", list{policy.SetCPUShares("2", "-c")}, func(l *policy.Limits) { l.CPUWeight = 1 }},
		{"the most shares", list{policy.SetCPUShares("262144", "-c")}, func(l *policy.Limits) { l.CPUWeight = 10000 }},
		{"quota", list{policy.SetCPUQuota("150000", "--cpu-quota")}, func(l *policy.Limits) { l.CPUs = 1.5 }},
		{"period before quota", list{policy.SetCPUPeriod("20000", "--cpu-period"), policy.SetCPUQuota("5000", "--cpu-quota")}, func(l *policy.Limits) { l.CPUs = 0.25 }},
		{"quota before period", list{policy.SetCPUQuota("5000", "--cpu-quota"), policy.SetCPUPeriod("20000", "--cpu-period")}, func(l *policy.Limits) { l.CPUs = 0.25 }},
		{"no quota", list{policy.SetCPUQuota("-1", "--cpu-quota")}, func(l *policy.Limits) { l.CPUs = policy.Unlimited }},
		{"nodes", list{scalar("limits.cpuset_mems", "0-1")}, func(l *policy.Limits) { l.CPUSetMems = "0-1" }},
		{"reservation", list{scalar("limits.memory_low", "64m")}, func(l *policy.Limits) { l.MemoryLow = 64 << 20 }},
		{"as much swap as none", list{policy.SetMemorySwap("1g", "--memory-swap")}, func(l *policy.Limits) { l.Swap = 0 }},
		{"swap without any memory limit", list{policy.SetMemorySwap("-1", "--memory-swap"), scalar("limits.memory", "-1")}, func(l *policy.Limits) {
			l.Memory, l.Swap = policy.Unlimited, policy.Unlimited
		}},
		{"storage", list{policy.SetStorageOption("size=10m", "--storage-opt")}, func(l *policy.Limits) { l.Scratch = 10 << 20 }},
		{"timeout", list{policy.SetTimeout("90", "--timeout")}, func(l *policy.Limits) { l.WallTime = 90e9 }},
		{"rates of one device", list{
			policy.SetReadBPS("/dev/sda:1m", "--device-read-bps"), policy.SetWriteBPS("/dev/sda:2MB", "--device-write-bps"),
			policy.SetReadIOPS("/dev/sda:3", "--device-read-iops"), policy.SetWriteIOPS("/dev/./sda:4", "--device-write-iops"),
		}, func(l *policy.Limits) {
			l.IO = io(policy.IOLimit{Device: "/dev/sda", ReadBPS: 1 << 20, WriteBPS: 2e6, ReadIOPS: 3, WriteIOPS: 4})
		}},
		{"a rate more for the policy's device", list{policy.SetWriteBPS("/:1m", "--device-write-bps")}, func(l *policy.Limits) {
			l.IO = []policy.IOLimit{{Device: "/", ReadIOPS: 7, WriteBPS: 1 << 20}}
		}},
		{"the last rate counts", list{policy.SetReadIOPS("/:8", "--device-read-iops"), policy.SetReadIOPS("/:9", "--device-read-iops")}, func(l *policy.Limits) {
			l.IO = []policy.IOLimit{{Device: "/", ReadIOPS: 9}}
		}},
		{"relative, and with colons", list{policy.SetReadIOPS("disk:0:by:8", "--device-read-iops"), policy.SetReadIOPS("~/x:9", "--device-read-iops")}, func(l *policy.Limits) {
			l.IO = io(policy.IOLimit{Device: testDir + "/disk:0:by", ReadIOPS: 8}, policy.IOLimit{Device: testHome + "/x", ReadIOPS: 9})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want, _, err := load(base)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&want.Limits)
			got, _, err := load(base, tt.overrides...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("policy (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDockerFaults(t *testing.T) {
	const (
		shares = "; write a whole number from 2 to 262144; 1024 is the default"
		period = "; write a whole number from 1000 to 1000000 of microseconds"
		quota  = "; write a whole number from 1000 to 819200000 of microseconds in each period, or -1 for no limit"
		rates  = "; write a whole number from 1 to "
	)
	type list = []policy.Override
	for _, tt := range []struct {
		overrides list
		want      string
	}{
		{list{policy.SetCPUShares("1", "-c")}, `-c: "1" is not accepted` + shares},
		{list{policy.SetCPUShares("262145", "-c")}, `-c: "262145" is not accepted` + shares},
		{list{policy.SetCPUShares("0", "-c")}, `-c: "0" is not accepted` + shares},
		{list{policy.SetCPUShares("+5", "-c")}, `-c: "+5" is not accepted` + shares},
		{list{policy.SetCPUShares("99999999999999999999", "-c")}, `-c: "99999999999999999999" is not accepted` + shares},
		{list{policy.SetCPUPeriod("999", "--cpu-period")}, `--cpu-period: "999" is not accepted` + period},
		{list{policy.SetCPUPeriod("1000001", "--cpu-period"), policy.SetCPUQuota("5", "--cpu-quota")}, `--cpu-period: "1000001" is not accepted` + period},
		{list{policy.SetCPUPeriod("100000", "--cpu-period")}, `--cpu-period: it is the period of a quota, and there is none: set --cpu-quota, too, or --cpus alone`},
		{list{policy.SetCPUQuota("999", "--cpu-quota")}, `--cpu-quota: "999" is not accepted` + quota},
		{list{policy.SetCPUQuota("0", "--cpu-quota")}, `--cpu-quota: "0" is not accepted` + quota},
		{list{policy.SetCPUQuota("-2", "--cpu-quota")}, `--cpu-quota: "-2" is not accepted` + quota},
		{list{policy.SetCPUQuota("819200001", "--cpu-quota")}, `--cpu-quota: "819200001" is not accepted` + quota},
		{list{policy.SetCPUQuota("1000", "--cpu-quota"), policy.SetCPUPeriod("1000000", "--cpu-period")}, `--cpu-quota: the number 0.001 is not accepted; write a number of CPUs from 0.01 to 8192 such as 1.5, or "unlimited"`},
		{list{policy.SetCPUQuota("100000", "--cpu-quota"), {Key: "limits.cpus", Value: "1", Origin: "--cpus"}}, `--cpu-quota: --cpus says how many CPUs may be used, too: leave out one of the two`},
		{list{policy.SetCPUPeriod("100000", "--cpu-period"), {Key: "limits.cpus", Value: "1", Origin: "--cpus"}}, `--cpu-period: --cpus says how many CPUs may be used, too: leave out one of the two`},
		{list{policy.SetMemorySwap("1500t", "--memory-swap")}, `--memory-swap: 1535999GiB is more swap than there can be, 1024TiB`},
		{list{policy.SetMemorySwap("-2", "--memory-swap")}, `--memory-swap: "-2" is not accepted: it does not begin with a number`},
		{list{{Key: "limits.cpuset_mems", Value: "a", Origin: "--cpuset-mems"}}, `--cpuset-mems: "a": it is not a list like "0-1,3"`},
		{list{{Key: "limits.memory_low", Value: "2g", Origin: "--memory-reservation"}}, `--memory-reservation: limits.memory_low = 2GiB is above limits.memory = 1GiB`},
		{list{policy.SetStorageOption("dm.fs=xfs", "--storage-opt")}, `--storage-opt: "dm.fs=xfs" is not accepted: of these options there is size=SIZE`},
		{list{policy.SetStorageOption("size=1", "--storage-opt")}, `--storage-opt: "1" is not accepted; write a size from 64KiB to 1024TiB ` + size + `"256MiB", or "unlimited"`},
		{list{policy.SetTimeout("1m", "--timeout")}, `--timeout: "1m" is not accepted: it is not a whole number of seconds; --wall-time takes other units`},
		{list{policy.SetReadBPS("/dev/sda", "--device-read-bps")}, `--device-read-bps: "/dev/sda" is not accepted: it is not PATH:SIZE, such as /dev/sda:1MiB`},
		{list{policy.SetWriteIOPS(":5", "--device-write-iops")}, `--device-write-iops: ":5" is not accepted: it is not PATH:COUNT, such as /dev/sda:100`},
		{list{policy.SetReadBPS("/dev/sda:0", "--device-read-bps")}, `--device-read-bps: "0" is not accepted; write a size from 1B to 1024TiB ` + size + `"1MiB"`},
		{list{policy.SetReadBPS("/dev/sda:-1", "--device-read-bps")}, `--device-read-bps: "-1" is not accepted: it does not begin with a number; write a size from 1B to 1024TiB ` + size + `"1MiB"`},
		{list{policy.SetReadBPS("/dev/sda:", "--device-read-bps")}, `--device-read-bps: "" is not accepted: it does not begin with a number; write a size from 1B to 1024TiB ` + size + `"1MiB"`},
		{list{policy.SetWriteBPS("~bob/x:1m", "--device-write-bps")}, `--device-write-bps: "~bob/x:1m" is not accepted: device "~bob/x": only ~ and ~/ are understood, for your own home directory; write ./~bob/x for a file of that name`},
		{list{policy.SetReadIOPS("/dev/sda:1k", "--device-read-iops")}, `--device-read-iops: "1k" is not accepted: it is not a whole number` + rates + `4294967294`},
	} {
		_, _, err := load("version = 1", tt.overrides...)
		if message(err) != tt.want {
			t.Errorf("%v: got\n%v\nwant\n%s", tt.overrides, err, tt.want)
		}
	}
}

// TestDockerOrigins: explain names the flag, whatever it was converted into.
func TestDockerOrigins(t *testing.T) {
	_, o, err := load("version = 1", policy.SetCPUShares("512", "-c"), policy.SetCPUQuota("100000", "--cpu-quota"),
		policy.SetMemorySwap("2g", "--memory-swap"), policy.SetReadBPS("/:1m", "--device-read-bps"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"limits.cpu_weight": "-c", "limits.cpus": "--cpu-quota", "limits.swap": "--memory-swap", "limits.io[/]": "--device-read-bps",
	} {
		if got := o.Of(key).String(); got != want {
			t.Errorf("%s comes from %s, not %s", key, got, want)
		}
	}
}
