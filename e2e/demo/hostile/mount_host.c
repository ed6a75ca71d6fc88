/* Changes mounts, roots and namespaces, and makes a disk's device node. */
#include "hostile.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int main(void)
{
	tried("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
	tried("remount", mount(NULL, "/usr", NULL, MS_REMOUNT | MS_BIND, NULL));
	tried("umount", umount2("/usr", MNT_DETACH));
	tried("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
	tried("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
	tried("pivot_root", syscall(SYS_pivot_root, ".", "."));
	tried("chroot", chroot("/tmp"));
	tried("mknod", mknod("/tmp/disk", S_IFBLK | 0600, makedev(8, 0)));
	tried("unshare", unshare(CLONE_NEWNS));
	tried("user namespace", unshare(CLONE_NEWUSER));
	return verdict();
}
