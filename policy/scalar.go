package policy

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// refuse words a problem with a value of the key.
func (k *key) refuse(value, why string) string {
	if why != "" {
		why = ": " + why
	}
	return fmt.Sprintf("%s is not accepted%s; write %s", value, why, k.accepts())
}

// inRange checks a number against the key's bounds.
func (k *key) inRange(n int64) bool { return n >= k.min && n <= k.max }

// setInt stores a TOML integer and says what is wrong with it, or "".
func (k *key) setInt(n int64, dst any) string {
	shown := "the number " + strconv.FormatInt(n, 10)
	if k.kind == kindCPUs {
		return k.setCPUs(float64(n), strconv.FormatInt(n, 10), dst)
	}
	if k.kind == kindWord && n < 0 || k.kind != kindWord && !k.inRange(n) {
		return k.refuse(shown, "")
	}
	switch v := dst.(type) {
	case *uint64:
		*v = uint64(n)
	case *int:
		*v = int(n)
	case *uint:
		*v = uint(n)
	case *uint32:
		*v = uint32(n)
	case *Count:
		*v = Count(n)
	}
	return ""
}

// setCPUs stores a number of CPUs.
func (k *key) setCPUs(n float64, shown string, dst any) string {
	if math.IsNaN(n) || n*100 < float64(k.min) || n*100 > float64(k.max) {
		return k.refuse("the number "+shown, "")
	}
	*dst.(*float64) = n
	return ""
}

// setText stores a value that is written as text: in a TOML string, or in a
// flag. Flags have docker's rules for sizes, and -1 for unlimited.
func (k *key) setText(s string, flag bool, dst any) string {
	if flag && s == "-1" && k.unlimited && k.kind != kindCPUs {
		s = "unlimited"
	}
	if s == "unlimited" && k.isNumeric() && !k.unlimited {
		return k.refuse(quote(s), "")
	}
	var err error
	inRange := true
	switch v := dst.(type) {
	case *Size:
		parse := ParseSize
		if flag {
			parse = ParseDockerSize
		}
		var size Size
		size, err = parse(s)
		if inRange = size == Unlimited || k.inRange(int64(size)); err == nil && inRange {
			*v = size
		}
	case *Duration:
		var d Duration
		d, err = ParseDuration(s)
		if inRange = d == Unlimited || k.inRange(int64(d)); err == nil && inRange {
			*v = d
		}
	case *Count:
		var n Count
		n, err = ParseCount(s)
		if inRange = n == Unlimited || k.inRange(int64(n)); err == nil && inRange {
			*v = n
		}
	case *float64:
		var n float64
		n, err = ParseCPUs(s)
		if err == nil && n != Unlimited {
			return k.setCPUs(n, s, dst)
		}
		if err == nil {
			*v = n
		}
	case *uint64:
		*v, err = parseWord(s)
	case *bool:
		*v, err = parseBool(s)
	case *uint32, *int, *uint:
		n, perr := ParseCount(s)
		if perr == nil {
			return k.setInt(int64(n), dst)
		}
		err = perr
	default:
		return k.setString(s, dst)
	}
	switch {
	case err != nil:
		return k.refuse(quote(s), err.Error())
	case !inRange:
		return k.refuse(quote(s), "")
	}
	return ""
}

// isNumeric reports whether the key could hold "unlimited".
func (k *key) isNumeric() bool {
	switch k.kind {
	case kindSize, kindDuration, kindCount, kindCPUs:
		return true
	default:
		return false
	}
}

// setString stores a string or one of the string types; dst is nil for keys
// that only the reader of the file uses.
func (k *key) setString(s string, dst any) string {
	if len(k.accept) > 0 && !slices.Contains(k.accept, s) {
		problem := k.refuse(quote(s), "")
		if near := Nearest(s, k.accept); near != "" {
			problem += fmt.Sprintf("; did you mean %q?", near)
		}
		return problem
	}
	if k.check != nil {
		if why := k.check(s); why != "" {
			return quote(s) + ": " + why
		}
	}
	switch v := dst.(type) {
	case *string:
		*v = s
	case *LimitsMode:
		*v = LimitsMode(s)
	case *MountType:
		*v = MountType(s)
	case *Access:
		*v = Access(s)
	case *UserMap:
		*v = UserMap(s)
	case *NetworkMode:
		*v = NetworkMode(s)
	}
	return ""
}

// parseWord reads 64 bits in decimal or, after 0x, in hexadecimal.
func parseWord(s string) (uint64, error) {
	digits, base := s, 10
	if hex, ok := strings.CutPrefix(s, "0x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil {
		return 0, fmt.Errorf("it is not a number of 64 bits")
	}
	return n, nil
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("it is neither true nor false")
}
