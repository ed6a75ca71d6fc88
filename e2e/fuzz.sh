#!/usr/bin/env bash
# Fuzzes one target for a while: fuzz.sh PACKAGE-DIRECTORY TARGET DURATION
set -uo pipefail

dir=$1 target=$2 duration=$3
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if "${GO:-go}" test -run=NONE -fuzz="^$target\$" -fuzztime="$duration" -parallel=1 "$dir" >"$log" 2>&1; then
	tail -n 1 "$log" | sed "s/^/$target: /"
	exit 0
fi

# Go before 1.27 may report the end of the time itself as a failure
# (https://go.dev/issue/75804). That is all it then says: no input was written,
# and the one line below the failure is that of the deadline.
said=$(sed -n '/^--- FAIL/,/^FAIL/{/^--- FAIL/d;/^FAIL/d;p}' "$log")
if [[ $said == "    context deadline exceeded" ]] && ! grep -q 'Failing input written' "$log"; then
	echo "$target: $(grep '^fuzz: elapsed' "$log" | tail -n 1); the time is up, nothing was found"
	exit 0
fi
sed "s/^/$target: /" "$log"
exit 1
