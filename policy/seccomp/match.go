package seccomp

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// The comparisons of Arg.Op.
const (
	opEQ       = "eq"
	opNE       = "ne"
	opLT       = "lt"
	opLE       = "le"
	opGT       = "gt"
	opGE       = "ge"
	opMaskedEQ = "masked_eq"
)

// Match is a list of comparisons that must all hold. An argument appears at most
// once; an eq of a 32-bit parameter has become a masked_eq of its low 32 bits.
type Match []Arg

// Holds tells whether the arguments of a call fit.
func (m Match) Holds(args *[6]uint64) bool {
	for _, a := range m {
		if a.Index > 5 || !a.holds(args[a.Index]) {
			return false
		}
	}
	return true
}

// apart tells that both matches can never hold, for they want different bits of
// one argument.
func (m Match) apart(other Match) bool {
	for _, a := range m {
		for _, b := range other {
			if a.Index == b.Index && (a.Value^b.Value)&a.bits()&b.bits() != 0 {
				return true
			}
		}
	}
	return false
}

// bits are those of which a comparison wants a value.
func (a Arg) bits() uint64 {
	switch a.Op {
	case opEQ:
		return math.MaxUint64
	case opMaskedEQ:
		return a.Mask
	}
	return 0
}

func (a Arg) holds(v uint64) bool {
	switch a.Op {
	case opEQ:
		return v == a.Value
	case opNE:
		return v != a.Value
	case opLT:
		return v < a.Value
	case opLE:
		return v <= a.Value
	case opGT:
		return v > a.Value
	case opGE:
		return v >= a.Value
	case opMaskedEQ:
		return v&a.Mask == a.Value
	}
	return false
}

// String is "arg0 == 1 and arg2 & 0xff == 0".
func (m Match) String() string {
	parts := make([]string, len(m))
	for i, a := range m {
		parts[i] = a.String()
	}
	return strings.Join(parts, " and ")
}

// String is "arg0 == 0x1".
func (a Arg) String() string {
	switch a.Op {
	case opMaskedEQ:
		if a.Mask == math.MaxUint32 {
			return fmt.Sprintf("low32(arg%d) == %#x", a.Index, a.Value)
		}
		return fmt.Sprintf("arg%d & %#x == %#x", a.Index, a.Mask, a.Value)
	case opEQ:
		return fmt.Sprintf("arg%d == %#x", a.Index, a.Value)
	case opNE:
		return fmt.Sprintf("arg%d != %#x", a.Index, a.Value)
	case opLT:
		return fmt.Sprintf("arg%d < %#x", a.Index, a.Value)
	case opLE:
		return fmt.Sprintf("arg%d <= %#x", a.Index, a.Value)
	case opGT:
		return fmt.Sprintf("arg%d > %#x", a.Index, a.Value)
	case opGE:
		return fmt.Sprintf("arg%d >= %#x", a.Index, a.Value)
	}
	return fmt.Sprintf("arg%d %s %#x", a.Index, a.Op, a.Value)
}

// normalise checks the comparisons of one rule and brings them into the form in
// which they are compiled and compared with each other.
func normalise(call string, args []Arg, allows bool) (Match, error) {
	m := make(Match, 0, len(args))
	for _, a := range args {
		for _, b := range m {
			if a.Index == b.Index {
				return nil, fmt.Errorf("argument %d is compared twice: write two rules, or one masked_eq", a.Index)
			}
		}
		a, err := normaliseArg(call, a, allows)
		if err != nil {
			return nil, err
		}
		m = append(m, a)
	}
	slices.SortFunc(m, func(a, b Arg) int { return int(a.Index) - int(b.Index) })
	return m, nil
}

func normaliseArg(call string, a Arg, allows bool) (Arg, error) {
	if a.Index > 5 {
		return a, fmt.Errorf("index %d: a call has the arguments 0 to 5", a.Index)
	}
	if a.Mask != 0 && a.Op != opMaskedEQ {
		return a, fmt.Errorf("op %q takes no mask: write masked_eq", a.Op)
	}
	var err error
	if isNarrow(call, a.Index) {
		if a, err = narrow(a, allows); err != nil {
			return a, err
		}
	}
	always, never := false, false
	switch a.Op {
	case opEQ, opNE:
	case opLT:
		never = a.Value == 0
	case opGE:
		always = a.Value == 0
	case opGT:
		never = a.Value == math.MaxUint64
	case opLE:
		always = a.Value == math.MaxUint64
	case opMaskedEQ:
		always = a.Mask == 0 && a.Value == 0
		never = a.Value&^a.Mask != 0
	default:
		return a, fmt.Errorf("op %q: use eq, ne, lt, le, gt, ge or masked_eq", a.Op)
	}
	if always || never {
		return a, fmt.Errorf("%v is %s true", a, map[bool]string{true: "always", false: "never"}[always])
	}
	return a, nil
}

