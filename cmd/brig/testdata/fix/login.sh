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

# 1. /etc/systemd/system/user@.service.d/delegate.conf is there, but the
# user's manager was started before it: cpuset, io will be handed on when it
# is started anew.
systemctl daemon-reload

printf '%s\n' 'alice has to end every session and log in again (or: systemctl restart user@1000.service, which ends all that runs there)'
echo 'done; see what brig doctor says'
