#!/bin/sh
# brig doctor: what this host (Linux 6.8.0-31-generic) lacks for root to use
# brig, and how to mend it.
# Read it, then run it as root: sudo sh FILE
set -eu
umask 022
if [ "$(id -u)" -ne 0 ]; then
	echo 'this changes the system: run it as root' >&2
	exit 1
fi

# 1. User namespaces are switched off by sysctl, and every sandbox is one.
# This allows them, now and after each start of the host.
cat >/etc/sysctl.d/90-brig.conf <<'END'
user.max_user_namespaces = 15000
END
sysctl -p /etc/sysctl.d/90-brig.conf
echo 'done; see what brig doctor says'

# Not mended here:
# - mapping of several ids: it is off; fix: switch it on
# - Landlock: it is off; fix: switch it on
# - control groups: systemd's socket, /run/systemd/private, is not there; fix:
# start brig on the host, outside of containers and chroots
