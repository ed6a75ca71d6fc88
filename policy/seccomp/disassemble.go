package seccomp

import (
	"fmt"
	"strings"
)

// Disassemble is the program as text, an instruction a line, with jumps by the
// number of the instruction they lead to.
func (c *Compiled) Disassemble() string {
	var b strings.Builder
	fmt.Fprintf(&b, "arch %s, key %s\n", c.Arch, c.Key)
	for i, insns := range c.Filters {
		fmt.Fprintf(&b, "\nfilter %d of %d, %d instructions\n", i+1, len(c.Filters), len(insns))
		for pc, in := range insns {
			fmt.Fprintf(&b, "%4d  %s\n", pc, in.text(pc))
		}
	}
	return b.String()
}

// text is one instruction at place pc.
func (in Insn) text(pc int) string {
	jump := func(name string) string {
		return fmt.Sprintf("%s %#x goto %d else %d", name, in.K, pc+1+int(in.JT), pc+1+int(in.JF))
	}
	switch in.Code {
	case opLoad:
		return "load " + field(in.K)
	case opAnd:
		return fmt.Sprintf("and %#x", in.K)
	case opJump:
		return fmt.Sprintf("goto %d", pc+1+int(in.K))
	case opJumpEQ:
		return jump("if ==")
	case opJumpGT:
		return jump("if >")
	case opJumpGE:
		return jump("if >=")
	case opJumpSet:
		return jump("if &")
	case opReturn:
		return "return " + Action(in.K).String()
	}
	return fmt.Sprintf("unknown %#x", in.Code)
}

// field names the word of struct seccomp_data at an offset.
func field(off uint32) string {
	half := "low"
	if off%8 != 0 {
		half = "high"
	}
	switch {
	case off == offNumber:
		return "number"
	case off == offArch:
		return "arch"
	case off < offArgs:
		return "ip." + half
	}
	return fmt.Sprintf("arg%d.%s", (off-offArgs)/8, half)
}
