#!/usr/bin/env bash
# Lets the benchmark measure control groups as an ordinary user where no part of
# the tree is that user's: called by root, it makes one directory below the bare
# root of version 2, starts a service manager of the user's own in it, and a
# process that measures there when asked. Whoever calls it removes the directory.
#
#   groups.sh TREE PROGRAMS SOCKET
#
# In a mount namespace of its own, since a manager looks for version 2 at
# /sys/fs/cgroup and for its sockets in /run: neither is changed for the host.
# Prints "ready" with the manager's socket behind it, or "without" and why.
set -euo pipefail
tree=$1 programs=$2 socket=$3
user=brigtest
uid=$(id -u "$user")
run=/run/user/$uid

if [[ ${4-} != inside ]]; then
	# The user's: to divide, and to move processes within.
	mkdir "$tree/bench" "$tree/manager" "$tree/own"
	for group in "$tree" "$tree"/*/; do
		chown "$user:$user" "$group" "$group/cgroup.procs" "$group/cgroup.threads" "$group/cgroup.subtree_control"
	done
	echo $$ >"$tree/bench/cgroup.procs"
	exec unshare --mount --propagation private "$0" "$tree" "$programs" "$socket" inside
fi

top=$(dirname "$tree")
[[ $top == /sys/fs/cgroup ]] || mount --bind "$top" /sys/fs/cgroup
tree=/sys/fs/cgroup/$(basename "$tree")
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/system "$run"
chown "$user:$user" "$run"
chmod 700 "$run"
as_user=(setpriv "--reuid=$user" "--regid=$user" --init-groups --inh-caps=-all env -i
	PATH="$PATH" HOME="/home/$user" USER="$user" XDG_RUNTIME_DIR="$run")

manager=
for name in /usr/lib/systemd/systemd /lib/systemd/systemd; do
	[[ -x $name ]] && manager=$name && break
done
why="systemd is not installed"
if [[ -n $manager ]]; then
	(
		echo $BASHPID >"$tree/manager/cgroup.procs"
		exec "${as_user[@]}" "$manager" --user --log-level=err
	) </dev/null >/dev/null 2>"$(dirname "$socket")/manager.log" &
	why="the manager does not start: $(dirname "$socket")/manager.log"
	for _ in $(seq 100); do
		[[ -S $run/systemd/private ]] && why= && break
		sleep 0.1
	done
	[[ -z $why ]] || why="the manager does not start: $(tail -n 1 "$(dirname "$socket")/manager.log")"
fi
if [[ -z $why ]]; then
	echo "ready $run/systemd/private"
else
	echo "without $why"
fi
exec "${as_user[@]}" "$programs/group" serve "$socket" "$tree/own" </dev/null
