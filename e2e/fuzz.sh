#!/usr/bin/env bash
# Fuzzes one target for a while: fuzz.sh PACKAGE-DIRECTORY TARGET DURATION [PROGRAM],
# with the package's tests as a program where they were built before, instrumented.
set -uo pipefail

dir=$1 target=$2 duration=$3 program=${4-}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# By default an input that reaches new code is made shorter for up to a minute:
# where none are known yet, that is all that would be done.
flags=(-run=NONE -fuzz="^$target\$" -fuzztime="$duration" -parallel=1 -fuzzminimizetime=100x)
if [[ -n $program ]]; then
	cache=$("${GO:-go}" env GOCACHE)/fuzz/$("${GO:-go}" list "$dir") # where go test keeps what it found before
	command=(env -C "$dir" "$program" "${flags[@]/#-/-test.}" -test.fuzzcachedir="$cache")
else
	command=("${GO:-go}" test "${flags[@]}" "$dir")
fi

# passed tells how much was fuzzed. A target that is not there is no error to Go,
# nor is a program that was built without what tells it which code it reaches.
passed() {
	local said
	said=$(grep '^fuzz: elapsed' "$log" | tail -n 1)
	if [[ -z $said ]] || grep -q 'not built with coverage instrumentation' "$log"; then
		sed "s/^/$target: not fuzzed as it should be: /" "$log"
		exit 1
	fi
	echo "$target: $said${1-}"
	exit 0
}

if "${command[@]}" >"$log" 2>&1; then
	passed
fi

# Go before 1.27 may report the end of the time itself as a failure
# (https://go.dev/issue/75804). That is all it then says: no input was written,
# and the one line below the failure is that of the deadline.
said=$(sed -n '/^--- FAIL/,/^FAIL/{/^--- FAIL/d;/^FAIL/d;p}' "$log")
if [[ $said == "    context deadline exceeded" ]] && ! grep -q 'Failing input written' "$log"; then
	passed '; the time is up, nothing was found'
fi
sed "s/^/$target: /" "$log"
exit 1
