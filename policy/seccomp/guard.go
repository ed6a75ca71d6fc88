package seccomp

import (
	"fmt"
	"math"
)

// SetArch makes a filter that libseccomp compiled for the architecture of the
// building machine one for arch. Such a filter begins by loading the
// architecture and comparing it; the compared value is replaced.
func SetArch(insns []Insn, arch string) error {
	token, ok := auditArch(arch)
	if !ok {
		return fmt.Errorf("%w: architecture %q", ErrProgram, arch)
	}
	if len(insns) < 2 || insns[0] != (Insn{Code: opLoad, K: offArch}) || insns[1].Code != opJumpEQ ||
		(insns[1].K != auditAMD64 && insns[1].K != auditARM64) {
		return fmt.Errorf("%w: it does not begin with a test of the architecture", ErrProgram)
	}
	insns[1].K = token
	return nil
}

// Guard puts the profile's answer to numbers without a name before the filter
// that denies by default, as runc does: ENOSYS for those that are newer than
// brig, so that C libraries fall back; an end to the process for x32.
func Guard(p *Profile, insns []Insn) ([]Insn, error) {
	token, ok := auditArch(p.Arch)
	if !ok {
		return nil, fmt.Errorf("%w: architecture %q", ErrProgram, p.Arch)
	}
	guarded := append([]Insn{
		{Code: opLoad, K: offArch},
		{Code: opJumpEQ, K: token, JF: 6}, // the filter itself kills others
		{Code: opLoad, K: offNumber},
		{Code: opJumpGT, K: p.Highest, JF: 4},
		{Code: opJumpEQ, K: math.MaxUint32, JT: 2}, // what a tracer sets to skip a call
		{Code: opJumpGE, K: x32Bit, JF: 1},
		{Code: opReturn, K: uint32(KillProcess)},
		{Code: opReturn, K: uint32(errNoSys)},
	}, insns...)
	if err := checkInsns(guarded); err != nil {
		return nil, err
	}
	return guarded, nil
}
