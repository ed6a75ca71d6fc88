/*
 * init is PID 1 of a sandbox. It is the only program that runs between the
 * clone and the job's exec, and all that is left of brig inside a sandbox.
 *
 * It maps a program (a block of memory made by sandbox/launch) at a fixed
 * address and carries out its ops in order. It allocates nothing, reads no
 * configuration and decides nothing: every path, number and order comes from
 * the program, in which pointers are plain addresses. The part at AHEAD is
 * there from the start, others are when brig says so: what a plan begins with,
 * and, at BASE, the rest of it.
 * The kinds of op:
 *
 *   CALL     a system call. Arguments are numbers, or the addresses of 32-bit
 *            cells that hold an earlier call's result. An errno in ok[] is
 *            tolerated, or every one where ok[0] is ANY; any other ends the
 *            sandbox and is reported. What a signal interrupts is done again,
 *            and openat2, up to OFTEN times, where it says that somebody
 *            renamed or mounted something meanwhile, somewhere on the host.
 *   COMPARE  memory against an expected value, under a mask. A difference
 *            ends the sandbox with the errno the op names.
 *   WAIT     reads one byte from a descriptor and insists on its value, or on
 *            arg[2], which leaves out the next op. The end of the file means
 *            that the other side is gone: init ends.
 *   FORK     the child goes on with the next op, it becomes the job; init goes
 *            on with the op whose number is arg[0]. arg[1] is 0, or the struct
 *            clone_args that puts the child into a control group.
 *   EXEC     tries each path of a list, as execvp(3) does along PATH.
 *   SERVE    init's life: reap, report the job's end, watch the channel.
 *   SKIP     leaves out the next arg[1] ops unless arg[0] is negative.
 *   JUMP     goes on with the first op of the part at arg[0].
 *
 * Descriptors: 0, 1, 2 are the job's, CHANNEL is a SOCK_SEQPACKET whose other
 * end only brig holds, so that its end of file is brig's death; PROGRAM is the
 * block. A failure is reported as {op, errno}: by init over the channel, by
 * the job's process through the shared block, because by then a filter may
 * forbid it everything but to exit.
 *
 * There is no libc: no start-up code, no environment, no dynamic memory, and
 * nothing that depends on the locale or on files.
 */
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/mman.h>
#include <linux/signal.h>
#include <linux/wait.h>

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned short u16;

#define CHANNEL 3
#define PROGRAM 4
#define BASE 0x1000000000UL
#define AHEAD 0xfffff0000UL
#define ROOM 0x4010000UL /* of all parts together, the most there can be */
#define ANY 0xffff
#define MAGIC 0x31676972622d6f62UL
#define MAP_SHARED_ 0x01
#define PROT_RW 3
#define RUSAGE_SELF_ 0
#define RUSAGE_CHILDREN_ (-1)

/* Who renames things all the time makes a sandbox fail, not wait for ever. */
#define OFTEN 1000
enum { CALL = 1, COMPARE, WAIT, FORK, EXEC, SERVE, SKIP, JUMP };

/* One op, 88 bytes. Mirrors sandbox/launch/program.go. */
struct op {
	u16 kind;
	u16 load;   /* bit i: arg[i] is the address of a cell */
	u32 plan;   /* the op of the plan it comes from, for reports */
	u64 nr;     /* system call number */
	u64 arg[6];
	u64 out;    /* address of the cell for the result, or 0 */
	u16 ok[4];  /* errnos that are tolerated */
	u64 pad;
};

/* struct rusage of the kernel: 16 longs after two timevals of two longs. */
struct usage {
	long v[18];
};

/* What init tells brig; see sandbox/launch/message.go. */
struct report {
	u32 type;   /* 'F' failed, 'E' the job ended */
	u32 plan;
	u32 err;
	int status; /* of the job, as wait(2) gives it */
	u32 alone;  /* no other process was left */
	u32 pad;
	struct usage job, children, self;
};

/* Each part but the first begins with two words. */
struct part {
	u64 magic;
	u64 ops;
};

struct header {
	struct part part;
	u64 job_plan, job_err; /* where the job's process reports its failure */
	struct report report;
};

_Static_assert(sizeof(struct op) == 88, "program.go writes ops of this size");
_Static_assert(sizeof(struct report) == 456, "message.go reads reports of this size");
_Static_assert(sizeof(struct header) == 488, "program.go leaves this much room");

#define H ((volatile struct header *)BASE)

