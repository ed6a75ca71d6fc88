package seccomp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Insn is one instruction of a filter: struct sock_filter of
// include/uapi/linux/filter.h, eight bytes in the byte order of the machine
// (little endian on both architectures).
type Insn struct {
	Code   uint16
	JT, JF uint8
	K      uint32
}

// InsnSize is the size of an instruction in bytes.
const InsnSize = 8

// MaxInsns is the kernel's BPF_MAXINSNS: the longest filter it takes.
const MaxInsns = 4096

// maxFilters bounds the filters of one program. Each costs time on every call.
const maxFilters = 12

// The instructions that brig's filters consist of. libseccomp emits no others,
// and without stores, registers and division nothing can go wrong in one.
const (
	opLoad    = 0x20 // BPF_LD | BPF_W | BPF_ABS
	opAnd     = 0x54 // BPF_ALU | BPF_AND | BPF_K
	opJump    = 0x05 // BPF_JMP | BPF_JA
	opJumpEQ  = 0x15 // BPF_JMP | BPF_JEQ | BPF_K
	opJumpGT  = 0x25 // BPF_JMP | BPF_JGT | BPF_K
	opJumpGE  = 0x35 // BPF_JMP | BPF_JGE | BPF_K
	opJumpSet = 0x45 // BPF_JMP | BPF_JSET | BPF_K
	opReturn  = 0x06 // BPF_RET | BPF_K
)

// Offsets in struct seccomp_data, which is what a filter loads from.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
	dataSize  = 64
)

// ErrProgram is wrapped by every error about a program that is malformed.
var ErrProgram = errors.New("malformed filter program")

// checkInsns makes sure that a filter ends for every input: known instructions,
// aligned loads inside seccomp_data, jumps forward and inside, a return last.
func checkInsns(insns []Insn) error {
	n := len(insns)
	if n == 0 || n > MaxInsns {
		return fmt.Errorf("%w: %d instructions, want 1 to %d", ErrProgram, n, MaxInsns)
	}
	for i, in := range insns {
		left := uint64(n - i - 1)
		ok := true
		switch in.Code {
		case opLoad:
			ok = in.K%4 == 0 && in.K < dataSize && left > 0
		case opAnd:
			ok = left > 0
		case opJump:
			ok = uint64(in.K) < left
		case opJumpEQ, opJumpGT, opJumpGE, opJumpSet:
			ok = uint64(in.JT) < left && uint64(in.JF) < left
		case opReturn:
		default:
			ok = false
		}
		if !ok {
			return fmt.Errorf("%w: instruction %d of %d is {code %#x, jt %d, jf %d, k %#x}",
				ErrProgram, i, n, in.Code, in.JT, in.JF, in.K)
		}
	}
	return nil
}

// AppendInsns appends the instructions as the kernel reads them.
func AppendInsns(dst []byte, insns []Insn) []byte {
	for _, in := range insns {
		dst = binary.LittleEndian.AppendUint16(dst, in.Code)
		dst = append(dst, in.JT, in.JF)
		dst = binary.LittleEndian.AppendUint32(dst, in.K)
	}
	return dst
}

// ParseInsns reads what AppendInsns wrote and checks it: the number of
// instructions, each instruction, each jump.
func ParseInsns(b []byte) ([]Insn, error) {
	if len(b)%InsnSize != 0 || len(b) > MaxInsns*InsnSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrProgram, len(b))
	}
	insns := make([]Insn, len(b)/InsnSize)
	for i := range insns {
		p := b[i*InsnSize:][:InsnSize]
		insns[i] = Insn{
			Code: binary.LittleEndian.Uint16(p),
			JT:   p[2],
			JF:   p[3],
			K:    binary.LittleEndian.Uint32(p[4:]),
		}
	}
	if err := checkInsns(insns); err != nil {
		return nil, err
	}
	return insns, nil
}
