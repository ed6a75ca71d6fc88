#!/usr/bin/env bash
# Builds what the benchmark compares and runs it, as an ordinary user when
# called by root. Arguments go to e2e/bench (see -help); BENCH_ENFORCE=1 makes a
# limit that is exceeded a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

GO=${GO:-go}
dir=$(mktemp -d "${TMPDIR:-/tmp}/brig-test.XXXXXX")
tree=
# clean removes what was made, also after Ctrl-C. The processes of the tree are
# the benchmark's own, and this is none of them.
clean() {
	if [[ -n $tree && -d $tree ]]; then
		echo 1 >"$tree/cgroup.kill" || true
		for _ in $(seq 100); do
			find "$tree" -depth -type d -exec rmdir {} + 2>/dev/null && break
			sleep 0.05
		done
	fi
	rm -rf "$dir"
}
trap clean EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
chmod 755 "$dir"
mkdir "$dir/programs"
for program in price until calls; do
	gcc -O2 -Wall -static -o "$dir/programs/$program" "e2e/bench/programs/$program.c"
done
CGO_ENABLED=0 "$GO" build -trimpath -ldflags '-s -w' -o "$dir/programs/hello" ./e2e/bench/hello
CGO_ENABLED=0 "$GO" build -trimpath -ldflags '-s -w' -o "$dir/programs/group" ./e2e/bench/group
CGO_ENABLED=0 "$GO" build -o "$dir/bench" ./e2e/bench

# How a file came into the page cache decides how its pages lie in memory, and
# that is up to a tenth of a start: the linker's output is slowest, one write is
# fastest. So everybody's program is written in the same way. One that is set-uid
# has to stay where it is.
for program in bin/brig bin/brig-image bin/brig-filterc bwrap nsjail unshare; do
	file=$(command -v "$program") && [[ ! -u $file ]] || continue
	dd if="$file" of="$dir/programs/${program#bin/}" bs=64M iflag=fullblock status=none
	chmod 755 "$dir/programs/${program#bin/}"
done
chmod -R u=rwX,go=rX "$dir"

arguments=(-bin "$dir/programs")
[[ ${BENCH_ENFORCE-} == 1 ]] && arguments+=(-enforce)
if [[ $(id -u) -ne 0 ]]; then
	"$dir/bench" "${arguments[@]}" "$@"
	exit
fi
e2e/as-user.sh --prepare "$dir"

# groups adds what lets the bench measure control groups, or why it cannot.
groups() {
	local top said
	for top in /sys/fs/cgroup /sys/fs/cgroup/unified; do
		[[ $(stat -f -c %T "$top" 2>/dev/null) != cgroup2fs ]] || break
		top=
	done
	if [[ -z $top ]]; then
		arguments+=(-no-groups "there are no control groups of version 2")
		return
	fi
	if ! mkdir "$top/brig-bench.$$" 2>/dev/null; then
		arguments+=(-no-groups "no group can be made in $top")
		return
	fi
	tree=$top/brig-bench.$$
	: >"$dir/said"
	e2e/bench/groups.sh "$tree" "$dir/programs" "$dir/tmp/groups" >"$dir/said" 2>"$dir/groups.log" &
	disown # it is killed with its tree, and that is no news
	for _ in $(seq 150); do
		[[ -S $dir/tmp/groups ]] && break
		sleep 0.1
	done
	if [[ ! -S $dir/tmp/groups ]]; then
		arguments+=(-no-groups "the process that measures does not start: $(tail -n 1 "$dir/groups.log")")
		return
	fi
	said=$(<"$dir/said")
	arguments+=(-groups "$dir/tmp/groups")
	case $said in
	"ready "*) arguments+=(-manager "${said#ready }") ;;
	*) arguments+=(-no-manager "${said#without }") ;;
	esac
}
groups
BRIG_TEST_DIR=$dir e2e/as-user.sh "$dir/bench" "${arguments[@]}" "$@"
