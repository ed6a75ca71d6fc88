#!/usr/bin/env bash
# Builds what the benchmark compares and runs it, as an ordinary user when
# called by root. Arguments go to e2e/bench (see -help); BENCH_ENFORCE=1 makes a
# limit that is exceeded a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."

GO=${GO:-go}
dir=$(mktemp -d "${TMPDIR:-/tmp}/brig-test.XXXXXX")
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
mkdir "$dir/programs"
for program in price until calls; do
	gcc -O2 -Wall -static -o "$dir/programs/$program" "e2e/bench/programs/$program.c"
done
CGO_ENABLED=0 "$GO" build -trimpath -ldflags '-s -w' -o "$dir/programs/hello" ./e2e/bench/hello
CGO_ENABLED=0 "$GO" build -o "$dir/bench" ./e2e/bench
cp bin/brig bin/brig-image bin/brig-filterc "$dir/programs/"
chmod -R u=rwX,go=rX "$dir"

arguments=(-bin "$dir/programs")
[[ ${BENCH_ENFORCE-} == 1 ]] && arguments+=(-enforce)
if [[ $(id -u) -ne 0 ]]; then
	"$dir/bench" "${arguments[@]}" "$@"
	exit
fi
e2e/as-user.sh --prepare "$dir"
BRIG_TEST_DIR=$dir e2e/as-user.sh "$dir/bench" "${arguments[@]}" "$@"
