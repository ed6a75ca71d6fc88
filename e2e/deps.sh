#!/usr/bin/env bash
# Installs what building and testing brig needs, by package name. Does nothing
# when everything is there.
set -euo pipefail

# What is needed: how to see that it is there, and the Debian package.
needed=(
	"command -v newuidmap|uidmap"
	"command -v bwrap|bubblewrap"
	"command -v gcc|gcc"
	"command -v g++|g++"
	"command -v python3|python3"
	"command -v git|git"
	"command -v linux.uml|user-mode-linux"
	"test -x /sbin/insmod|kmod"
	"test -x /sbin/mke2fs|e2fsprogs"
	"command -v setpriv|util-linux"
	"command -v aarch64-linux-gnu-gcc|gcc-aarch64-linux-gnu"
	"test -e /usr/include/seccomp.h|libseccomp-dev"
	"find /usr/lib /usr/lib64 -name libseccomp.a -print -quit 2>/dev/null | grep -q .|libseccomp-dev"
)

missing=()
for line in "${needed[@]}"; do
	check=${line%|*}
	package=${line##*|}
	if ! bash -c "$check" >/dev/null 2>&1 && [[ " ${missing[*]} " != *" $package "* ]]; then
		missing+=("$package")
	fi
done
if ! command -v go >/dev/null; then
	echo "deps: Go 1.26 or later is needed; see https://go.dev/dl" >&2
	exit 1
fi
[[ ${#missing[@]} -eq 0 ]] && exit 0

if ! command -v apt-get >/dev/null; then
	echo "deps: missing here, by their Debian names: ${missing[*]}" >&2
	echo "deps: install them with this system's package manager, then run make again" >&2
	exit 1
fi
as_root=()
if [[ $(id -u) -ne 0 ]]; then
	if ! sudo -n true 2>/dev/null && ! { [[ -t 0 ]] && command -v sudo >/dev/null; }; then
		echo "deps: root is needed once: apt-get install ${missing[*]}" >&2
		exit 1
	fi
	as_root=(sudo)
fi
echo "deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Package lists may be fresh enough; they are fetched only when the first try fails.
install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}")
if ! "${install[@]}"; then
	"${as_root[@]}" apt-get update -q
	"${install[@]}"
fi
