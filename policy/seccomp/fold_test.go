package seccomp

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// argument compares the low half of an argument and goes on or answers.
func argument(i int, k uint32, then, otherwise Action) []Insn {
	return []Insn{
		{Code: opLoad, K: uint32(offArgs + 8*i + 4)},
		{Code: opAnd},
		{Code: opJumpEQ, JF: 3},
		{Code: opLoad, K: uint32(offArgs + 8*i)},
		{Code: opJumpEQ, K: k, JF: 1},
		{Code: opReturn, K: uint32(then)},
		{Code: opReturn, K: uint32(otherwise)},
	}
}

// stack is a filter as libseccomp makes them: each number has its code, the
// rest is answered alike.
func stack(otherwise Action, code map[uint32][]Insn) []Insn {
	f := []Insn{
		{Code: opLoad, K: offArch},
		{Code: opJumpEQ, K: auditAMD64, JT: 1},
		{Code: opReturn, K: uint32(KillProcess)},
		{Code: opLoad, K: offNumber},
	}
	for n, c := range code {
		f = append(f, Insn{Code: opJumpEQ, K: n, JF: uint8(len(c))})
		f = append(f, c...)
	}
	return append(f, Insn{Code: opReturn, K: uint32(otherwise)})
}

func answers(a Action) []Insn { return []Insn{{Code: opReturn, K: uint32(a)}} }

// TestFoldKeepsAnswers folds stacks in which filters agree, disagree, and tie,
// by number and by argument, and compares with the stack.
func TestFoldKeepsAnswers(t *testing.T) {
	e1, e2 := Errno(1), Errno(2)
	stacks := map[string][][]Insn{
		"one":      {stack(e1, map[uint32][]Insn{1: answers(Allow), 2: argument(0, 5, Allow, e2)})},
		"stricter": {stack(Allow, map[uint32][]Insn{1: argument(0, 5, KillProcess, Allow), 2: answers(KillProcess)}), stack(e1, map[uint32][]Insn{1: answers(Allow)})},
		"ties": {
			stack(Allow, map[uint32][]Insn{1: argument(0, 5, e1, Allow), 2: answers(e1), 3: argument(1, 1, e1, e1)}),
			stack(Allow, map[uint32][]Insn{1: answers(e2), 2: argument(0, 5, e2, Allow), 3: argument(0, 5, Allow, e2)}),
		},
		"three": {
			stack(Allow, map[uint32][]Insn{4: argument(0, 1, e1, Allow), 5: argument(0, 1, e1, Allow)}),
			stack(Allow, map[uint32][]Insn{4: argument(1, 1, e2, Allow), 6: argument(2, 7, KillProcess, Allow)}),
			stack(e1, map[uint32][]Insn{4: argument(2, 7, Allow, KillProcess), 5: answers(Allow), 6: answers(Allow), 7: answers(Allow)}),
		},
	}
	wide := map[uint32][]Insn{}
	for n := range uint32(400) {
		wide[2*n] = argument(int(n%6), n, Errno(uint16(n%7+1)), Allow)
	}
	stacks["branches out of reach"] = [][]Insn{stack(e1, wide)}
	for name, filters := range stacks {
		t.Run(name, func(t *testing.T) {
			folded, err := Fold(filters, AMD64)
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(1, 2))
			for range 200_000 {
				d := Data{Arch: auditAMD64, Number: random.Uint32N(12)}
				switch random.IntN(8) {
				case 0:
					d.Arch = auditI386
				case 1:
					d.Number = random.Uint32()
				case 2, 3:
					d.Number = random.Uint32N(1000)
				}
				for i := range d.Args {
					d.Args[i] = uint64(random.Uint32N(9)) | uint64(random.Uint32N(2))<<32
					if d.Number > 12 {
						d.Args[i] = uint64(d.Number/2 + random.Uint32N(2))
					}
				}
				if got, want := Evaluate([][]Insn{folded}, &d), Evaluate(filters, &d); got != want {
					t.Fatalf("%+v: folded %v, stacked %v", d, got, want)
				}
			}
		})
	}
}

func TestFoldRefuses(t *testing.T) {
	open := [][]Insn{{{Code: opLoad, K: offNumber}, {Code: opReturn, K: uint32(Allow)}}}
	for name, c := range map[string]struct {
		filters [][]Insn
		arch    string
	}{
		"a filter for every architecture": {open, AMD64},
		"an unknown architecture":         {[][]Insn{stack(Allow, nil)}, "vax"},
		"a malformed filter":              {[][]Insn{{}}, AMD64},
	} {
		if _, err := Fold(c.filters, c.arch); !errors.Is(err, ErrProgram) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAllowsAlways: a call is not allowed always where an argument decides, where
// one filter of several refuses it, or on another architecture.
func TestAllowsAlways(t *testing.T) {
	filters := [][]Insn{
		stack(Allow, map[uint32][]Insn{1: argument(0, 5, Errno(1), Allow), 2: answers(Allow), 3: answers(Errno(1)), 5: argument(0, 5, Allow, Allow)}),
		stack(Allow, map[uint32][]Insn{4: answers(KillProcess), 6: answers(Action(0x7ffc0000))}),
	}
	for number, want := range map[uint32]bool{0: true, 1: false, 2: true, 3: false, 4: false, 5: false, 6: false} {
		if got := (&Compiled{Arch: AMD64, Filters: filters}).AllowsAlways(number); got != want {
			t.Errorf("number %d: %v, want %v", number, got, want)
		}
	}
	if (&Compiled{Arch: ARM64, Filters: filters}).AllowsAlways(2) || (&Compiled{Filters: filters}).AllowsAlways(2) {
		t.Error("allowed on an architecture that the filters kill")
	}
}
