#!/usr/bin/env bash
# Everything that `make test` proves, after deps and build: the linter, each fuzz
# target for FUZZTIME or FUZZTIME_OTHERS, all tests as an ordinary user and, where
# possible, as root, the suite in virtual machines, and that nothing was left
# behind. Every stage runs even if an earlier one failed. The machines run beside
# the tests as user and root, which wait for half of their time. It closes with the
# tests that were skipped and the result of each package.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

export FUZZTIME=${FUZZTIME:-60s} FUZZTIME_OTHERS=${FUZZTIME_OTHERS:-10s}
export GO=${GO:-go}
dir=$(mktemp -d "${TMPDIR:-/tmp}/brig-test.XXXXXX")
machines= # the process that runs them
trap '[[ -z $machines ]] || kill "$machines"; rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$dir"
export BRIG_TEST_DIR=$dir
export BRIG_TEST_SKIPS=$dir/skips
: >"$BRIG_TEST_SKIPS"
chmod 666 "$BRIG_TEST_SKIPS"
failed=()

# stage NAME COMMAND... runs one stage and remembers how it ended.
stage() {
	local name=$1 begin=$SECONDS
	shift
	echo
	echo "== $name"
	if "$@" 2>&1 | tee "$dir/$name.log"; then
		echo "-- $name: passed in $((SECONDS - begin)) s"
	else
		echo "-- $name: FAILED after $((SECONDS - begin)) s"
		failed+=("$name")
	fi
}

# One package after the other: the leak tests look at the whole host, and the
# sandboxes of another package are no leak.
tests_as_user() {
	if [[ $(id -u) -ne 0 ]]; then
		BRIG_BIN=$PWD/bin/brig "$GO" test -count=1 -p 1 ./...
		return
	fi
	e2e/as-user.sh --prepare "$dir" || return
	BRIG_BIN=$dir/src/bin/brig "$GO" test -count=1 -p 1 -exec "$PWD/e2e/as-user.sh" ./...
}

tests_as_root() {
	if [[ $(id -u) -ne 0 ]]; then
		echo "skipped: this is uid $(id -u); run make test as root as well"
		return
	fi
	# The old kernel is an ordinary user's process in any case, and was run.
	BRIG_BIN=$PWD/bin/brig "$GO" test -count=1 -p 1 -skip '^TestOldKernel$' ./...
}

# The suite on other systems: who starts the machines does not matter. It prints
# each test, for it is the only one that is told of. Where they have to be
# emulated, each is a CPU's load for minutes: what control groups and service
# managers contribute to is then run as a user in one machine and as root in the
# other (-short), all scripts if BRIG_TEST_MACHINES is whole; the limits, variants
# and what is left in both roles of both. `make vm-test` leaves out nothing.
#
# They run behind the tests for which somebody waits. The tests that measure wait
# for the others to end.
begin_machines() {
	local part=(-test.short)
	[[ ${BRIG_TEST_MACHINES-} != whole ]] || part=()
	"$GO" test -c -tags machines -o "$dir/machines.test" ./e2e/vm || return
	(
		cd e2e/vm || exit 1
		BRIG_TEST_ALONE=$dir/alone exec nice -n 5 "$dir/machines.test" -test.timeout 60m -test.v "${part[@]}" -test.run '^TestMachines$'
	) >"$dir/machines.out" 2>&1 &
	machines=$!
}

# end_machines waits for them, tells them that they are alone, and keeps how they
# ended for the stage.
end_machines() {
	echo 1 >"$dir/machines.rc"
	[[ -n $machines ]] || return # their build has failed
	local begin=$SECONDS
	touch "$dir/alone"
	wait "$machines"
	echo $? >"$dir/machines.rc"
	machines=
	echo "-- the machines took $((SECONDS - begin)) s longer than all that"
}

tests_in_machines() {
	if [[ ${BRIG_TEST_MACHINES-} == off ]]; then
		echo "not run: BRIG_TEST_MACHINES is off; run make vm-test"
		return
	fi
	cat "$dir/machines.out"
	return "$(<"$dir/machines.rc")"
}

# Fuzz targets are found, not listed: a new one cannot be forgotten. They are
# pure, so who runs them does not matter; each gets one worker, and five share a
# CPU. What reads policies, ids and plans gets FUZZTIME, the others a sixth of it.
fuzz() {
	grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
		local time=$FUZZTIME_OTHERS
		case $file in
		./policy/seccomp/*) ;;
		./policy/* | ./userns/* | ./sandbox/plan/*) time=$FUZZTIME ;;
		esac
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
			printf '%s %s %s\n' "$(dirname "$file")" "$target" "$time"
		done
	done | sort -rk3 | xargs -r -P "$((5 * $(nproc)))" -L 1 e2e/fuzz.sh
}

leaks() {
	"$GO" run ./e2e/leakcheck after "$dir/before.json"
}

"$GO" run ./e2e/leakcheck before "$dir/before.json" || exit 1
echo
echo "== what brig finds here"
bin/brig doctor --json || true
stage lint make --no-print-directory lint
stage fuzz fuzz
[[ ${BRIG_TEST_MACHINES-} == off ]] || begin_machines
stage user tests_as_user
stage root tests_as_root
[[ ${BRIG_TEST_MACHINES-} == off ]] || end_machines
stage machines tests_in_machines
stage leaks leaks

echo
if [[ -s $BRIG_TEST_SKIPS ]]; then
	echo "== skipped (package, test, what was missing, why)"
	sort -u "$BRIG_TEST_SKIPS" | column -t -s "$(printf '\t')"
else
	echo "== skipped: nothing"
fi

echo
for name in user root; do
	echo "== results as $name"
	grep -E '^(ok|FAIL|---|panic:|\?)[[:space:]]' "$dir/$name.log" || true
done
echo "== results in virtual machines"
grep -E '^(ok|FAIL|panic:)[[:space:]]|^ {0,8}--- ' "$dir/machines.log" || true
if [[ ${#failed[@]} -gt 0 ]]; then
	echo "FAILED: ${failed[*]}"
	exit 1
fi
