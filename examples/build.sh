#!/bin/sh
# Compiles the BPF programs of the examples and writes their skeletons, which are committed beside them.
#
#   sh examples/build.sh [NAME...]     all, or only those named (snoop, firewall, ...)
#
# Needs clang-19, llvm-strip-19 and Debian's libbpf-dev and linux-libc-dev. As for test/fixtures/build.sh the output
# depends on the versions of those and on nothing else.
set -eu
cd "$(dirname "$0")"
PATH="$PWD/../node_modules/.bin:$PATH"

clang=${CLANG:-clang-19}
strip=${LLVM_STRIP:-llvm-strip-19}
headers="-idirafter /usr/include/$(gcc -dumpmachine)"
# Arguments of functions of the user's are in the registers of a machine.
case $(uname -m) in aarch64) machine=arm64 ;; *) machine=x86 ;; esac

[ $# -gt 0 ] || set -- snoop firewall tcplatency nodegc
for name in "$@"; do
	object=$name/$name.bpf.o
	"$clang" -target bpfel -mcpu=v3 -O2 -g -Wall -Wextra -Wno-unused-parameter -Werror "-D__TARGET_ARCH_$machine" \
		$headers -fdebug-compilation-dir=. -ffile-prefix-map="$PWD"=. -c "$name/$name.bpf.c" -o "$object"
	"$strip" -g "$object" # drops DWARF; .BTF and .BTF.ext stay
done

# In a project of your own the skeletons are `npx effect-bpf gen skeleton NAME.bpf.o --lang ts --beside`, and import
# "effect-bpf/skeleton" of the package.
for name in "$@"; do
	(cd "$name" && node ../../src/bin.ts gen skeleton "$name.bpf.o" --name "$name" --lang ts --beside -o "$name.skel.ts")
	sed -i 's|"effect-bpf/skeleton"|"../../src/skeleton.ts"|' "$name/$name.skel.ts"
done
