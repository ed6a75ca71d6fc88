#!/usr/bin/env bash
# Builds the demo, lays out a directory for it and runs it: as an ordinary user
# when called by root. Leaves nothing behind, the user neither unless it was
# there before.
set -euo pipefail
cd "$(dirname "$0")/../.."

GO=${GO:-go}
user=brigtest
module=github.com/BurntSushi/toml

dir=$(mktemp -d "${TMPDIR:-/tmp}/brig-demo.XXXXXX")
made_user=
cleanup() {
	rm -rf "$dir"
	if [[ -n $made_user ]]; then
		userdel --remove "$user" 2>/dev/null || echo "demo: the user $user stays: userdel --remove $user" >&2
	fi
}
trap cleanup EXIT
chmod 755 "$dir"

CGO_ENABLED=0 "$GO" build -o "$dir/demo" ./e2e/demo
cp bin/brig bin/brig-filterc "$dir/"
mkdir "$dir/work"
cp -r e2e/demo/submissions e2e/demo/tests e2e/demo/hostile "$dir/work/"

# The module cache is read-only, and an ordinary user may not be able to enter it.
source=$("$GO" list -m -f '{{.Dir}}' "$module")
version=$("$GO" list -m -f '{{.Version}}' "$module")
if [[ -z $source ]]; then
	"$GO" mod download "$module"
	source=$("$GO" list -m -f '{{.Dir}}' "$module")
fi
cp -r "$source" "$dir/work/module"
chmod -R u+w "$dir/work"

goroot=$("$GO" env GOROOT)
arguments=(-brig "$dir/brig" -dir "$dir/work" -module "$module@$version")
if [[ $(id -u) -ne 0 ]]; then
	"$dir/demo" "${arguments[@]}" -goroot "$goroot"
	exit
fi

id "$user" >/dev/null 2>&1 || made_user=yes
e2e/as-user.sh --prepare "$dir"
if ! setpriv --reuid="$user" --regid="$user" --init-groups test -x "$goroot/bin/go"; then
	cp -r "$goroot" "$dir/go"
	goroot=$dir/go
fi
chmod -R go+rX "$dir/brig" "$dir/brig-filterc"
chown -R "$user:$user" "$dir/work"
BRIG_TEST_DIR=$dir e2e/as-user.sh "$dir/demo" "${arguments[@]}" -goroot "$goroot"
