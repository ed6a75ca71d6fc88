#!/usr/bin/env bash
# Everything that `make test` proves, after deps and build: each fuzz target for
# FUZZTIME or FUZZTIME_OTHERS, all tests as an ordinary user and, where possible,
# as root, the suite in virtual machines, and that nothing was left behind. Every
# stage runs even if an earlier one failed. The machines run beside all of it:
# tests as user and root wait for half of their time. It closes with the tests that
# were skipped and the result of each package.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

export FUZZTIME=${FUZZTIME:-10s} FUZZTIME_OTHERS=${FUZZTIME_OTHERS:-3s}
export GO=${GO:-go}
# Tests are built as the binaries are, so that a library is compiled once: without
# the C library, except what links libseccomp. Vetting is the linter's.
export GOFLAGS="-trimpath -ldflags=-w -vet=off ${GOFLAGS-}" CGO_ENABLED=0
dir=$(mktemp -d "${TMPDIR:-/tmp}/brig-test.XXXXXX")
declare -A beside=() # the processes of stages that run beside others
trap '[[ ${#beside[@]} -eq 0 ]] || kill "${beside[@]}"; rm -rf "$dir"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$dir"
export BRIG_TEST_DIR=$dir
tests=$dir/tests # the compiled tests
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

# begin NAME COMMAND... starts a stage that runs beside others, and behind them
# where both want the CPU. end NAME waits for it, and then it is a stage.
begin() {
	local name=$1
	shift
	nice -n 5 "$@" >"$dir/$name.out" 2>&1 &
	beside[$name]=$!
}

end() {
	local name=$1 begin=$SECONDS rc=1
	if [[ -n ${beside[$name]-} ]]; then
		wait "${beside[$name]}"
		rc=$?
		unset "beside[$name]"
	fi
	echo "-- waited $((SECONDS - begin)) s for $name"
	stage "$name" said "$name" "$rc"
}

said() {
	cat "$dir/$1.out"
	return "$2"
}

# compile runs a command of Go's that compiles: a sixth of what that takes would be
# collecting garbage.
compile() {
	GOGC=400 "$GO" "$@"
}

# build_tests compiles the tests of every package once, for all who run them: what
# links libseccomp with the C library, the others without it. The list is in the order
# in which they are run. The suite is last: it leaves least to the machines, which are
# made meanwhile.
build_tests() {
	local all
	mkdir -p "$tests"
	all=$(CGO_ENABLED=1 "$GO" list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Deps}} {{.TestImports}} {{.XTestImports}}{{end}}' ./...) || return
	awk '{ print ($1 ~ /\/e2e/), $1 }' <<<"$all" | sort -s -k1,1 | cut -d' ' -f2 >"$tests/list"
	# shellcheck disable=SC2046 # these are lists
	CGO_ENABLED=1 compile test -c -o "$tests/" $(awk '/libseccomp/ { print $1 }' <<<"$all") || return
	# shellcheck disable=SC2046
	compile test -c -o "$tests/" $(awk '!/libseccomp/ { print $1 }' <<<"$all") || return
	# A program is named by the last part of its package's path.
	if [[ -n $(sed 's#.*/##' "$tests/list" | sort | uniq -d) ]]; then
		echo "two packages with tests have one name"
		return 1
	fi
}

# run_tests [PROGRAM] tests every package, one after the other: the leak tests look at
# the whole host, and the sandboxes of another package are no leak. The program runs
# the tests, as go test -exec has it. What a package says is only shown when it failed.
# As with go test, it ignores no signal, whoever started this in the background. It is
# not waited for whatever still holds what the tests write to.
run_tests() {
	local module package begin said=$dir/said rc=0
	module=$("$GO" list -m) && [[ -s $tests/list ]] || return
	while read -r package; do
		begin=$SECONDS
		if (cd ".${package#"$module"}" && env --default-signal "$@" "$tests/${package##*/}.test" \
			-test.paniconexit0 -test.timeout=10m -test.skip='^TestOldKernel$' </dev/null >"$said" 2>&1); then
			printf 'ok\t%s\t%d s\n' "$package" "$((SECONDS - begin))"
		else
			rc=1
			cat "$said"
			printf 'FAIL\t%s\t%d s\n' "$package" "$((SECONDS - begin))"
		fi
	done <"$tests/list"
	return "$rc"
}

