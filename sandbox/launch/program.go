package launch

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// What init.c calls BASE, MAGIC and the sizes of its structures.
const (
	baseAddress = 0x1000000000
	magic       = 0x31676972622d6f62
	headerSize  = 488
	opSize      = 88
	reportAt    = 32
	// What init carries out before there is a plan lies below baseAddress: at the
	// start of the memory file what is done ahead (see ahead.go), and behind it
	// the plan's beginning.
	aheadRoom    = 64 << 10
	aheadAddress = baseAddress - aheadRoom
	aheadPart    = 8 << 10
	earlyAddress = aheadAddress + aheadPart
	earlyRoom    = aheadRoom - aheadPart
	earlyHeader  = 16
	// beginningOps is what init numbers the beginning's ops from in its reports,
	// noOp the number of those that are no plan's.
	beginningOps = 1 << 24
	noOp         = 1<<25 - 1
	// anyErrno in the first place tolerates every errno.
	anyErrno = 0xffff
	// maxProgram bounds the block; a program holds argv, the environment and
	// small files, and the kernel bounds the first two at 6 MiB.
	maxProgram = 64 << 20
)

// The kinds of op that init knows.
const (
	kindCall = iota + 1
	kindCompare
	kindWait
	kindFork
	kindExec
	kindServe
	kindSkip
	kindJump
)

// The descriptors with which init and the job's process start. signalFD and
// releaseFD are what the first calls get, since the lowest free numbers are
// given out.
const (
	channelFD      = 3
	programFD      = 4
	signalFD       = 4
	releaseReadFD  = 5
	releaseWriteFD = 6
	firstFreeFD    = 7
)

// arg is an argument of a call: a number, or the address of a cell whose value
// is loaded when the call is made.
type arg struct {
	v    uint64
	load bool
}

// cell is the address of a 32-bit result.
type cell uint64

func n(v uint64) arg { return arg{v: v} }

// fd is a constant descriptor number or AT_FDCWD.
func fd(v int) arg { return arg{v: uint64(int64(v))} }

// val is the value that the cell will hold.
func (c cell) val() arg { return arg{v: uint64(c), load: true} }

// at is the cell's address.
func (c cell) at() arg { return arg{v: uint64(c)} }

// program is a block under construction.
type program struct {
	base uint64 // the address of data
	data []byte
	ops  []byte
	plan uint32 // the op of the plan that is being lowered
	strs map[string]uint64
	soft bool // no errno of a call is a failure
}

func newProgram() *program { return newProgramAt(baseAddress, headerSize, 24<<10, 480) }

// newProgramAt makes room for so many bytes of data and so many ops.
func newProgramAt(base uint64, header, data, ops int) *program {
	return &program{base: base, data: make([]byte, header, data), ops: make([]byte, 0, ops*opSize), strs: make(map[string]uint64, 64)}
}

// alloc reserves size bytes of zeroes, aligned to 8, and returns their address.
func (p *program) alloc(size int) uint64 {
	for len(p.data)%8 != 0 {
		p.data = append(p.data, 0)
	}
	at := len(p.data)
	p.data = append(p.data, make([]byte, size)...)
	return p.base + uint64(at)
}

// bytes stores b and returns its address.
func (p *program) bytes(b []byte) uint64 {
	at := p.alloc(len(b))
	copy(p.data[at-p.base:], b)
	return at
}

// str stores s with its NUL and returns its address; equal strings share it.
func (p *program) str(s string) arg {
	at, ok := p.strs[s]
	if !ok {
		at = p.alloc(len(s) + 1)
		copy(p.data[at-p.base:], s)
		if p.strs != nil {
			p.strs[s] = at
		}
	}
	return n(at)
}

// words stores 64-bit words and returns their address.
func (p *program) words(ws ...uint64) uint64 {
	at := p.alloc(8 * len(ws))
	for i, w := range ws {
		p.put64(at+8*uint64(i), w)
	}
	return at
}

func (p *program) put64(at, v uint64) {
	binary.NativeEndian.PutUint64(p.data[at-p.base:], v)
}

func (p *program) put32(at uint64, v uint32) {
	binary.NativeEndian.PutUint32(p.data[at-p.base:], v)
}

func (p *program) put16(at uint64, v uint16) {
	binary.NativeEndian.PutUint16(p.data[at-p.base:], v)
}

