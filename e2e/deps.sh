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
	"command -v pkg-config|pkg-config"
	"command -v git|git"
	"command -v column|bsdextrautils"
	"command -v pgrep|procps"
	"command -v setpriv|util-linux"
	"command -v aarch64-linux-gnu-gcc|gcc-aarch64-linux-gnu"
	"test -e /usr/aarch64-linux-gnu/include/asm/unistd.h || test -e /usr/include/aarch64-linux-gnu/asm/unistd.h|libc6-dev-arm64-cross"
	"test -e /usr/include/seccomp.h|libseccomp-dev"
	"find /usr/lib /usr/lib64 -name libseccomp.a -print -quit 2>/dev/null | grep -q .|libseccomp-dev"
)

# What only some tests need, which are skipped without it: those on an old kernel
# and in virtual machines, the one that reads the script of brig doctor, those that
# end brig at a system call, and images and patches made, kept and read by other
# tools. Not every distribution and architecture has it.
optional=(
	"command -v strace|strace"
	"command -v patch|patch"
	"command -v skopeo|skopeo"
	"command -v umoci|umoci"
	"command -v docker-registry|docker-registry"
	"command -v buildah|buildah"
	"command -v podman|podman"
	"command -v linux.uml|user-mode-linux"
	"test -x /sbin/insmod|kmod"
	"test -x /sbin/mke2fs|e2fsprogs"
	"command -v mmdebstrap|mmdebstrap"
	"command -v qemu-system-x86_64|qemu-system-x86"
	"command -v shellcheck|shellcheck"
)

# lacking CHECK|PACKAGE... prints the packages whose checks fail.
lacking() {
	local line
	for line; do
		bash -c "${line%|*}" >/dev/null 2>&1 || printf '%s\n' "${line##*|}"
	done | sort -u
}

mapfile -t missing < <(lacking "${needed[@]}")
mapfile -t extra < <(lacking "${optional[@]}")
if ! command -v go >/dev/null; then
	echo "deps: Go 1.26 or later is needed; see https://go.dev/dl" >&2
	exit 1
fi
[[ ${#missing[@]} -eq 0 && ${#extra[@]} -eq 0 ]] && exit 0

# without tells what is not to be had, which is no failure.
without() {
	[[ ${#extra[@]} -eq 0 ]] || echo "deps: tests that need ${extra[*]} will be skipped: $1"
	extra=()
}

if [[ ${#missing[@]} -eq 0 ]]; then
	if ! command -v apt-get >/dev/null; then
		without "install it with this system's package manager"
		exit 0
	elif [[ $(id -u) -ne 0 ]] && ! sudo -n true 2>/dev/null; then
		without "apt-get needs root"
		exit 0
	fi
fi
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
# install PACKAGE... fetches the package lists only when the first try fails.
install() {
	local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get)
	echo "deps: installing $*"
	"${apt[@]}" install -y -q --no-install-recommends "$@" && return
	"${apt[@]}" update -q && "${apt[@]}" install -y -q --no-install-recommends "$@"
}

# compile_ahead compiles what is not this project's: the libraries that its binaries
# and tests are linked from, as the Makefile and test.sh have them built. It promises
# nothing, the build finds what is there.
compile_ahead() {
	local go=${GO:-go}
	export CGO_ENABLED=0 GOGC=400 GOTMPDIR=$ahead
	# shellcheck disable=SC2046 # a list
	"$go" build -trimpath $("$go" list -e -deps -test -f \
		'{{if not .Error}}{{if .Standard}}{{.ImportPath}}{{else if not .Module.Main}}{{.ImportPath}}{{end}}{{end}}' ./... |
		grep -v -e internal/ -e ^vendor/ -e libseccomp)
}

# Packages are unpacked by one CPU, which leaves others. It ends with that, in a group
# of processes of its own.
ahead=$(mktemp -d)
set -m
compile_ahead >/dev/null 2>&1 &
set +m
trap 'kill -- "-$!" 2>/dev/null || true; wait "$!" 2>/dev/null || true; rm -rf "$ahead"' EXIT
if [[ ${#missing[@]} -gt 0 ]]; then
	install "${missing[@]}"
fi
if [[ ${#extra[@]} -gt 0 ]]; then
	install "${extra[@]}" || without "apt-get cannot install it"
fi
