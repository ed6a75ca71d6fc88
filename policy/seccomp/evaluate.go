package seccomp

// Data is what the kernel gives a filter: struct seccomp_data.
type Data struct {
	Number uint32
	Arch   uint32 // AUDIT_ARCH_*
	IP     uint64 // the instruction pointer
	Args   [6]uint64
}

// word is the 32-bit value at a byte offset of struct seccomp_data.
func (d *Data) word(off uint32) uint32 {
	switch off {
	case offNumber:
		return d.Number
	case offArch:
		return d.Arch
	}
	v := d.IP
	if off >= offArgs {
		v = d.Args[(off-offArgs)/8]
	}
	if off%8 != 0 {
		v >>= 32
	}
	return uint32(v)
}

// Evaluate runs the filters as the kernel does when all of them are loaded, in
// the order given: the most restrictive answer wins, and between equal ones that
// of the filter loaded last. Without filters a call is allowed. A filter that
// was not made or checked by this package may be malformed: it kills.
func Evaluate(filters [][]Insn, d *Data) Action {
	result := Allow
	for i := len(filters) - 1; i >= 0; i-- {
		if a := run(filters[i], d); a.restrictive() < result.restrictive() {
			result = a
		}
	}
	return result
}

// run interprets one filter. Jumps only lead forward, so it ends.
func run(insns []Insn, d *Data) Action {
	var acc uint32
	for pc := uint64(0); pc < uint64(len(insns)); pc++ {
		in := insns[pc]
		taken := false
		switch in.Code {
		case opLoad:
			if in.K%4 != 0 || in.K >= dataSize {
				return KillProcess
			}
			acc = d.word(in.K)
			continue
		case opAnd:
			acc &= in.K
			continue
		case opJump:
			pc += uint64(in.K)
			continue
		case opReturn:
			return Action(in.K)
		case opJumpEQ:
			taken = acc == in.K
		case opJumpGT:
			taken = acc > in.K
		case opJumpGE:
			taken = acc >= in.K
		case opJumpSet:
			taken = acc&in.K != 0
		default:
			return KillProcess
		}
		if taken {
			pc += uint64(in.JT)
		} else {
			pc += uint64(in.JF)
		}
	}
	return KillProcess
}
