#!/bin/sh
# Compiles redirect.bpf.c and writes it into RedirectObject.ts, so that whoever copies or bundles this folder has no file to find.
# Needs clang-19, llvm-strip-19 and Debian's libbpf-dev and linux-libc-dev.
set -eu
cd "$(dirname "$0")"
object=$(mktemp)
trap 'rm -f "$object"' EXIT
"${CLANG:-clang-19}" -target bpfel -mcpu=v3 -O2 -g -Wall -Wextra -Werror -idirafter "/usr/include/$(gcc -dumpmachine)" \
	-fdebug-compilation-dir=. -ffile-prefix-map="$PWD"=. -c redirect.bpf.c -o "$object"
"${LLVM_STRIP:-llvm-strip-19}" -g "$object" # drops DWARF; .BTF stays
{
	echo '/** redirect.bpf.c compiled, in base64: build.sh writes it. */'
	echo 'export const object: string = ['
	base64 -w 110 "$object" | sed 's/.*/  "&",/' | sed '$s/,$//'
	echo '].join("")'
} >RedirectObject.ts
