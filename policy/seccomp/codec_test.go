package seccomp

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"
)

// sample is a small program with every kind of instruction.
func sample() *Compiled {
	return &Compiled{
		Arch: AMD64,
		Key:  strings.Repeat("0f", sha256.Size),
		Filters: [][]Insn{
			{
				{Code: opLoad, K: offArch},
				{Code: opJumpEQ, K: auditAMD64, JF: 6},
				{Code: opLoad, K: offNumber},
				{Code: opJumpGT, K: 471, JT: 3},
				{Code: opJumpGE, K: 100, JF: 1},
				{Code: opJump, K: 1},
				{Code: opReturn, K: uint32(Allow)},
				{Code: opReturn, K: uint32(Errno(38))},
				{Code: opReturn, K: uint32(KillProcess)},
			},
			{
				{Code: opLoad, K: offArgs + 12},
				{Code: opAnd, K: 0xff},
				{Code: opJumpSet, K: 3, JT: 1},
				{Code: opReturn, K: uint32(Allow)},
				{Code: opReturn, K: uint32(Errno(1))},
			},
		},
	}
}

func encoded(t testing.TB, c *Compiled) []byte {
	t.Helper()
	b, err := c.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestProgramSurvivesTheFile(t *testing.T) {
	want := sample()
	var got Compiled
	if err := got.UnmarshalBinary(encoded(t, want)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, &got); d != "" {
		t.Error(d)
	}
}

// TestEveryChangedByteIsFound flips each byte, cuts at each length, appends.
func TestEveryChangedByteIsFound(t *testing.T) {
	good := encoded(t, sample())
	var c Compiled
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if err := c.UnmarshalBinary(b); !errors.Is(err, ErrProgram) {
			t.Errorf("byte %d: %v", i, err)
		}
		if err := c.UnmarshalBinary(good[:i]); !errors.Is(err, ErrProgram) {
			t.Errorf("length %d: %v", i, err)
		}
	}
	if err := c.UnmarshalBinary(append(bytes.Clone(good), 0)); !errors.Is(err, ErrProgram) {
		t.Errorf("a byte too many: %v", err)
	}
}