// cell reserves a result cell. Until it is written it holds -1, which is no
// descriptor.
func (p *program) cell() cell {
	at := p.alloc(8)
	p.put32(at, ^uint32(0))
	return cell(at)
}

// pointers stores a NULL-terminated list of pointers to strings.
func (p *program) pointers(list []string) uint64 {
	ptrs := make([]uint64, 0, len(list)+1)
	for _, s := range list {
		at := p.alloc(len(s) + 1)
		copy(p.data[at-p.base:], s)
		ptrs = append(ptrs, at)
	}
	return p.words(append(ptrs, 0)...)
}

// op appends an op. It returns its position, for what is filled in later.
func (p *program) op(kind uint16, nr uint64, out cell, ok []unix.Errno, args ...arg) int {
	var o [opSize]byte
	e := binary.NativeEndian
	e.PutUint16(o[0:], kind)
	e.PutUint32(o[4:], p.plan)
	e.PutUint64(o[8:], nr)
	var load uint16
	for i, a := range args {
		if a.load {
			load |= 1 << i
		}
		e.PutUint64(o[16+8*i:], a.v)
	}
	e.PutUint16(o[2:], load)
	e.PutUint64(o[64:], uint64(out))
	for i, errno := range ok {
		e.PutUint16(o[72+2*i:], uint16(errno))
	}
	at := len(p.ops)
	p.ops = append(p.ops, o[:]...)
	return at
}

// call appends a system call whose result does not matter.
func (p *program) call(nr uint64, args ...arg) { p.callOK(nil, nr, args...) }

// callOK is call with errnos, four at most, that are no failure.
func (p *program) callOK(ok []unix.Errno, nr uint64, args ...arg) {
	p.getInto(0, ok, nr, args...)
}

// get appends a call whose result, usually a descriptor, is kept.
func (p *program) get(nr uint64, args ...arg) cell { return p.getOK(nil, nr, args...) }

// getOK is get with errnos that are no failure; the cell then holds a negative
// number, with which later calls fail with EBADF.
func (p *program) getOK(ok []unix.Errno, nr uint64, args ...arg) cell {
	return p.getInto(p.cell(), ok, nr, args...)
}

// getInto is getOK into a cell that there is.
func (p *program) getInto(out cell, ok []unix.Errno, nr uint64, args ...arg) cell {
	if p.soft {
		ok = []unix.Errno{anyErrno}
	}
	p.op(kindCall, nr, out, ok, args...)
	return out
}

// compare appends a check that the width bytes at address at, masked, are want.
func (p *program) compare(at uint64, width, mask, want uint64, errno unix.Errno) {
	p.op(kindCompare, 0, 0, nil, n(at), n(width), n(mask), n(want), n(uint64(errno)))
}

// wait appends a wait for one byte from a descriptor.
func (p *program) wait(from int, b byte) { p.op(kindWait, 0, 0, nil, fd(from), n(uint64(b))) }

// waitOr is wait for b, or for other, which leaves out the next op.
func (p *program) waitOr(from int, b, other byte) {
	p.op(kindWait, 0, 0, nil, fd(from), n(uint64(b)), n(uint64(other)))
}

// position is the number of the next op.
func (p *program) position() uint64 { return uint64(len(p.ops) / opSize) }

// setArg fills in an argument of the op at position at.
func (p *program) setArg(at, i int, v uint64) {
	binary.NativeEndian.PutUint64(p.ops[at+16+8*i:], v)
}

// block is a finished program: the header with the data, and behind them the
// ops. They are not put together, which would copy them once more.
type block struct{ data, ops []byte }

// block returns the finished program.
func (p *program) block() (block, error) {
	p.alloc(0)
	if size := len(p.data) + len(p.ops); size > maxProgram {
		return block{}, fmt.Errorf("the program would take %d bytes, the most is %d: shorten the arguments or the environment", size, maxProgram)
	}
	binary.NativeEndian.PutUint64(p.data, magic)
	binary.NativeEndian.PutUint64(p.data[8:], p.base+uint64(len(p.data)))
	return block{p.data, p.ops}, nil
}

// write writes the program into the memory file that init has mapped.
func (b block) write(f int) error {
	if err := writeAll(f, b.data, aheadRoom); err != nil {
		return err
	}
	return writeAll(f, b.ops, aheadRoom+int64(len(b.data)))
}
