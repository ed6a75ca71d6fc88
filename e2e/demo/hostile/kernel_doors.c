/* Knocks at the parts of the kernel through which others have broken out. */
#include "hostile.h"
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	char text[256] = { 0 };

	tried("bpf", syscall(SYS_bpf, 0, text, 64));
	tried("io_uring", syscall(SYS_io_uring_setup, 4, text));
	tried("userfaultfd", syscall(SYS_userfaultfd, 1));
	tried("perf", syscall(SYS_perf_event_open, text, 0, -1, -1, 0));
	tried("keyctl", syscall(SYS_keyctl, 0, -3, 0));
	tried("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
	tried("module", syscall(SYS_init_module, text, 0, ""));
	tried("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0));
	tried("fanotify", syscall(SYS_fanotify_init, 0, 0));
	tried("file handle", syscall(SYS_open_by_handle_at, -1, text, 0));
	return verdict();
}
