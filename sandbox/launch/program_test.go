package launch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// data returns the bytes at an address of the program.
func (p *program) at(addr uint64, size int) []byte {
	return p.data[addr-baseAddress:][:size]
}

func TestProgramData(t *testing.T) {
	p := newProgram()
	a := p.str("ab")
	if b := p.str("ab"); a != b {
		t.Errorf("equal strings at %#x and %#x", a.v, b.v)
	}
	if got := p.at(a.v, 3); string(got) != "ab\x00" {
		t.Errorf("string is %q", got)
	}
	c := p.cell()
	if got := p.at(uint64(c), 4); !bytes.Equal(got, []byte{255, 255, 255, 255}) {
		t.Errorf("a fresh cell holds %v, which could be a descriptor", got)
	}
	w := p.words(1, 1<<40)
	if got := binary.NativeEndian.Uint64(p.at(w+8, 8)); got != 1<<40 {
		t.Errorf("second word %#x", got)
	}
	for _, addr := range []uint64{a.v, uint64(c), w, p.alloc(1), p.alloc(0)} {
		if addr%8 != 0 || addr < baseAddress+headerSize {
			t.Errorf("address %#x", addr)
		}
	}
	ptrs := p.pointers([]string{"x", "x"})
	first, second := binary.NativeEndian.Uint64(p.at(ptrs, 8)), binary.NativeEndian.Uint64(p.at(ptrs+8, 8))
	if end := binary.NativeEndian.Uint64(p.at(ptrs+16, 8)); end != 0 || first == second {
		t.Errorf("pointers %#x %#x end %#x: argv must end in NULL and be the job's to change", first, second, end)
	}
	if string(p.at(second, 2)) != "x\x00" {
		t.Errorf("second is %q", p.at(second, 2))
	}
}

func TestProgramOp(t *testing.T) {
	p := newProgram()
	p.plan = 7
	c := p.cell()
	p.callOK([]unix.Errno{unix.ENOENT, unix.EBADF}, 257, n(1), c.val(), c.at(), fd(-100))
	e := binary.NativeEndian
	o := p.ops
	if len(o) != opSize || e.Uint16(o[0:]) != kindCall || e.Uint16(o[2:]) != 0b0010 || e.Uint32(o[4:]) != 7 || e.Uint64(o[8:]) != 257 {
		t.Errorf("op starts %v", o[:16])
	}
	for i, want := range []uint64{1, uint64(c), uint64(c), 1<<64 - 100, 0, 0} {
		if got := e.Uint64(o[16+8*i:]); got != want {
			t.Errorf("arg %d is %#x, want %#x", i, got, want)
		}
	}
	if e.Uint16(o[72:]) != uint16(unix.ENOENT) || e.Uint16(o[74:]) != uint16(unix.EBADF) || e.Uint16(o[76:]) != 0 {
		t.Errorf("tolerated %v", o[72:80])
	}
	b, err := p.block()
	if err != nil {
		t.Fatal(err)
	}
	if e.Uint64(b.data) != magic || e.Uint64(b.data[8:]) != baseAddress+uint64(len(b.data)) || len(b.ops) != opSize {
		t.Errorf("header %v, %d bytes of ops", b.data[:16], len(b.ops))
	}
}

func TestProgramTooLarge(t *testing.T) {
	p := newProgram()
	p.alloc(maxProgram)
	want := fmt.Sprintf("the program would take %d bytes, the most is %d: shorten the arguments or the environment", headerSize+maxProgram, maxProgram)
	if _, err := p.block(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// The numbers that stand in Go and in C are the same.
func TestConstantsMatchInit(t *testing.T) {
	src, err := os.ReadFile("init/init.c")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]uint64{
		"BASE": baseAddress, "MAGIC": magic, "AHEAD": aheadAddress, "ROOM": aheadRoom + maxProgram,
		"ANY": anyErrno, "CHANNEL": channelFD, "PROGRAM": programFD,
	} {
		m := regexp.MustCompile(`(?m)^#define ` + name + ` (\w+?)(?:UL)?(?: /\*.*)?$`).FindSubmatch(src)
		var got uint64
		if m == nil {
			t.Errorf("init.c has no %s", name)
		} else if _, err := fmt.Sscan(string(m[1]), &got); err != nil || got != want {
			t.Errorf("%s is %s in init.c, %#x in Go", name, m[1], want)
		}
	}
	for name, want := range map[string]int{"struct op": opSize, "struct report": reportSize, "struct header": headerSize} {
		if !strings.Contains(string(src), fmt.Sprintf("_Static_assert(sizeof(%s) == %d,", name, want)) {
			t.Errorf("init.c does not assert that %s has %d bytes", name, want)
		}
	}
	if !strings.Contains(string(src), "enum { CALL = 1, COMPARE, WAIT, FORK, EXEC, SERVE, SKIP, JUMP };") ||
		kindCall != 1 || kindCompare != 2 || kindWait != 3 || kindFork != 4 || kindExec != 5 || kindServe != 6 || kindSkip != 7 || kindJump != 8 {
		t.Error("the kinds of op differ")
	}
}
