#!/usr/bin/env bash
# Runs a test binary as an ordinary user with subordinate ids:
#
#   go test -exec "$PWD/e2e/as-user.sh" ./...
#
# Called by root. The user (brigtest) is made when it is absent. The clone and
# go's build directory may lie below directories that an ordinary user cannot
# enter, so the tree and the binary are copied to where it can:
#   BRIG_TEST_DIR  a directory that `as-user.sh --prepare DIR` has filled
#
# Where a mount namespace can be made, BRIG_TEST_DISK names a directory of the
# user's on a file system of 24 MB, for tests of full disks. It is mounted in a
# namespace of the test binary's own, and gone with its last process, however that
# ends.
#
# Only PATH, LANG and variables named BRIG_* are handed on.
set -euo pipefail

user=brigtest
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# next_range prints the first id after every range in the files, so that the
# new range overlaps with none.
next_range() {
	awk -F: 'BEGIN { n = 100000 } NF == 3 && $2 + $3 > n { n = $2 + $3 } END { print n }' /etc/subuid /etc/subgid 2>/dev/null
}

make_user() {
	if ! id "$user" >/dev/null 2>&1; then
		useradd --create-home --home-dir "/home/$user" --shell /bin/sh --user-group "$user"
	fi
	local start
	start=$(next_range)
	grep -q "^$user:" /etc/subuid 2>/dev/null || usermod --add-subuids "$start-$((start + 65535))" "$user"
	grep -q "^$user:" /etc/subgid 2>/dev/null || usermod --add-subgids "$start-$((start + 65535))" "$user"
}

prepare() {
	local dir=$1
	make_user
	mkdir -p "$dir/src" "$dir/bin" "$dir/tmp" "$dir/disk"
	chmod 755 "$dir" "$dir/src" "$dir/bin"
	# Tracked and new files, without .git: what a reader of the tree sees.
	(cd "$repo" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' f; do
		[[ -e $f || -L $f ]] && printf '%s\0' "$f"
	done | tar --null --files-from=- -cf -) | tar -C "$dir/src" --no-same-owner -xf -
	cp -r "$repo/bin" "$dir/src/" 2>/dev/null || true
	rm -rf "$dir/src/bin/tools"
	[[ -d $repo/configs/filters ]] && mkdir -p "$dir/src/configs" && cp -r "$repo/configs/filters" "$dir/src/configs/"
	chmod -R u=rwX,go=rX "$dir/src"
	chown "$user:$user" "$dir/tmp"
	chmod 700 "$dir/tmp"
}

if [[ ${1-} == --prepare ]]; then
	prepare "$2"
	exit 0
fi

: "${BRIG_TEST_DIR:?is not set; see the head of this file}"
binary=$1
shift
# go test names each package's directory apart (…/b042/x.test).
copy=$BRIG_TEST_DIR/bin/$(basename "$(dirname "$binary")")/$(basename "$binary")
mkdir -p "$(dirname "$copy")"
cp -- "$binary" "$copy"
chmod 755 "$copy"

disk=()
unset BRIG_TEST_DISK
if unshare --mount mount -t tmpfs -o size=1m brig-test "$BRIG_TEST_DIR/disk" 2>/dev/null; then
	# shellcheck disable=SC2016 # the inner shell expands it
	disk=(unshare --mount sh -ec 'mount -t tmpfs -o "size=24m,mode=700,uid=$1,gid=$2" brig-test "$0"; shift 2; exec "$@"'
		"$BRIG_TEST_DIR/disk" "$(id -u "$user")" "$(id -g "$user")")
	export BRIG_TEST_DISK=$BRIG_TEST_DIR/disk
fi
handed=()
for name in "${!BRIG_@}"; do
	handed+=("$name=${!name}")
done
cd "$BRIG_TEST_DIR/src/${PWD#"$repo"}" 2>/dev/null || cd "$BRIG_TEST_DIR/src"
exec "${disk[@]}" setpriv --reuid="$user" --regid="$user" --init-groups --inh-caps=-all \
	env -i PATH="$PATH" LANG="${LANG-C.UTF-8}" HOME="/home/$user" USER="$user" LOGNAME="$user" \
	TMPDIR="$BRIG_TEST_DIR/tmp" "${handed[@]}" "$copy" "$@"
