// Package libseccomp compiles profiles with libseccomp. It is the only package
// that uses cgo, and only cmd/brig-filterc links it.
//
// libseccomp knows the system calls of its own release. This package gives it
// numbers instead of names, so that newer calls and the other architecture work
// with any release from 2.5: both architectures are little endian with 64-bit
// arguments, and the one instruction that names the architecture is set after.
package libseccomp

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"github.com/brig-sandbox/brig/policy/seccomp"
)

// apiLevel is what the programs need of the kernel they are made for: level 4
// knows SECCOMP_RET_KILL_PROCESS (Linux 4.14) and, in the library, trees. It is
// set so that the kernel of the building machine does not matter.
const apiLevel = 4

// optimizeTree is SCMP_FLTATR_CTL_OPTIMIZE = 2: a binary tree over the numbers.
const optimizeTree = 2

// Compile makes the program of a profile and verifies it. A profile with base
// "none" has none and is an error.
func Compile(p *seccomp.Profile) (*seccomp.Compiled, error) {
	if p.None() {
		return nil, fmt.Errorf("base %q has no program", p.Base)
	}
	if err := libseccomp.SetAPI(apiLevel); err != nil {
		return nil, fmt.Errorf("setting libseccomp's API level to %d (libseccomp 2.5 is needed): %w", apiLevel, err)
	}
	// Of equally strict answers the kernel takes that of the filter loaded last:
	// a denial by argument has its own errno, also where nothing allows the call.
	c := &seccomp.Compiled{Arch: p.Arch, Key: p.Key}
	insns, err := allowances(p)
	if err != nil {
		return nil, err
	}
	c.Filters = append(c.Filters, insns)
	for i := len(p.DenialActions) - 1; i >= 0; i-- {
		insns, err := denials(p, p.DenialActions[i])
		if err != nil {
			return nil, err
		}
		c.Filters = append(c.Filters, insns)
	}
	if err := seccomp.Verify(p, c); err != nil {
		return nil, fmt.Errorf("checking what libseccomp compiled: %w", err)
	}
	if insns, err = seccomp.Fold(c.Filters, p.Arch); err != nil {
		return nil, fmt.Errorf("folding the filters: %w", err)
	}
	c.Filters = [][]seccomp.Insn{insns}
	if err := seccomp.Verify(p, c); err != nil {
		return nil, fmt.Errorf("checking the folded filter: %w", err)
	}
	return c, nil
}

// denials makes the filter that allows everything but what is denied with one
// action for some arguments.
func denials(p *seccomp.Profile, action seccomp.Action) ([]seccomp.Insn, error) {
	return build(p.Arch, seccomp.Allow, func(f *filter) error {
		for _, c := range p.Calls {
			for _, d := range c.Denials {
				if d.Action != action {
					continue
				}
				if err := f.add(&c, action, d.Match); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// allowances makes the filter that denies by default, with the guard before it.
func allowances(p *seccomp.Profile) ([]seccomp.Insn, error) {
	insns, err := build(p.Arch, p.Deny, func(f *filter) error {
		for _, c := range p.Calls {
			if len(c.Allows) == 0 && c.Action != p.Deny {
				if err := f.add(&c, c.Action, nil); err != nil {
					return err
				}
			}
			for _, m := range c.Allows {
				if err := f.add(&c, seccomp.Allow, m); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return seccomp.Guard(p, insns)
}

// filter is one filter context of the library.
type filter struct{ ctx *libseccomp.ScmpFilter }

// build makes one filter and returns its program for arch.
func build(arch string, otherwise seccomp.Action, fill func(*filter) error) ([]seccomp.Insn, error) {
	action, err := scmpAction(otherwise)
	if err != nil {
		return nil, err
	}
	ctx, err := libseccomp.NewFilter(action)
	if err != nil {
		return nil, fmt.Errorf("making a libseccomp filter: %w", err)
	}
	defer ctx.Release()
	if err := ctx.SetBadArchAction(libseccomp.ActKillProcess); err != nil {
		return nil, fmt.Errorf("setting the action for other architectures: %w", err)
	}
	if err := ctx.SetOptimize(optimizeTree); err != nil {
		return nil, fmt.Errorf("asking libseccomp for a tree (2.5 is needed): %w", err)
	}
	if err := fill(&filter{ctx}); err != nil {
		return nil, err
	}
	b, err := export(ctx)
	if err != nil {
		return nil, fmt.Errorf("exporting the filter: %w", err)
	}
	insns, err := seccomp.ParseInsns(b)
	if err != nil {
		return nil, fmt.Errorf("reading what libseccomp exported: %w", err)
	}
	if err := seccomp.SetArch(insns, arch); err != nil {
		return nil, err
	}
	return insns, nil
}

// export brings the program out through a file in memory: only libseccomp 2.6
// can write to memory itself.
func export(ctx *libseccomp.ScmpFilter) (_ []byte, err error) {
	fd, err := unix.MemfdCreate("filter", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	file := os.NewFile(uintptr(fd), "filter")
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := ctx.ExportBPF(file); err != nil {
		return nil, err
	}
	return io.ReadAll(io.NewSectionReader(file, 0, math.MaxInt64))
}

// add adds one rule.
func (f *filter) add(c *seccomp.Call, action seccomp.Action, m seccomp.Match) error {
	a, err := scmpAction(action)
	if err != nil {
		return err
	}
	call := libseccomp.ScmpSyscall(c.Number)
	if len(m) == 0 {
		err = f.ctx.AddRuleExact(call, a)
	} else {
		var conditions []libseccomp.ScmpCondition
		if conditions, err = scmpConditions(m); err == nil {
			err = f.ctx.AddRuleConditionalExact(call, a, conditions)
		}
	}
	if err != nil {
		return fmt.Errorf("giving libseccomp %s %v %v: %w", c.Name, action, m, err)
	}
	return nil
}

// scmpAction translates an action.
func scmpAction(a seccomp.Action) (libseccomp.ScmpAction, error) {
	switch a {
	case seccomp.Allow:
		return libseccomp.ActAllow, nil
	case seccomp.KillProcess:
		return libseccomp.ActKillProcess, nil
	}
	if n, ok := a.IsErrno(); ok && n <= math.MaxInt16 {
		return libseccomp.ActErrno.SetReturnCode(int16(n)), nil
	}
	return libseccomp.ActInvalid, fmt.Errorf("action %v cannot be compiled", a)
}

// scmpConditions translates a match.
func scmpConditions(m seccomp.Match) ([]libseccomp.ScmpCondition, error) {
	ops := map[string]libseccomp.ScmpCompareOp{
		"eq": libseccomp.CompareEqual, "ne": libseccomp.CompareNotEqual,
		"lt": libseccomp.CompareLess, "le": libseccomp.CompareLessOrEqual,
		"gt": libseccomp.CompareGreater, "ge": libseccomp.CompareGreaterEqual,
	}
	out := make([]libseccomp.ScmpCondition, 0, len(m))
	for _, a := range m {
		values := []uint64{a.Value}
		op, ok := ops[a.Op]
		switch {
		case ok:
		case a.Op == "masked_eq":
			op, values = libseccomp.CompareMaskedEqual, []uint64{a.Mask, a.Value}
		default:
			return nil, fmt.Errorf("comparison %q cannot be compiled", a.Op)
		}
		c, err := libseccomp.MakeCondition(a.Index, op, values...)
		if err != nil {
			return nil, fmt.Errorf("comparison %v: %w", a, err)
		}
		out = append(out, c)
	}
	return out, nil
}
