#!/bin/sh
# brig doctor: this host lacks nothing that a script could mend.

# Not mended here:
# - overlay: no\x1b[31m overlay\n$(reboot); fix: first second
# - subordinate ids: /etc/subuid:3: nonsense
# - control groups: the controllers are those of version 1 of control groups
# (layout hybrid), which ordinary users cannot be given; fix: add
# systemd.unified_cgroup_hierarchy=1 to the kernel's command line and start
# the host again: sudo grubby --update-kernel=ALL
# --args=systemd.unified_cgroup_hierarchy=1, or in GRUB_CMDLINE_LINUX of
# /etc/default/grub and sudo update-grub
