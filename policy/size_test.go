package policy_test

import (
	"testing"
	"time"

	"github.com/brig-sandbox/brig/policy"
)

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		in            string
		policy        policy.Size
		docker        policy.Size
		perr, dockErr string
	}{
		{in: "0"},
		{in: "unlimited", policy: policy.Unlimited, docker: policy.Unlimited},
		{in: "1B", policy: 1, docker: 1},
		{in: "2kB", policy: 2000, docker: 2000},
		{in: "2KiB", policy: 2048, docker: 2048},
		{in: "3MB", policy: 3e6, docker: 3e6},
		{in: "3MiB", policy: 3 << 20, docker: 3 << 20},
		{in: "4GB", policy: 4e9, docker: 4e9},
		{in: "4GiB", policy: 4 << 30, docker: 4 << 30},
		{in: "5TB", policy: 5e12, docker: 5e12},
		{in: "5TiB", policy: 5 << 40, docker: 5 << 40},
		{in: "9223372036854775807B", policy: 1<<63 - 1, docker: 1<<63 - 1},
		{in: "9223372036854775808B", perr: "it is more than 2^63 bytes", dockErr: "it is more than 2^63 bytes"},
		{in: "8388608TiB", perr: "it is more than 2^63 bytes", dockErr: "it is more than 2^63 bytes"},
		{in: "16777216TiB", perr: "it is more than 2^63 bytes", dockErr: "it is more than 2^63 bytes"},
		{in: "8388607TiB", policy: 8388607 << 40, docker: 8388607 << 40},
		{in: "64", perr: `a unit is missing (did you mean "64B"?)`, docker: 64},
		{in: "64b", perr: `"b" is not a unit (did you mean "B"?)`, docker: 64},
		{in: "64K", perr: `"K" is not a unit`, docker: 64 << 10},
		{in: "64m", perr: `"m" is not a unit`, docker: 64 << 20},
		{in: "64G", perr: `"G" is not a unit`, docker: 64 << 30},
		{in: "2t", perr: `"t" is not a unit`, docker: 2 << 40},
		{in: "64mb", perr: `"mb" is not a unit (did you mean "MB"?)`, dockErr: `"mb" is not a unit (did you mean "MB"?)`},
		{in: "1.5GiB", perr: `"1.5" has a fraction; use a smaller unit`, docker: 3 << 29},
		{in: "1.5g", perr: `"1.5" has a fraction; use a smaller unit`, docker: 3 << 29},
		{in: "0.1k", perr: `"0.1" has a fraction; use a smaller unit`, docker: 102},
		{in: "8388607.9999999999999999TiB", perr: `"8388607.9999999999999999" has a fraction; use a smaller unit`, docker: 8388607<<40 + 1<<40 - 2},
		{in: "", perr: "it does not begin with a number", dockErr: "it does not begin with a number"},
		{in: "MiB", perr: "it does not begin with a number", dockErr: "it does not begin with a number"},
		{in: "-1", perr: "it does not begin with a number", dockErr: "it does not begin with a number"},
		{in: "+1B", perr: "it does not begin with a number", dockErr: "it does not begin with a number"},
		{in: ".5g", perr: "it does not begin with a number", dockErr: "it does not begin with a number"},
		{in: "1..5g", perr: "it does not begin with a number", dockErr: "it does not begin with a number"},
		{in: "1 MiB", perr: `" MiB" is not a unit (did you mean "MiB"?)`, dockErr: `" MiB" is not a unit (did you mean "MiB"?)`},
		{in: "1MiB ", perr: `"MiB " is not a unit (did you mean "MiB"?)`, dockErr: `"MiB " is not a unit (did you mean "MiB"?)`},
		{in: "1e3B", perr: `"e3B" is not a unit`, dockErr: `"e3B" is not a unit`},
		{in: "0x10B", perr: `"x10B" is not a unit`, dockErr: `"x10B" is not a unit`},
		{in: "1\x1b[31m", perr: `"\x1b[31m" is not a unit`, dockErr: `"\x1b[31m" is not a unit`},
	} {
		got, err := policy.ParseSize(tt.in)
		if message(err) != tt.perr || err == nil && got != tt.policy {
			t.Errorf("ParseSize(%q) = %d, %q; want %d, %q", tt.in, got, message(err), tt.policy, tt.perr)
		}
		got, err = policy.ParseDockerSize(tt.in)
		if message(err) != tt.dockErr || err == nil && got != tt.docker {
			t.Errorf("ParseDockerSize(%q) = %d, %q; want %d, %q", tt.in, got, message(err), tt.docker, tt.dockErr)
		}
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestSizeString(t *testing.T) {
	for n, want := range map[policy.Size]string{
		0: "0", 1: "1B", 1000: "1000B", 1024: "1KiB", 1536: "1536B", 5 << 40: "5TiB", 1<<63 - 1: "9223372036854775807B",
		policy.Unlimited: "unlimited",
	} {
		if got := n.String(); got != want {
			t.Errorf("Size(%d) = %q, want %q", int64(n), got, want)
		}
	}
}

func TestDurationText(t *testing.T) {
	for in, want := range map[string]struct {
		d    policy.Duration
		text string
	}{
		"10s":       {policy.Duration(10 * time.Second), "10s"},
		"60s":       {policy.Duration(time.Minute), "1m"},
		"1h":        {policy.Duration(time.Hour), "1h"},
		"1h0m5s":    {policy.Duration(time.Hour + 5*time.Second), "1h0m5s"},
		"90m":       {policy.Duration(90 * time.Minute), "1h30m"},
		"1.5ms":     {policy.Duration(1500 * time.Microsecond), "1.5ms"},
		"unlimited": {policy.Unlimited, "unlimited"},
	} {
		var d policy.Duration
		if err := d.UnmarshalText([]byte(in)); err != nil || d != want.d {
			t.Errorf("%q = %d, %v; want %d", in, d, err, want.d)
		}
		if text, err := d.MarshalText(); err != nil || string(text) != want.text {
			t.Errorf("%q is written %q, %v; want %q", in, text, err, want.text)
		}
	}
	for in, want := range map[string]string{
		"":     `duration "": it is not a duration`,
		"10":   `duration "10": a unit is missing (did you mean "10s"?)`,
		"0s":   `duration "0s": it is not more than 0`,
		"-1s":  `duration "-1s": it is not more than 0`,
		"-1":   `duration "-1": it is not a duration`,
		"1d":   `duration "1d": it is not a duration`,
		"1e9h": `duration "1e9h": it is not a duration`,
	} {
		var d policy.Duration
		if err := d.UnmarshalText([]byte(in)); message(err) != want {
			t.Errorf("%q: got %q, want %q", in, message(err), want)
		}
	}
}

func TestCountText(t *testing.T) {
	for in, want := range map[string]policy.Count{"0": 0, "64": 64, "unlimited": policy.Unlimited} {
		var n policy.Count
		if err := n.UnmarshalText([]byte(in)); err != nil || n != want || n.String() != in {
			t.Errorf("%q = %v, %v; want %v", in, n, err, want)
		}
	}
	for in, want := range map[string]string{
		"-1":                  `count "-1": it is not a whole number`,
		"1.0":                 `count "1.0": it is not a whole number`,
		"9223372036854775808": `count "9223372036854775808": it is more than 2^63`,
	} {
		var n policy.Count
		if err := n.UnmarshalText([]byte(in)); message(err) != want {
			t.Errorf("%q: got %q, want %q", in, message(err), want)
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"0", "1B", "256MiB", "1.5g", "9223372036854775807B", "18446744073709551616", "unlimited", "0.000000000000000001TiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		size, err := policy.ParseSize(in)
		if err == nil {
			if again, err := policy.ParseSize(size.String()); err != nil || again != size {
				t.Errorf("%q = %d, but %q = %d, %v", in, size, size, again, err)
			}
		}
		docker, dockErr := policy.ParseDockerSize(in)
		if dockErr == nil && docker < policy.Unlimited {
			t.Errorf("%q = %d", in, docker)
		}
		if err == nil && (dockErr != nil || docker != size) {
			t.Errorf("%q is %d in a policy and %d, %v in a flag", in, size, docker, dockErr)
		}
	})
}
