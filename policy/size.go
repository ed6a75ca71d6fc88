package policy

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// sizeUnits are the units of a size, largest first. Decimal units are powers
// of 1000, binary ones (with an i) powers of 1024.
var sizeUnits = [...]struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40},
	{"TB", 1e12},
	{"GiB", 1 << 30},
	{"GB", 1e9},
	{"MiB", 1 << 20},
	{"MB", 1e6},
	{"KiB", 1 << 10},
	{"kB", 1e3},
	{"B", 1},
}

// sizeUnitNames is what messages say about units.
const sizeUnitNames = "B, kB, KiB, MB, MiB, GB, GiB, TB or TiB"

// ParseSize reads a size as policies write it: a whole number directly
// followed by its unit ("256MiB"), "0", or "unlimited". A number other than 0
// without a unit is refused, and so is what does not fit into an int64.
func ParseSize(s string) (Size, error) {
	switch s {
	case "unlimited":
		return Unlimited, nil
	case "0":
		return 0, nil
	}
	number, unit := splitNumber(s)
	if err := checkNumber(number); err != nil {
		return 0, err
	}
	if strings.Contains(number, ".") {
		return 0, fmt.Errorf("%s has a fraction; use a smaller unit", quote(number))
	}
	if unit == "" {
		return 0, fmt.Errorf("a unit is missing (did you mean %s?)", quote(number+"B"))
	}
	return scale(number, unit)
}

// ParseDockerSize reads a size as docker's flags write it: a number without a
// unit is bytes, and b, k, m, g and t in either case are binary units. The
// units of ParseSize keep their meaning; a fraction of a byte is cut off.
// Docker reads "GB" as a binary unit; here it is the decimal one that it names.
func ParseDockerSize(s string) (Size, error) {
	if s == "unlimited" {
		return Unlimited, nil
	}
	number, unit := splitNumber(s)
	if err := checkNumber(number); err != nil {
		return 0, err
	}
	switch unit {
	case "", "b":
		unit = "B"
	case "k", "K":
		unit = "KiB"
	case "m", "M":
		unit = "MiB"
	case "g", "G":
		unit = "GiB"
	case "t", "T":
		unit = "TiB"
	}
	return scale(number, unit)
}

// splitNumber cuts a size where its digits end.
func splitNumber(s string) (number, unit string) {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		return s, ""
	}
	return s[:end], s[end:]
}

// checkNumber refuses what is not digits with at most one point among them.
func checkNumber(number string) error {
	whole, fraction, point := strings.Cut(number, ".")
	if whole == "" || point && fraction == "" || strings.Contains(fraction, ".") {
		return fmt.Errorf("it does not begin with a number")
	}
	return nil
}

// scale multiplies a checked number by a unit, in integers.
func scale(number, unit string) (Size, error) {
	var factor int64
	for _, u := range sizeUnits {
		if u.name == unit {
			factor = u.bytes
		}
	}
	if factor == 0 {
		return 0, unitError(unit)
	}
	whole, fraction, _ := strings.Cut(number, ".")
	n, err := strconv.ParseUint(whole, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("it is more than 2^63 bytes")
	}
	high, low := bits.Mul64(n, uint64(factor))
	if fraction != "" {
		// Twelve digits after the point are finer than a byte of any unit.
		fraction = fraction[:min(len(fraction), 12)]
		part, divisor := uint64(0), uint64(1)
		for _, digit := range fraction {
			part, divisor = part*10+uint64(digit-'0'), divisor*10
		}
		h, l := bits.Mul64(part, uint64(factor))
		bytes, _ := bits.Div64(h, l, divisor) // h < divisor, since part < divisor
		var carry uint64
		low, carry = bits.Add64(low, bytes, 0)
		high += carry
	}
	if high != 0 || low >= 1<<63 {
		return 0, fmt.Errorf("it is more than 2^63 bytes")
	}
	return Size(low), nil
}

// unitError explains an unknown unit, with the one that was probably meant.
func unitError(unit string) error {
	for _, u := range sizeUnits {
		if strings.EqualFold(u.name, strings.TrimSpace(unit)) {
			return fmt.Errorf("%s is not a unit (did you mean %q?)", quote(unit), u.name)
		}
	}
	return fmt.Errorf("%s is not a unit", quote(unit))
}

// String writes the size with the largest binary unit that divides it, as
// ParseSize reads it.
func (s Size) String() string {
	switch s {
	case Unlimited:
		return "unlimited"
	case 0:
		return "0"
	}
	for _, u := range sizeUnits {
		binary := u.bytes == 1 || u.name[1] == 'i'
		if binary && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText writes the form of String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseSize reads.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := ParseSize(string(text))
	if err != nil {
		return fmt.Errorf("size %s: %w", quote(string(text)), err)
	}
	*s = v
	return nil
}
