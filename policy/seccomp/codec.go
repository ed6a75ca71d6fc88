package seccomp

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// Compiled is a program for one architecture: the filters in the order in which
// they are loaded.
type Compiled struct {
	// Arch is "amd64" or "arm64".
	Arch string
	// Key is what the program was compiled from: the value of Key.
	Key string
	// Filters are loaded first to last.
	Filters [][]Insn
}

// AllowsAlways tells whether the program allows a call of its architecture
// whatever its arguments are.
func (c *Compiled) AllowsAlways(number uint32) bool {
	token, ok := auditArch(c.Arch)
	return ok && !slices.ContainsFunc(c.Filters, func(f []Insn) bool {
		at, action := walk(f, token, number)
		return at >= 0 || action != Allow
	})
}

// The file form, little endian:
//
//	8   magic "brigbpf1" (the digit is the version)
//	4   AUDIT_ARCH_* of the architecture
//	4   number of filters, 1 to 12
//	32  key
//	for each filter: 4 number of instructions, then 8 bytes an instruction
//	32  SHA-256 of everything before
const (
	magic      = "brigbpf1"
	headerSize = len(magic) + 4 + 4 + sha256.Size
	maxEncoded = headerSize + maxFilters*(4+MaxInsns*InsnSize) + sha256.Size
)

// The values of seccomp_data.arch (include/uapi/linux/audit.h).
const (
	auditAMD64 = 0xc000_003e
	auditARM64 = 0xc000_00b7
	auditI386  = 0x4000_0003
	auditARM   = 0x4000_0028
)

// auditArch is the kernel's name of an architecture; ok is false when brig has
// no filters for it.
func auditArch(arch string) (token uint32, ok bool) {
	switch arch {
	case AMD64:
		return auditAMD64, true
	case ARM64:
		return auditARM64, true
	}
	return 0, false
}

// MarshalBinary writes the file form. It fails for a program that
// UnmarshalBinary would refuse.
func (c *Compiled) MarshalBinary() ([]byte, error) {
	token, ok := auditArch(c.Arch)
	if !ok {
		return nil, fmt.Errorf("%w: architecture %q", ErrProgram, c.Arch)
	}
	key, err := hex.DecodeString(c.Key)
	if err != nil || len(key) != sha256.Size {
		return nil, fmt.Errorf("%w: key %q is not a SHA-256", ErrProgram, c.Key)
	}
	if n := len(c.Filters); n == 0 || n > maxFilters {
		return nil, fmt.Errorf("%w: %d filters, want 1 to %d", ErrProgram, n, maxFilters)
	}
	b := append(make([]byte, 0, 16<<10), magic...)
	b = binary.LittleEndian.AppendUint32(b, token)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.Filters)))
	b = append(b, key...)
	for _, insns := range c.Filters {
		if err := checkInsns(insns); err != nil {
			return nil, err
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(len(insns)))
		b = AppendInsns(b, insns)
	}
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// UnmarshalBinary reads the file form. It takes nothing but what MarshalBinary
// writes: every length, instruction and the digest are checked, and no byte may
// follow.
func (c *Compiled) UnmarshalBinary(b []byte) error {
	if len(b) < headerSize+sha256.Size || len(b) > maxEncoded {
		return fmt.Errorf("%w: %d bytes", ErrProgram, len(b))
	}
	body, digest := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if string(body[:len(magic)]) != magic {
		return fmt.Errorf("%w: begins with %q, want %q", ErrProgram, body[:len(magic)], magic)
	}
	if sha256.Sum256(body) != [sha256.Size]byte(digest) {
		return fmt.Errorf("%w: the digest does not fit the content", ErrProgram)
	}
	body = body[len(magic):]
	var out Compiled
	switch token := binary.LittleEndian.Uint32(body); token {
	case auditAMD64:
		out.Arch = AMD64
	case auditARM64:
		out.Arch = ARM64
	default:
		return fmt.Errorf("%w: architecture %#x", ErrProgram, token)
	}
	count := binary.LittleEndian.Uint32(body[4:])
	if count == 0 || count > maxFilters {
		return fmt.Errorf("%w: %d filters, want 1 to %d", ErrProgram, count, maxFilters)
	}
	out.Key = hex.EncodeToString(body[8 : 8+sha256.Size])
	body = body[8+sha256.Size:]
	for range count {
		insns, rest, err := cutFilter(body)
		if err != nil {
			return err
		}
		out.Filters, body = append(out.Filters, insns), rest
	}
	if len(body) != 0 {
		return fmt.Errorf("%w: %d bytes too many", ErrProgram, len(body))
	}
	*c = out
	return nil
}

// cutFilter reads one filter from the front of b and returns what follows it.
func cutFilter(b []byte) (insns []Insn, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: cut short", ErrProgram)
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if n > MaxInsns || int(n)*InsnSize > len(b) {
		return nil, nil, fmt.Errorf("%w: a filter of %d instructions in %d bytes", ErrProgram, n, len(b))
	}
	insns, err = ParseInsns(b[:n*InsnSize])
	return insns, b[n*InsnSize:], err
}
