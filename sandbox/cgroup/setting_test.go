package cgroup

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func TestCPUMaxOf(t *testing.T) {
	for cpus, want := range map[float64]string{
		1: "100000 100000", 1.5: "150000 100000", 0.01: "1000 100000", 0.001: "1000 100000", 64: "6400000 100000", 0.333: "33300 100000",
	} {
		if got := CPUMaxOf(cpus); got != want {
			t.Errorf("%v CPUs: %s, want %s", cpus, got, want)
		}
	}
}

func TestParseSetting(t *testing.T) {
	for _, s := range []Setting{{MemoryMax, "1"}, {CPUMax, "1000 100000"}, {IOMax, "8:0 rbps=1 wbps=2"}} {
		if got, err := ParseSetting(s.String()); err != nil || got != s {
			t.Errorf("%s became %v, %v", s, got, err)
		}
	}
	for _, text := range []string{"", "memory.max", "memory.max=", "cgroup.procs=1", "../memory.max=1", "memory.max\n=1"} {
		if got, err := ParseSetting(text); err == nil || err.Error() != fmt.Sprintf("%q is no setting of a control group", text) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// What the kernel says back is recognised in its own form, and nothing else is.
func TestHolds(t *testing.T) {
	for _, tt := range []struct {
		setting Setting
		said    string
		want    bool
	}{
		{Setting{MemoryMax, "67108864"}, "67108864\n", true},
		{Setting{MemoryMax, "67109000"}, "67108864\n", true}, // whole pages
		{Setting{MemoryMax, "67108864"}, "max\n", false},
		{Setting{MemoryMax, "67108864"}, "134217728\n", false},
		{Setting{SwapMax, "0"}, "0\n", true},
		{Setting{SwapMax, "0"}, "max\n", false},
		{Setting{PIDsMax, "16"}, "16\n", true},
		{Setting{PIDsMax, "16"}, "17\n", false},
		{Setting{CPUMax, "150000 100000"}, "150000 100000\n", true},
		{Setting{CPUMax, "150000 100000"}, "max 100000\n", false},
		{Setting{CPUSet, "0,1"}, "0-1\n", true},
		{Setting{CPUSet, "0-1"}, "\n", false},
		{Setting{CPUSet, "0-3"}, "0-1\n", false},
		{Setting{IOMax, "8:0 rbps=1000"}, "8:16 rbps=1000 wbps=max\n8:0 rbps=1000 wbps=max riops=max wiops=max\n", true},
		{Setting{IOMax, "8:0 rbps=1000"}, "8:16 rbps=1000 wbps=max\n", false},
		{Setting{IOMax, "8:0 rbps=1000 wiops=5"}, "8:0 rbps=1000 wbps=max riops=max wiops=max\n", false},
	} {
		if got := tt.setting.holds(tt.said); got != tt.want {
			t.Errorf("%s against %q: %v", tt.setting, tt.said, got)
		}
	}
}

func TestProperties(t *testing.T) {
	for _, tt := range []struct {
		setting Setting
		want    string
	}{
		{Setting{MemoryMax, "1048576"}, "[{MemoryMax t 1048576}]"},
		{Setting{MemoryHigh, "1"}, "[{MemoryHigh t 1}]"},
		{Setting{MemoryLow, "2"}, "[{MemoryLow t 2}]"},
		{Setting{SwapMax, "max"}, fmt.Sprintf("[{MemorySwapMax t %d}]", uint64(math.MaxUint64))},
		{Setting{PIDsMax, "17"}, "[{TasksMax t 17}]"},
		{Setting{CPUWeight, "200"}, "[{CPUWeight t 200}]"},
		{Setting{CPUMax, "150000 100000"}, "[{CPUQuotaPerSecUSec t 1500000} {CPUQuotaPeriodUSec t 100000}]"},
		{Setting{CPUSet, "0-1,9"}, "[{AllowedCPUs ay [3 2]}]"},
		{Setting{CPUSetMems, "0"}, "[{AllowedMemoryNodes ay [1]}]"},
		{Setting{IOMax, "8:16 rbps=1 wiops=2"}, "[{IOReadBandwidthMax a(st) [{/dev/block/8:16 1}]} {IOWriteIOPSMax a(st) [{/dev/block/8:16 2}]}]"},
		{Setting{MemoryMax, "x"}, ""},
		{Setting{CPUMax, "1 0"}, ""},
		{Setting{CPUSet, "9-1"}, ""},
		{Setting{IOMax, "8:0 speed=1"}, ""},
		{Setting{OOMGroup, "1"}, ""}, // of leaves only
	} {
		got, err := tt.setting.properties()
		if tt.want == "" {
			if want := "cgroup: " + tt.setting.String() + " cannot be a property"; err == nil || err.Error() != want {
				t.Errorf("%s: %v, %v", tt.setting, got, err)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != tt.want {
			t.Errorf("%s: %v, %v, want %s", tt.setting, got, err, tt.want)
		}
		var e encoder
		if err := e.properties(got); err != nil {
			t.Error(err)
		}
	}
}

func TestMembers(t *testing.T) {
	if got, err := members("3,0-1,1"); err != nil || !slices.Equal(got, []int{0, 1, 3}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "x", "1-", "2-1", "9999"} {
		if got, err := members(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}
