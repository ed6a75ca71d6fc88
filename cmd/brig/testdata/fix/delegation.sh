#!/bin/sh
# brig doctor: what this host (Linux 6.8.0-31-generic) lacks for alice to use
# brig, and how to mend it.
# Read it, then run it as root: sudo sh FILE
set -eu
umask 022
if [ "$(id -u)" -ne 0 ]; then
	echo 'this changes the system: run it as root' >&2
	exit 1
fi

# 1. systemd does not hand all controllers to users: there is no cpuset, io.
# The kernel holds a limit only where its controller is handed on: this
# drop-in adds those that brig uses.
mkdir -p '/etc/systemd/system/user@.service.d'
[ ! -e '/etc/systemd/system/user@.service.d/delegate.conf' ] || cp -p '/etc/systemd/system/user@.service.d/delegate.conf' '/etc/systemd/system/user@.service.d/delegate.conf.before-brig'
cat >'/etc/systemd/system/user@.service.d/delegate.conf' <<'END'
# /etc/systemd/system/user@.service.d/delegate.conf
#
# Hands these controllers to every user's own service manager, so that brig can
# have the kernel hold limits on CPUs, memory, transfers and processes. Users can
# then limit what they run themselves, and nothing of anybody else's. systemd by
# itself hands on cpu, memory and pids, older ones less. It takes effect when a
# user's manager starts anew: after the last session of the user has ended.
[Service]
Delegate=cpu cpuset io memory pids
END
systemctl daemon-reload

printf '%s\n' 'alice has to end every session and log in again (or: systemctl restart user@1000.service, which ends all that runs there)'
echo 'done; see what brig doctor says'
