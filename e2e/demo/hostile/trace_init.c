/* Looks into, and takes over, the process that started it. */
#include "hostile.h"
#include <fcntl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
	char text[64];
	struct iovec here = { text, sizeof text }, there = { (void *)0x10000, sizeof text };

	tried("attach", ptrace(PTRACE_ATTACH, 1, 0, 0));
	tried("seize", ptrace(PTRACE_SEIZE, 1, 0, 0));
	tried("process_vm_readv", process_vm_readv(1, &here, 1, &there, 1, 0));
	tried("mem", open("/proc/1/mem", O_RDWR));
	tried("root", open("/proc/1/root", O_RDONLY | O_DIRECTORY));
	tried("exe", open("/proc/1/exe", O_RDONLY));
	int fd = (int)syscall(SYS_pidfd_open, 1, 0);
	tried("pidfd_getfd", syscall(SYS_pidfd_getfd, fd, 0, 0));
	return verdict();
}
