#!/usr/bin/env bash
# Fuzzes one target for a while: fuzz.sh PACKAGE-DIRECTORY TARGET DURATION [PROGRAM],
# with the package's tests as a program where they were built before
# (go test -c -fuzz=.).
set -uo pipefail

dir=$1 target=$2 duration=$3 program=${4-}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

flags=(-run=NONE -fuzz="^$target\$" -fuzztime="$duration" -parallel=1)
if [[ -n $program ]]; then
	cache=$("${GO:-go}" env GOCACHE)/fuzz/$("${GO:-go}" list "$dir") # where go test keeps what it found before
	command=(env -C "$dir" "$program" "${flags[@]/#-/-test.}" -test.fuzzcachedir="$cache")
else
	command=("${GO:-go}" test "${flags[@]}" "$dir")
fi
if "${command[@]}" >"$log" 2>&1; then
	said=$(grep '^fuzz: elapsed' "$log" | tail -n 1)
	[[ -n $said ]] || { # it says so for a target that it does not have, too
		echo "$target: nothing was fuzzed: $(cat "$log")"
		exit 1
	}
	echo "$target: ok, $said"
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
