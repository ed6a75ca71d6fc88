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

# 1. No service manager runs for alice without a session, as after su, sudo -u
# or in a job of cron. This keeps it running from the start of the host on.
# Not needed where brig is only used after a login.
loginctl enable-linger -- alice
echo 'without a session, set XDG_RUNTIME_DIR=/run/user/1000 before brig is started'
echo 'done; see what brig doctor says'
