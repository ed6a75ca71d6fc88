# What a login on one of the machine's consoles does: in a test it becomes the
# agent that takes commands from the host. It stays within the login's session.
PATH=/opt/brig/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin
case $(tty) in
/dev/hvc[01])
	if grep -qw brig.vm=test /proc/cmdline; then
		exec /opt/brig/bin/agent "/dev/virtio-ports/brig.$(id -un)"
	fi
	stty rows 24 cols 80
	echo "brig is in the PATH, its test suite in /opt/brig. Leave with exit (the machine ends) or with Ctrl-A X."
	;;
esac