// narrow makes a comparison of a 32-bit parameter look at its low 32 bits. The
// kernel ignores the others, so whoever calls may put into them what gets a
// comparison round; one that cannot be made safe is refused.
func narrow(a Arg, allows bool) (Arg, error) {
	const high = uint64(math.MaxUint32) << 32
	if h := a.Value & high; h != 0 && h != high {
		return a, fmt.Errorf("value %#x: the kernel takes only the low 32 bits of argument %d", a.Value, a.Index)
	}
	a.Value &= math.MaxUint32
	unsafe := false
	switch a.Op {
	case opEQ:
		a.Op, a.Mask = opMaskedEQ, math.MaxUint32
	case opMaskedEQ:
		a.Mask &= math.MaxUint32
	case opLT, opLE:
		unsafe = !allows
	case opNE, opGT, opGE:
		unsafe = allows
	}
	if unsafe {
		return a, fmt.Errorf("op %q: the kernel takes only the low 32 bits of argument %d, so set high bits would get round it: use eq or masked_eq",
			a.Op, a.Index)
	}
	return a, nil
}

// narrowArgs lists parameters that the kernel declares as int or unsigned int:
// a bit for each index. A call that is missing has its arguments compared whole.
var narrowArgs = [...]struct {
	call string
	args uint8
}{
	{"accept", 0b1},
	{"accept4", 0b1001},
	{"access", 0b10},
	{"bind", 0b101},
	{"chmod", 0b10},
	{"clock_gettime", 0b1},
	{"clock_nanosleep", 0b11},
	{"clock_settime", 0b1},
	{"close", 0b1},
	{"close_range", 0b111},
	{"connect", 0b101},
	{"dup", 0b1},
	{"dup2", 0b11},
	{"dup3", 0b111},
	{"epoll_create1", 0b1},
	{"eventfd2", 0b11},
	{"execveat", 0b10001},
	{"exit", 0b1},
	{"exit_group", 0b1},
	{"faccessat", 0b101},
	{"faccessat2", 0b1101},
	{"fallocate", 0b11},
	{"fchmod", 0b11},
	{"fchmodat", 0b101},
	{"fchownat", 0b11101},
	{"fcntl", 0b11},
	{"flock", 0b11},
	{"futex", 0b100110},
	{"getpriority", 0b11},
	{"getrandom", 0b100},
	{"getsockopt", 0b111},
	{"inotify_init1", 0b1},
	{"ioctl", 0b11},
	{"ioprio_get", 0b11},
	{"ioprio_set", 0b111},
	{"kcmp", 0b111},
	{"kill", 0b11},
	{"linkat", 0b10101},
	{"listen", 0b11},
	{"lseek", 0b101},
	{"madvise", 0b100},
	{"membarrier", 0b111},
	{"memfd_create", 0b10},
	{"migrate_pages", 0b1},
	{"mkdir", 0b10},
	{"mkdirat", 0b101},
	{"mknod", 0b110},
	{"mknodat", 0b1101},
	{"mlock2", 0b100},
	{"mlockall", 0b1},
	{"move_pages", 0b100001},
	{"mq_open", 0b110},
	{"msgctl", 0b11},
	{"msgget", 0b11},
	{"msync", 0b100},
	{"name_to_handle_at", 0b10001},
	{"newfstatat", 0b1001},
	{"open", 0b110},
	{"openat", 0b1101},
	{"openat2", 0b1},
	{"personality", 0b1},
	{"pidfd_getfd", 0b111},
	{"pidfd_open", 0b11},
	{"pidfd_send_signal", 0b1011},
	{"pipe2", 0b10},
	{"prctl", 0b1},
	{"prlimit64", 0b11},
	{"process_vm_readv", 0b1},
	{"process_vm_writev", 0b1},
	{"ptrace", 0b10},
	{"quotactl", 0b1},
	{"recvfrom", 0b1001},
	{"recvmsg", 0b101},
	{"renameat2", 0b10101},
	{"rseq", 0b1110},
	{"rt_sigaction", 0b1},
	{"rt_sigqueueinfo", 0b11},
	{"rt_tgsigqueueinfo", 0b111},
	{"sched_setaffinity", 0b11},
	{"sched_setattr", 0b101},
	{"sched_setparam", 0b1},
	{"sched_setscheduler", 0b11},
	{"seccomp", 0b11},
	{"semctl", 0b111},
	{"semget", 0b111},
	{"sendmsg", 0b101},
	{"sendto", 0b101001},
	{"setgid", 0b1},
	{"setgroups", 0b1},
	{"setns", 0b11},
	{"setpriority", 0b111},
	{"setregid", 0b11},
	{"setresgid", 0b111},
	{"setresuid", 0b111},
	{"setreuid", 0b11},
	{"setrlimit", 0b1},
	{"setsockopt", 0b10111},
	{"setuid", 0b1},
	{"shmat", 0b101},
	{"shmctl", 0b11},
	{"shmget", 0b101},
	{"shutdown", 0b11},
	{"signalfd4", 0b1001},
	{"socket", 0b111},
	{"socketpair", 0b111},
	{"splice", 0b100101},
	{"statx", 0b1101},
	{"syslog", 0b101},
	{"tee", 0b1011},
	{"tgkill", 0b111},
	{"timer_create", 0b1},
	{"timerfd_create", 0b11},
	{"tkill", 0b11},
	{"umask", 0b1},
	{"umount2", 0b10},
	{"unlinkat", 0b101},
	{"waitid", 0b1011},
	{"wait4", 0b101},
}

// isNarrow tells whether the kernel takes only the low 32 bits of an argument.
func isNarrow(call string, index uint) bool {
	for i := range narrowArgs {
		if narrowArgs[i].call == call {
			return narrowArgs[i].args>>index&1 != 0
		}
	}
	return false
}