// resealed changes a program's file and gives it a digest that fits.
func resealed(b []byte, change func([]byte) []byte) []byte {
	b = change(bytes.Clone(b[:len(b)-sha256.Size]))
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func TestMalformedProgramsAreRefused(t *testing.T) {
	const filters = 8 + 4 + 4 + 32
	put := func(off int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[off:], v); return b }
	}
	insn := func(i int, in Insn) func([]byte) []byte {
		return func(b []byte) []byte {
			copy(b[filters+4+i*InsnSize:], AppendInsns(nil, []Insn{in}))
			return b
		}
	}
	tests := map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"other architecture":    {put(8, 0x28), "architecture 0x28"},
		"no filter":             {put(12, 0), "0 filters, want 1 to 12"},
		"too many filters":      {put(12, 13), "13 filters, want 1 to 12"},
		"a filter missing":      {put(12, 3), "cut short"},
		"a filter too many":     {put(12, 1), "44 bytes too many"},
		"too long":              {put(filters, MaxInsns+1), "a filter of 4097 instructions in 116 bytes"},
		"longer than the file":  {put(filters, 4096), "a filter of 4096 instructions in 116 bytes"},
		"empty":                 {put(filters, 0), "0 instructions, want 1 to 4096"},
		"unknown instruction":   {insn(0, Insn{Code: 0x01}), "instruction 0 of 9 is {code 0x1, jt 0, jf 0, k 0x0}"},
		"load outside":          {insn(0, Insn{Code: opLoad, K: 64}), "instruction 0 of 9 is {code 0x20, jt 0, jf 0, k 0x40}"},
		"load askew":            {insn(0, Insn{Code: opLoad, K: 2}), "instruction 0 of 9 is {code 0x20, jt 0, jf 0, k 0x2}"},
		"jump outside":          {insn(1, Insn{Code: opJumpEQ, JT: 7}), "instruction 1 of 9 is {code 0x15, jt 7, jf 0, k 0x0}"},
		"jump far outside":      {insn(1, Insn{Code: opJump, K: 1<<32 - 1}), "instruction 1 of 9 is {code 0x5, jt 0, jf 0, k 0xffffffff}"},
		"no return at the end":  {insn(8, Insn{Code: opLoad}), "instruction 8 of 9 is {code 0x20, jt 0, jf 0, k 0x0}"},
		"mask at the end":       {insn(8, Insn{Code: opAnd}), "instruction 8 of 9 is {code 0x54, jt 0, jf 0, k 0x0}"},
		"another magic":         {func(b []byte) []byte { b[7] = '2'; return b }, `begins with "brigbpf2", want "brigbpf1"`},
		"store (never emitted)": {insn(0, Insn{Code: 0x02}), "instruction 0 of 9 is {code 0x2, jt 0, jf 0, k 0x0}"},
	}
	for name, test := range tests {
		var c Compiled
		err := c.UnmarshalBinary(resealed(encoded(t, sample()), test.change))
		if !errors.Is(err, ErrProgram) || !strings.HasSuffix(err.Error(), ": "+test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestEvaluateTakesTheMostRestrictive(t *testing.T) {
	ret := func(a Action) []Insn { return []Insn{{Code: opReturn, K: uint32(a)}} }
	tests := []struct {
		filters [][]Insn
		want    Action
	}{
		{nil, Allow},
		{[][]Insn{ret(Allow), ret(Errno(1))}, Errno(1)},
		{[][]Insn{ret(Errno(1)), ret(Allow)}, Errno(1)},
		{[][]Insn{ret(Errno(1)), ret(Errno(2))}, Errno(2)}, // the one loaded last
		{[][]Insn{ret(KillProcess), ret(Errno(2))}, KillProcess},
		{[][]Insn{ret(Errno(2)), ret(KillProcess)}, KillProcess},
		{[][]Insn{{{Code: opLoad, K: 1 << 20}}}, KillProcess},
		{[][]Insn{{{Code: opJump, K: 1 << 31}}}, KillProcess},
		{[][]Insn{{{Code: 0xffff}}}, KillProcess},
	}
	for i, test := range tests {
		if got := Evaluate(test.filters, &Data{}); got != test.want {
			t.Errorf("%d: %v, want %v", i, got, test.want)
		}
	}
}

// packet is struct seccomp_data with each word in network order, which is how
// the packet filter of x/net reads it.
func packet(d *Data) []byte {
	var b []byte
	for off := uint32(0); off < dataSize; off += 4 {
		b = binary.BigEndian.AppendUint32(b, d.word(off))
	}
	return b
}

// FuzzEvaluate runs programs that the decoder takes here and on the evaluator of
// golang.org/x/net/bpf.
func FuzzEvaluate(f *testing.F) {
	for _, insns := range sample().Filters {
		f.Add(AppendInsns(nil, insns), uint32(59), uint32(auditAMD64), uint64(1), uint64(1)<<32)
	}
	f.Fuzz(func(t *testing.T, program []byte, nr, arch uint32, a, b uint64) {
		insns, err := ParseInsns(program)
		if err != nil {
			return
		}
		d := Data{Number: nr, Arch: arch, IP: a ^ b, Args: [6]uint64{a, b, ^a, ^b, a + b, a - b}}
		got := run(insns, &d)
		var instructions []bpf.Instruction
		for _, in := range insns {
			instructions = append(instructions, bpf.RawInstruction{Op: in.Code, Jt: in.JT, Jf: in.JF, K: in.K}.Disassemble())
		}
		vm, err := bpf.NewVM(instructions)
		if err != nil {
			return // it also refuses jumps past the end of what it reaches
		}
		want, err := vm.Run(packet(&d))
		if err != nil {
			t.Fatal(err)
		}
		if uint32(want) != uint32(got) {
			t.Errorf("%v, want %#x", got, uint32(want))
		}
	})
}

// FuzzUnmarshal reads any bytes; what is taken is written back the same.
func FuzzUnmarshal(f *testing.F) {
	good := encoded(f, sample())
	f.Add(good[:len(good)-sha256.Size])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha256.Sum256(body)
		for _, b := range [][]byte{body, append(bytes.Clone(body), sum[:]...)} {
			var c Compiled
			if c.UnmarshalBinary(b) != nil {
				continue
			}
			if !bytes.Equal(encoded(t, &c), b) {
				t.Errorf("read %x, wrote something else", b)
			}
			Evaluate(c.Filters, &Data{Number: 1})
		}
	})
}
