#!/bin/sh
# Builds init for both architectures. The results are committed, and a test
# rebuilds them and compares.
set -eu
cd "$(dirname "$0")"
out=${1:-.}
flags='-Os -std=gnu11 -Wall -Wextra -Werror -ffreestanding -nostdlib -static -fno-pic -no-pie
 -fno-stack-protector -fno-asynchronous-unwind-tables -fno-ident -fomit-frame-pointer -fno-builtin
 -fno-tree-loop-distribute-patterns -mgeneral-regs-only -fcf-protection=none
 -Wl,--build-id=none -Wl,-z,noseparate-code -Wl,-z,noexecstack -Wl,-z,norelro -Wl,--no-dynamic-linker -s'
x86_64-linux-gnu-gcc $flags -o "$out/init_amd64" init.c
aarch64-linux-gnu-gcc $(echo "$flags" | sed 's/-fcf-protection=none//') -mno-outline-atomics -o "$out/init_arm64" init.c
