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

# 1. User namespaces are switched off by sysctl, and every sandbox is one.
# This allows them, now and after each start of the host.
cat >/etc/sysctl.d/90-brig.conf <<'END'
user.max_user_namespaces = 15000
kernel.unprivileged_userns_clone = 1
END
sysctl -p /etc/sysctl.d/90-brig.conf

# 2. AppArmor keeps user namespaces from programs without a profile
# (kernel.apparmor_restrict_unprivileged_userns=1). This one allows them to
# brig where it is installed now, and confines nothing else.
cat >/etc/apparmor.d/brig <<'END'
abi <abi/4.0>,
include <tunables/global>

profile brig "/opt/a dir/b'rig" flags=(unconfined) {
  userns,

  include if exists <local/brig>
}
END
apparmor_parser -r /etc/apparmor.d/brig

# 3. newuidmap and newgidmap are not installed. They map a user's subordinate
# ids, without which every process in a sandbox is the same user.
if command -v apt-get >/dev/null; then apt-get install -y uidmap
elif command -v dnf >/dev/null; then dnf install -y shadow-utils
elif command -v zypper >/dev/null; then zypper install -y shadow
elif command -v pacman >/dev/null; then pacman -S --noconfirm shadow
elif command -v apk >/dev/null; then apk add shadow-uidmap
else echo 'install newuidmap and newgidmap with the package manager of this system' >&2
fi

# 4. alice has no subordinate ids, without which every process in a sandbox is
# the same user. The range 165536-231071 is free in /etc/subuid and in
# /etc/subgid.
if cut -d: -f1 /etc/subuid 2>/dev/null | grep -Fqx -e alice; then
	echo '/etc/subuid has an entry by now' >&2
elif command -v usermod >/dev/null; then
	usermod --add-subuids 165536-231071 -- alice
else
	printf '%s\n' 'alice:165536:65536' >>/etc/subuid
fi
if cut -d: -f1 /etc/subgid 2>/dev/null | grep -Fqx -e alice; then
	echo '/etc/subgid has an entry by now' >&2
elif command -v usermod >/dev/null; then
	usermod --add-subgids 165536-231071 -- alice
else
	printf '%s\n' 'alice:165536:65536' >>/etc/subgid
fi

# 5. What systemd hands on cannot be seen without a session; by itself it is
# cpu, memory and pids at most. The kernel holds a limit only where its
# controller is handed on: this drop-in adds those that brig uses.
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

# 6. No service manager runs for alice without a session, as after su, sudo -u
# or in a job of cron. This keeps it running from the start of the host on.
# Not needed where brig is only used after a login.
loginctl enable-linger -- alice
echo 'without a session, set XDG_RUNTIME_DIR=/run/user/1000 before brig is started'

printf '%s\n' 'alice has to end every session and log in again (or: systemctl restart user@1000.service, which ends all that runs there)'
echo 'done; see what brig doctor says'

# Not mended here:
# - Landlock: it is off; fix: switch it on
