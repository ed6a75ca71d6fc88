package seccomp

import "math"

// assembler makes a filter of instructions whose jumps lead to labels. A label
// has to be placed behind every jump to it.
type assembler struct {
	items  []item
	places []int // of labels, as positions in items; -1 until placed
}

// label stands for a place in the filter.
type label int

// item is an instruction; a jump's targets are its labels.
type item struct {
	insn   Insn
	jt, jf label
	fixed  bool // the jump is relative already
	long   bool // a branch whose targets are beyond its reach
}

func (a *assembler) label() label {
	a.places = append(a.places, -1)
	return label(len(a.places) - 1)
}

func (a *assembler) here(l label) { a.places[l] = len(a.items) }

func (a *assembler) placed(l label) bool { return a.places[l] >= 0 }

// emit appends instructions that jump, if at all, among themselves.
func (a *assembler) emit(insns ...Insn) {
	for _, in := range insns {
		a.items = append(a.items, item{insn: in, fixed: true})
	}
}

func (a *assembler) jump(l label) {
	a.items = append(a.items, item{insn: Insn{Code: opJump}, jt: l, jf: l})
}

// branch appends a comparison and returns its position in items.
func (a *assembler) branch(in Insn, jt, jf label) int {
	a.items = append(a.items, item{insn: in, jt: jt, jf: jf})
	return len(a.items) - 1
}

// link returns the filter. A branch reaches 255 instructions; a longer one is
// made of jumps, and each makes others longer, so it is tried until all fit.
func (a *assembler) link() []Insn {
	at := make([]int, len(a.items)+1)
	for again := true; again; {
		for i := range a.items {
			at[i+1] = at[i] + a.size(i)
		}
		again = false
		for i := range a.items {
			it := &a.items[i]
			if it.fixed || it.insn.Code == opJump || it.long {
				continue
			}
			if far := max(at[a.places[it.jt]], at[a.places[it.jf]]) - at[i] - 1; far > math.MaxUint8 {
				it.long, again = true, true
			}
		}
	}
	var out []Insn
	for i, it := range a.items {
		if it.fixed {
			out = append(out, it.insn)
			continue
		}
		t, f := at[a.places[it.jt]]-at[i]-1, at[a.places[it.jf]]-at[i]-1
		switch {
		case a.size(i) == 0:
		case it.insn.Code == opJump:
			out = append(out, Insn{Code: opJump, K: uint32(t)})
		case it.long:
			in := it.insn
			in.JT, in.JF = 0, 1
			out = append(out, in, Insn{Code: opJump, K: uint32(t - 1)}, Insn{Code: opJump, K: uint32(f - 2)})
		default:
			in := it.insn
			in.JT, in.JF = uint8(t), uint8(f)
			out = append(out, in)
		}
	}
	return out
}

// size is how many instructions an item becomes. A jump to what follows is none.
func (a *assembler) size(i int) int {
	it := &a.items[i]
	switch {
	case !it.fixed && it.insn.Code == opJump && a.places[it.jt] == i+1:
		return 0
	case it.long:
		return 3
	}
	return 1
}