#if defined(__x86_64__)
static long sys(long n, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	long r;
	register u64 r10 __asm__("r10") = d;
	register u64 r8 __asm__("r8") = e;
	register u64 r9 __asm__("r9") = f;
	__asm__ volatile("syscall" : "=a"(r)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}
#elif defined(__aarch64__)
static long sys(long n, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	register u64 x8 __asm__("x8") = n;
	register u64 x0 __asm__("x0") = a;
	register u64 x1 __asm__("x1") = b;
	register u64 x2 __asm__("x2") = c;
	register u64 x3 __asm__("x3") = d;
	register u64 x4 __asm__("x4") = e;
	register u64 x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#error "init knows amd64 and arm64"
#endif

/* clone(flags, stack, ...): without a stack the child goes on with a copy. */
static long clone(u64 flags)
{
	return sys(__NR_clone, flags, 0, 0, 0, 0, 0);
}

/* clone3(args, size), likewise. The size is that of CLONE_ARGS_SIZE_VER2. */
static long clone3(u64 args)
{
	return sys(__NR_clone3, args, 88, 0, 0, 0, 0);
}

static void leave(int code) __attribute__((noreturn));
static void leave(int code)
{
	sys(__NR_exit_group, code, 0, 0, 0, 0, 0);
	/* A filter that forbids even this: an illegal instruction ends us. */
	for (;;)
		__builtin_trap();
}

static void send_report(u32 type)
{
	H->report.type = type;
	sys(__NR_sendto, CHANNEL, (u64)&H->report, sizeof(struct report),
	    0x4000 /* MSG_NOSIGNAL */, 0, 0);
}

/* Reports that op failed with err and ends this process. */
static void fail(int is_job, struct op *op, long err) __attribute__((noreturn));
static void fail(int is_job, struct op *op, long err)
{
	if ((u64)op < BASE) {
		/* There is no header yet: the report's first words. */
		u32 said[4] = { 'F', op->plan, err, 0 };
		sys(__NR_sendto, CHANNEL, (u64)said, sizeof said, 0x4000 /* MSG_NOSIGNAL */, 0, 0);
	} else if (is_job) {
		H->job_plan = op->plan;
		H->job_err = err;
	} else {
		H->report.plan = op->plan;
		H->report.err = err;
		send_report('F');
	}
	leave(125);
}

static int tolerated(struct op *op, long r)
{
	for (int i = 0; i < 4; i++)
		if (op->ok[i] && op->ok[i] == -r)
			return 1;
	return op->ok[0] == ANY;
}

/* The value at address p, width bytes wide. */
static u64 load(u64 p, u64 width)
{
	switch (width) {
	case 1: return *(volatile unsigned char *)p;
	case 2: return *(volatile u16 *)p;
	case 4: return *(volatile u32 *)p;
	default: return *(volatile u64 *)p;
	}
}

/*
 * EXEC: arg[0] is the list of paths, arg[1] argv, arg[2] envp. A path that is
 * not there lets the next one be tried; one that may not be run is remembered,
 * since it says more than that the last directory of PATH holds nothing.
 */
static long try_exec(struct op *op)
{
	long worst = ENOENT;
	for (u64 *path = (u64 *)op->arg[0]; *path; path++) {
		long r = -sys(__NR_execve, *path, op->arg[1], op->arg[2], 0, 0, 0);
		if (r == EACCES)
			worst = r;
		else if (r != ENOENT && r != ENOTDIR)
			return r;
	}
	return worst;
}

/*
 * WAIT: arg[0] is the descriptor, arg[1] the byte, arg[2] another one or 0.
 * Anything else, the end of the file included, means that there is nobody to go
 * on for. Tells whether it was the other one.
 */
static int wait_byte(int fd, char want, char other)
{
	char got = 0;
	long r;
	do
		r = sys(__NR_read, fd, (u64)&got, 1, 0, 0, 0);
	while (r == -EINTR);
	if (r != 1 || (got != want && (!other || got != other)))
		leave(125);
	return got != want;
}

/* Reaps what has ended. Returns 1 when the job itself was among it. */
static int reap(int job, int *left)
{
	int status, ended = 0;
	struct usage u;
	for (;;) {
		long pid = sys(__NR_wait4, -1, (u64)&status, WNOHANG | __WALL, (u64)&u, 0, 0);
		if (pid == -EINTR)
			continue;
		if (pid <= 0) {
			*left = pid == 0;
			return ended;
		}
		if (pid == job) {
			ended = 1;
			H->report.status = status;
			for (int i = 0; i < 18; i++)
				H->report.job.v[i] = u.v[i];
		}
	}
}

/*
 * SERVE: arg[0] is a signalfd for SIGCHLD, arg[1] the job's pid. Sends one
 * report when the job has ended. If nothing else is left init ends with it,
 * unless arg[2] is set; else brig first looks at what is left, then says so by
 * closing its end.
 */
static void serve(int signals, int job, int stay) __attribute__((noreturn));
static void serve(int signals, int job, int stay)
{
	unsigned char info[128];
	int left;
	for (;;) {
		/* Not poll, which fails beyond RLIMIT_NOFILE: a job of init's own id
		   may lower that with prlimit(2) where its filter lets it. */
		u64 ready = 1UL << CHANNEL | 1UL << signals;
		long r = sys(__NR_pselect6, signals + 1, (u64)&ready, 0, 0, 0, 0);
		if (r == -EINTR)
			continue;
		if (r < 0)
			leave(125);
		if (ready >> signals & 1) {
			sys(__NR_read, signals, (u64)info, sizeof info, 0, 0, 0);
			if (reap(job, &left)) {
				H->report.plan = H->job_plan;
				H->report.err = H->job_err;
				H->report.alone = !left;
				sys(__NR_getrusage, RUSAGE_CHILDREN_, (u64)&H->report.children, 0, 0, 0, 0);
				sys(__NR_getrusage, RUSAGE_SELF_, (u64)&H->report.self, 0, 0, 0, 0);
				send_report('E');
				if (!left && !stay)
					leave(0);
			}
		}
		if (ready >> CHANNEL & 1)
			leave(0);
	}
}

static void run(void) __attribute__((noreturn));
static void run(void)
{
	struct op *ops = *(struct op **)AHEAD, *op = ops;
	int is_job = 0;
	for (;; op++) {
		u64 a[6];
		long r = 0;
		int asked = 0;
		for (int i = 0; i < 6; i++)
			a[i] = op->load >> i & 1 ? (u64)(long)(int)load(op->arg[i], 4) : op->arg[i];
		switch (op->kind) {
		case CALL:
			do
				r = sys(op->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
			while (r == -EINTR || (r == -EAGAIN && op->nr == __NR_openat2 && asked++ < OFTEN));
			break;
		case COMPARE: /* address, width, mask, expected, errno */
			if ((load(a[0], a[1]) & a[2]) != a[3])
				r = -(long)a[4];
			break;
		case WAIT:
			op += wait_byte(a[0], a[1], a[2]);
			continue;
		case FORK:
			r = a[1] ? clone3(a[1]) : clone(SIGCHLD);
			if (r == 0) {
				is_job = 1;
			} else if (r > 0) {
				*(volatile int *)op->out = r;
				op = ops + a[0] - 1;
			}
			if (r >= 0)
				continue;
			break;
		case EXEC:
			r = -try_exec(op);
			break;
		case SERVE:
			serve(a[0], a[1], a[2]);
		case SKIP:
			if ((long)a[0] >= 0)
				op += a[1];
			continue;
		case JUMP:
			if (((volatile struct part *)a[0])->magic != MAGIC)
				leave(125);
			ops = (struct op *)((volatile struct part *)a[0])->ops;
			op = ops - 1;
			continue;
		default:
			r = -ENOSYS;
		}
		if (r < 0 && r > -4096 && !tolerated(op, r))
			fail(is_job, op, -r);
		if (op->kind == CALL && op->out)
			*(volatile int *)op->out = r;
	}
}

/*
 * The process that brig executes is not PID 1 yet but its launcher: it clones
 * PID 1 into the namespaces that brig names, as brig's own child, says so and
 * ends. Brig thus never copies its own memory to make a process, and nothing of
 * brig's size appears in what the kernel accounts to the sandbox.
 */
static void launch(void)
{
	struct { u32 type; int value; } said = { 'C', 0 };
	u64 flags;
	long r;
	do
		r = sys(__NR_read, CHANNEL, (u64)&flags, sizeof flags, 0, 0, 0);
	while (r == -EINTR);
	if (r != sizeof flags)
		leave(125);
	r = clone(flags);
	if (r == 0)
		return;
	said.value = r;
	sys(__NR_sendto, CHANNEL, (u64)&said, sizeof said, 0x4000 /* MSG_NOSIGNAL */, 0, 0);
	leave(0);
}

void _start(void) __attribute__((noreturn));
void _start(void)
{
	launch();
	/* Brig makes the other parts while the one at AHEAD is carried out. */
	long p = sys(__NR_mmap, AHEAD, ROOM, PROT_RW, MAP_SHARED_ | MAP_FIXED_NOREPLACE, PROGRAM, 0);
	if (p != (long)AHEAD)
		leave(125);
	run();
}
