#include "textflag.h"

// System calls, see asm/unistd_64.h.
#define SYS_write 1
#define SYS_close 3
#define SYS_sched_yield 24
#define SYS_socketpair 53
#define SYS_clone 56
#define SYS_exit 60
#define SYS_fcntl 72
#define SYS_getuid 102
#define SYS_sched_setaffinity 203
#define SYS_sched_getaffinity 204
#define SYS_dup3 292
#define SYS_getcpu 309
#define SYS_memfd_create 319
#define SYS_execveat 322

#define F_DUPFD_CLOEXEC 1030
#define F_ADD_SEALS 1033
#define CLONE_VM 0x100
#define SIGCHLD 17
#define AT_EMPTY_PATH 0x1000

// MASK is the size of entryMask.
#define MASK 128

// HIGH is above every descriptor that init is given.
#define HIGH 64

// entry is where the kernel enters brig. It runs before the Go runtime is
// there: no stack but the kernel's arguments, no g, nothing but system calls
// and its own variables. Whatever fails, Go starts as it would have.
//
// R12 argc, R13 argv, R14 the image's descriptor, R15 the program's,
// BX our end of the channel, BP init's.
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	MOVQ 0(SP), R12
	LEAQ 8(SP), R13
	CMPQ R12, $3
	JLT  start
	MOVQ 8(R13), SI
	CMPL (SI), $0x006e7572 // "run" with its end
	JNE  start

	// Nothing of a run prints local times, but package initialisers look for
	// the local zone in the file system.
	MOVQ ·entryUTC(SB), AX
	MOVQ (AX), AX
	MOVQ ·entryLocal(SB), CX
	MOVQ AX, (CX)

	// Flags that ask for other namespaces, or for none: "--pl", "--ne".
	MOVQ $2, CX
scan:
	CMPQ CX, R12
	JGE  scanned
	MOVQ (R13)(CX*8), SI
	INCQ CX
	CMPB 0(SI), $'-'
	JNE  scan
	CMPB 1(SI), $'-'
	JNE  scan
	CMPB 2(SI), $0 // "--": the command follows
	JEQ  scanned
	CMPB 2(SI), $'p'
	JNE  notPlan
	CMPB 3(SI), $'l'
	JEQ  start
notPlan:
	CMPB 2(SI), $'n'
	JNE  scan
	CMPB 3(SI), $'e'
	JEQ  start
	JMP  scan

scanned:
	MOVL $SYS_getuid, AX
	SYSCALL
	TESTL AX, AX
	JEQ  start // root's sandboxes are cloned with other ids

	// The image of init, sealed.
	LEAQ ·entryInitName(SB), DI
	MOVL $0x13, SI // MFD_CLOEXEC|MFD_ALLOW_SEALING|MFD_EXEC
	MOVL $SYS_memfd_create, AX
	SYSCALL
	CMPQ AX, $3 // an error, or a standard descriptor that was closed
	JLT  closeImage
	MOVQ AX, R14
	MOVQ R14, DI
	MOVQ ·image(SB), SI
	MOVQ ·image+8(SB), DX
	MOVL $SYS_write, AX
	SYSCALL
	CMPQ AX, ·image+8(SB)
	JNE  dropImage
	MOVQ R14, DI
	MOVL $F_ADD_SEALS, SI
	MOVL $0xf, DX // SEAL, SHRINK, GROW, WRITE
	MOVL $SYS_fcntl, AX
	SYSCALL
	TESTQ AX, AX
	JNE  dropImage

	// The memory file for the program, with what is done ahead of a plan.
	LEAQ ·entryProgramName(SB), DI
	MOVL $0x9, SI // MFD_CLOEXEC|MFD_NOEXEC_SEAL
	MOVL $SYS_memfd_create, AX
	SYSCALL
	TESTQ AX, AX
	JLT  dropImage
	MOVQ AX, R15
	MOVQ R15, DI
	MOVQ ·entryAhead(SB), SI
	MOVQ ·entryAhead+8(SB), DX
	MOVL $SYS_write, AX
	SYSCALL
	CMPQ AX, ·entryAhead+8(SB)
	JNE  dropProgram

	MOVL $1, DI       // AF_UNIX
	MOVL $0x80005, SI // SOCK_SEQPACKET|SOCK_CLOEXEC
	MOVL $0, DX
	LEAQ ·entryPair(SB), R10
	MOVL $SYS_socketpair, AX
	SYSCALL
	TESTQ AX, AX
	JNE  dropProgram
	MOVL ·entryPair(SB), BX
	MOVL ·entryPair+4(SB), BP

	// What init, as the launcher, shall clone PID 1 with.
	MOVQ BX, DI
	LEAQ ·entryFlags(SB), SI
	MOVL $8, DX
	MOVL $SYS_write, AX
	SYSCALL
	CMPQ AX, $8
	JNE  dropPair

	LEAQ ·entryCPU(SB), DI
	MOVL $0, SI
	MOVL $0, DX
	MOVL $SYS_getcpu, AX
	SYSCALL

	// The launcher, which shares this memory until its exec. Unlike vfork's
	// parent this process goes on: the child writes to no memory, and so needs
	// no stack of its own.
	MOVL $(CLONE_VM|SIGCHLD), DI
	MOVL $0, SI
	MOVL $0, DX
	MOVL $0, R10
	MOVL $0, R8
	MOVL $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JLT  dropPair
	JEQ  launcher
	MOVL AX, ·entryLauncher(SB)

	// The launcher is often put behind this process on the same CPU, where it
	// would wait for a whole slice: let it leave.
	MOVL $SYS_sched_yield, AX
	SYSCALL
	MOVL R15, ·entryProgram(SB)
	MOVQ BP, DI
	MOVL $SYS_close, AX
	SYSCALL
	JMP  closeR14

