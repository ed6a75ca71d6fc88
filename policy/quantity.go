package policy

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseDuration reads a length of time as Go writes it ("1m30s"), more than
// 0, or "unlimited".
func ParseDuration(s string) (Duration, error) {
	if s == "unlimited" {
		return Unlimited, nil
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil && isDigits(s):
		return 0, fmt.Errorf("a unit is missing (did you mean %s?)", quote(s+"s"))
	case err != nil:
		return 0, fmt.Errorf("it is not a duration")
	case d <= 0:
		return 0, fmt.Errorf("it is not more than 0")
	}
	return Duration(d), nil
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// String writes the duration as ParseDuration reads it, without parts that
// are zero: "1h", not "1h0m0s".
func (d Duration) String() string {
	if d == Unlimited {
		return "unlimited"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes the form of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration %s: %w", quote(string(text)), err)
	}
	*d = v
	return nil
}

// ParseCount reads a whole number that is not negative, or "unlimited".
func ParseCount(s string) (Count, error) {
	if s == "unlimited" {
		return Unlimited, nil
	}
	if !isDigits(s) {
		return 0, fmt.Errorf("it is not a whole number")
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("it is more than 2^63")
	}
	return Count(n), nil
}

// String writes the count as ParseCount reads it.
func (c Count) String() string {
	if c == Unlimited {
		return "unlimited"
	}
	return strconv.FormatInt(int64(c), 10)
}

// MarshalText writes the form of String.
func (c Count) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what ParseCount reads.
func (c *Count) UnmarshalText(text []byte) error {
	v, err := ParseCount(string(text))
	if err != nil {
		return fmt.Errorf("count %s: %w", quote(string(text)), err)
	}
	*c = v
	return nil
}

// ParseCPUs reads a number of CPUs ("1.5"), or "unlimited", which no negative
// number stands for.
func ParseCPUs(s string) (float64, error) {
	if s == "unlimited" {
		return Unlimited, nil
	}
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) || strings.ContainsAny(s, "xXpP_") || n < 0 {
		return 0, fmt.Errorf("it is not a number of CPUs")
	}
	return n, nil
}

// formatCPUs writes what ParseCPUs reads.
func formatCPUs(n float64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

// formatRLimit writes one side of a Ulimit.
func formatRLimit(n int64) string {
	if n == Unlimited {
		return "unlimited"
	}
	return strconv.FormatInt(n, 10)
}
