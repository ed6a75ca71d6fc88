#!/bin/sh
# Builds init for both architectures into the directory given, by default this
# one. The results are committed; a test rebuilds them and compares. With
# --toolchain it only tells which compilers there are.
set -eu
cd "$(dirname "$0")"
toolchain() {
	for arch in x86_64 aarch64; do
		echo "$arch: gcc $($arch-linux-gnu-gcc -dumpfullversion), $($arch-linux-gnu-ld -v)"
	done
}
if [ "${1:-}" = --toolchain ]; then
	toolchain
	exit
fi
out=${1:-.}
flags='-Os -std=gnu11 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pic -no-pie
 -fno-stack-protector -fno-asynchronous-unwind-tables -fno-ident -fomit-frame-pointer -fno-builtin
 -fno-tree-loop-distribute-patterns -mgeneral-regs-only -fcf-protection=none
 -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,noexecstack -Wl,-z,norelro -Wl,--no-dynamic-linker -s'
x86_64-linux-gnu-gcc $flags -o "$out/init_amd64" init.c
aarch64-linux-gnu-gcc $(echo "$flags" | sed 's/-fcf-protection=none//') -mno-outline-atomics -o "$out/init_arm64" init.c
toolchain >"$out/TOOLCHAIN"
