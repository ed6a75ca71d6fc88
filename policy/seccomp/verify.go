package seccomp

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// ErrMismatch is wrapped by Verify's error: the program does something else than
// the profile says.
var ErrMismatch = errors.New("the filter program differs from its profile")

// checkedNumbers is how many system call numbers Verify tries one by one; the
// kernel's numbers end far below.
const checkedNumbers = 1024

// Verify evaluates a program for every system call number, on the native, the
// 32-bit and foreign architectures, at the edges of the number space, and around
// every value that the profile compares an argument with (each neighbour, each
// bit of the mask, the high half), and compares with the profile.
func Verify(p *Profile, c *Compiled) error {
	native, ok := auditArch(p.Arch)
	if !ok || p.None() {
		return fmt.Errorf("%w: there is no program for base %q on %q", ErrMismatch, p.Base, p.Arch)
	}
	if c.Arch != p.Arch || c.Key != p.Key {
		return fmt.Errorf("%w: it is %s %s, want %s %s", ErrMismatch, c.Arch, c.Key, p.Arch, p.Key)
	}
	if len(c.Filters) == 0 || len(c.Filters) > maxFilters {
		return fmt.Errorf("%w: %d filters", ErrMismatch, len(c.Filters))
	}
	for _, f := range c.Filters {
		if err := checkInsns(f); err != nil {
			return err
		}
	}
	v := verifier{p, c, native}
	compat, other := uint32(auditI386), uint32(auditARM64)
	if p.Arch == ARM64 {
		compat, other = auditARM, auditAMD64
	}
	for _, token := range [...]uint32{native, compat, other} {
		if err := v.numbers(token); err != nil {
			return err
		}
	}
	for i := range p.Calls {
		if err := v.arguments(native, &p.Calls[i]); err != nil {
			return err
		}
	}
	return nil
}

type verifier struct {
	p      *Profile
	c      *Compiled
	native uint32
}

// try compares one call.
func (v verifier) try(d *Data) error {
	got, want := Evaluate(v.c.Filters, d), v.p.Decide(d)
	if got == want {
		return nil
	}
	return fmt.Errorf("%w: number %d (%#x) on architecture %#x with arguments %#x: program %v, profile %v",
		ErrMismatch, d.Number, d.Number, d.Arch, d.Args, got, want)
}

// numbers tries all numbers and the edges of the number space.
func (v verifier) numbers(token uint32) error {
	zero := Data{Arch: token}
	ones := Data{Arch: token, IP: math.MaxUint64}
	for i := range ones.Args {
		ones.Args[i] = math.MaxUint64
	}
	for _, d := range [...]*Data{&zero, &ones} {
		if d == &ones && token != v.native {
			break // a foreign number is never looked at
		}
		for _, start := range [...]uint32{0, x32Bit} {
			for n := range uint32(checkedNumbers) {
				d.Number = start + n
				if err := v.try(d); err != nil {
					return err
				}
			}
		}
		for _, n := range [...]uint32{x32Bit - 1, 1 << 16, 1<<31 - 1, 1 << 31, math.MaxUint32 - 1, math.MaxUint32} {
			d.Number = n
			if err := v.try(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// arguments tries a call around every value that its matches compare with: from
// each match that holds, each argument takes each interesting value of any match.
// The calls beside it must not look at their arguments as this one does.
func (v verifier) arguments(token uint32, c *Call) error {
	if len(c.Allows) == 0 && len(c.Denials) == 0 {
		return nil
	}
	matches := append([]Match(nil), c.Allows...)
	for _, d := range c.Denials {
		matches = append(matches, d.Match)
	}
	var values [6][]uint64
	for _, m := range matches {
		for _, a := range m {
			values[a.Index] = append(values[a.Index], interesting(a)...)
		}
	}
	for i := range values {
		slices.Sort(values[i])
		values[i] = slices.Compact(values[i])
	}
	d := Data{Number: c.Number, Arch: token}
	for _, m := range append(matches, nil) {
		for _, noise := range [...]uint64{0, math.MaxUint64} {
			for i := range d.Args {
				d.Args[i] = noise
			}
			for _, a := range m {
				d.Args[a.Index] = holding(a, noise)
			}
			base := d.Args
			for _, number := range [...]uint32{c.Number - 1, c.Number + 1, c.Number} {
				d.Number = number
				if err := v.try(&d); err != nil {
					return err
				}
			}
			if noise != 0 {
				break
			}
			for i := range values {
				for _, value := range values[i] {
					d.Args[i] = value
					if err := v.try(&d); err != nil {
						return err
					}
				}
				d.Args = base
			}
		}
	}
	return nil
}

// holding is a value for which a comparison holds, with noise where it does not
// look.
func holding(a Arg, noise uint64) uint64 {
	switch a.Op {
	case opNE, opGT:
		return a.Value + 1
	case opLT:
		return a.Value - 1
	case opMaskedEQ:
		return a.Value | noise&^a.Mask
	}
	return a.Value
}

// interesting lists the values around which a comparison changes: the value, its
// neighbours, bit 32 and 63, and every bit of a mask.
func interesting(a Arg) []uint64 {
	out := []uint64{a.Value, a.Value + 1, a.Value - 1, a.Value ^ 1<<32, a.Value ^ 1<<63, a.Value &^ (math.MaxUint32 << 32), ^a.Value}
	if a.Op != opMaskedEQ {
		return out
	}
	for mask := a.Mask; mask != 0; mask &= mask - 1 {
		out = append(out, a.Value^1<<bits.TrailingZeros64(mask))
	}
	return append(out, a.Value|^a.Mask)
}