dropPair:
	MOVQ BX, DI
	MOVL $SYS_close, AX
	SYSCALL
	MOVQ BP, DI
	MOVL $SYS_close, AX
	SYSCALL
dropProgram:
	MOVQ R15, DI
	MOVL $SYS_close, AX
	SYSCALL
dropImage:
closeR14:
	MOVQ R14, AX
closeImage:
	TESTQ AX, AX
	JLT  start
	MOVQ AX, DI
	MOVL $SYS_close, AX
	SYSCALL
start:
	JMP  _rt0_amd64_linux(SB)

	// Here the launcher goes on, on another CPU if there is one: on the same one
	// either would wait for the other, though nothing else does. The mask is
	// what it was in the end.
launcher:
	LEAQ ·entryCPU+4(SB), DI
	MOVL $0, SI
	MOVL $0, DX
	MOVL $SYS_getcpu, AX
	SYSCALL
	MOVL ·entryCPU(SB), BX
	CMPL ·entryCPU+4(SB), BX
	JNE  apart
	CMPL BX, $(8*MASK)
	JCC  apart
	MOVL $0, DI
	MOVL $MASK, SI
	LEAQ ·entryMask(SB), DX
	MOVL $SYS_sched_getaffinity, AX
	SYSCALL
	TESTQ AX, AX
	JLE  apart // more CPUs than MASK has room for
	LEAQ ·entryMask(SB), DX
	BTRL BX, (DX)
	MOVL $0, DI
	MOVL $MASK, SI
	MOVL $SYS_sched_setaffinity, AX
	SYSCALL
	TESTQ AX, AX
	JNE  apart // there is no other CPU
	LEAQ ·entryMask(SB), DX
	BTSL BX, (DX)
	MOVL $0, DI
	MOVL $MASK, SI
	MOVL $SYS_sched_setaffinity, AX
	SYSCALL
apart:

	// It moves the descriptors out of the way before
	// it gives them their numbers. That something fails is seen by brig, as the
	// end of the channel.
	MOVQ R14, DI
	MOVL $F_DUPFD_CLOEXEC, SI
	MOVL $HIGH, DX
	MOVL $SYS_fcntl, AX
	SYSCALL
	MOVQ AX, R14
	MOVQ R15, DI
	MOVL $F_DUPFD_CLOEXEC, SI
	MOVL $HIGH, DX
	MOVL $SYS_fcntl, AX
	SYSCALL
	MOVQ AX, R15
	MOVQ BP, DI
	MOVL $F_DUPFD_CLOEXEC, SI
	MOVL $HIGH, DX
	MOVL $SYS_fcntl, AX
	SYSCALL
	MOVQ AX, BP
	MOVL $0, BX
standard: // 0, 1, 2 must be something that is neither the caller's nor missing
	MOVQ R15, DI
	MOVQ BX, SI
	MOVL $0, DX
	MOVL $SYS_dup3, AX
	SYSCALL
	CMPQ AX, BX
	JNE  fail
	INCQ BX
	CMPQ BX, $3
	JLT  standard
	MOVQ BP, DI
	MOVL $3, SI // the channel
	MOVL $0, DX
	MOVL $SYS_dup3, AX
	SYSCALL
	CMPQ AX, $3
	JNE  fail
	MOVQ R15, DI
	MOVL $4, SI // the program
	MOVL $0, DX
	MOVL $SYS_dup3, AX
	SYSCALL
	CMPQ AX, $4
	JNE  fail

	MOVQ R14, DI
	LEAQ ·entryEmpty(SB), SI // the image itself
	LEAQ ·entryArgv(SB), DX
	LEAQ ·entryArgv+8(SB), R10 // no environment
	MOVL $AT_EMPTY_PATH, R8
	MOVL $SYS_execveat, AX
	SYSCALL
fail:
	MOVL $125, DI
	MOVL $SYS_exit, AX
	SYSCALL
	INT  $3

// argv of init, with the end that is also its environment.
DATA ·entryArgv+0(SB)/8, $·entryInitName(SB)
DATA ·entryArgv+8(SB)/8, $0
GLOBL ·entryArgv(SB), NOPTR, $16
DATA ·entryInitName+0(SB)/8, $"brig-ini"
DATA ·entryInitName+8(SB)/2, $"t\x00"
GLOBL ·entryInitName(SB), RODATA|NOPTR, $10
DATA ·entryProgramName+0(SB)/8, $"brig-pro"
DATA ·entryProgramName+8(SB)/5, $"gram\x00"
GLOBL ·entryProgramName(SB), RODATA|NOPTR, $13
DATA ·entryEmpty+0(SB)/8, $0
GLOBL ·entryEmpty(SB), RODATA|NOPTR, $8