tests_as_user() {
	if [[ $(id -u) -ne 0 ]]; then
		BRIG_BIN=$PWD/bin/brig run_tests
		return
	fi
	e2e/as-user.sh --prepare "$dir" || return
	BRIG_BIN=$dir/src/bin/brig run_tests "$PWD/e2e/as-user.sh"
}

tests_as_root() {
	if [[ $(id -u) -ne 0 ]]; then
		echo "skipped: this is uid $(id -u); run make test as root as well"
		return
	fi
	BRIG_BIN=$PWD/bin/brig run_tests
}

# The suite on other systems: who starts the machines does not matter. It prints
# each test, for it is the only one that is told of. Where they have to be
# emulated, each is a CPU's load for minutes: the two then share the suite, which
# is run as a user in one and as root in the other (-short), and by each as a whole
# if BRIG_TEST_MACHINES is whole; what control groups and service managers
# contribute to is run by both, the limits, variants and what is left in both roles
# of both. `make vm-test` has all of it in both roles of both.
#
# The tests in them that measure wait until nothing else runs here.
begin_machines() {
	local part=(-test.short)
	[[ ${BRIG_TEST_MACHINES-} != whole ]] || part=()
	compile test -c -tags machines -o "$dir/machines.test" ./e2e/vm || return
	begin machines env -C e2e/vm BRIG_TEST_ALONE="$dir/alone" \
		"$dir/machines.test" -test.timeout 60m -test.v "${part[@]}" -test.run '^TestMachines$'
}

# Where there are no machines, of which the older one has the same version: an old
# kernel is a process of an ordinary user's, whoever starts it, and waits for its own.
begin_old_kernel() {
	begin old-kernel env -C e2e BRIG_BIN="$PWD/bin/brig" "$tests/e2e.test" -test.v -test.run '^TestOldKernel$'
}

fuzz_program() {
	printf '%s/fuzz%s.test' "$dir" "${1//[.\/]/-}"
}

# Fuzz targets are found, not listed: a new one cannot be forgotten. They are
# pure, so who runs them does not matter; each gets one worker, and five share a
# CPU. What reads policies, ids and plans gets FUZZTIME, the others FUZZTIME_OTHERS.
# They are built ahead, one package after the other: started side by side with
# nothing built, each would build the same libraries for itself. What guides them is
# our own code and the TOML parser, instrumented as -fuzz does it. With -fuzz it would
# be the standard library as well, which takes minutes to build once more.
fuzz() {
	local file package
	grep -rl --include='*_test.go' '^func Fuzz' . | xargs dirname | sort -u | while read -r package; do
		compile test -c -gcflags='github.com/brig-sandbox/...=-d=libfuzzer' -gcflags='github.com/BurntSushi/...=-d=libfuzzer' \
			-o "$(fuzz_program "$package")" "$package" || exit
	done || return
	grep -rl --include='*_test.go' '^func Fuzz' . | while read -r file; do
		local time=$FUZZTIME_OTHERS
		case $file in
		./policy/seccomp/*) ;;
		./policy/* | ./userns/* | ./sandbox/plan/*) time=$FUZZTIME ;;
		esac
		sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
			printf '%s %s %s %s\n' "$(dirname "$file")" "$target" "$time" "$(fuzz_program "$(dirname "$file")")"
		done
	done | sort -rk3 | xargs -r -P "$((5 * $(nproc)))" -L 1 e2e/fuzz.sh
}

leaks() {
	"$GO" run ./e2e/leakcheck after "$dir/before.json"
}

compile run ./e2e/leakcheck before "$dir/before.json" || exit 1
echo
echo "== what brig finds here"
bin/brig doctor --json || true
[[ ${BRIG_TEST_MACHINES-} == off ]] || begin_machines
stage build build_tests
stage fuzz fuzz
[[ ${BRIG_TEST_MACHINES-} != off ]] || begin_old_kernel
stage user tests_as_user
stage root tests_as_root
if [[ ${BRIG_TEST_MACHINES-} == off ]]; then
	end old-kernel
	echo "== machines: BRIG_TEST_MACHINES is off; run make vm-test" | tee "$dir/machines.log"
else
	touch "$dir/alone"
	end machines
fi
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
for name in old-kernel machines; do
	[[ -e $dir/$name.log ]] || continue
	echo "== results on other kernels: $name"
	grep -E '^(PASS|FAIL|panic:)|^ {0,8}--- ' "$dir/$name.log" || true
done
if [[ ${#failed[@]} -gt 0 ]]; then
	echo "FAILED: ${failed[*]}"
	exit 1
fi
