#!/bin/sh
# Makes a folder of real BPF objects for the full test run, from Debian's packages of sources:
#
#   sh corpus.sh DIR
#
#   DIR/objects/*.o          the kernel's self-tests (Linux 6.1), CO-RE samples and perf's programs, compiled here
#   DIR/cilium/*.elf         objects that came compiled with cilium/ebpf: older compilers, both byte orders
#   DIR/failed/*.log         what the compiler said about those that do not compile with a newer vmlinux.h
#
# Needs clang-19, llvm-strip-19, bpftool, libbpf-dev, dpkg-dev's tools and 500 MB. What is there already is not made
# again. JOBS says how many compilers run side by side.
set -eu

[ $# -eq 1 ] || { echo "usage: sh corpus.sh DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
jobs=${JOBS:-$(nproc)}
export CLANG="${CLANG:-clang-19}" LLVM_STRIP="${LLVM_STRIP:-llvm-strip-19}"
linux=linux-source-6.1
cilium=golang-github-cilium-ebpf-dev

mkdir -p "$dir/deb" "$dir/src" "$dir/objects" "$dir/failed" "$dir/cilium"

# ---- Packages: downloaded and unpacked, not installed -----------------------------------------------------------------

download() { # package
	cd "$dir/deb"
	ls "$1"_*.deb >/dev/null 2>&1 && return
	apt-get download "$1" >&2 || { apt-get update >&2 && apt-get download "$1" >&2; }
}

if [ ! -e "$dir/src/done" ]; then
	download $linux
	download $cilium
	cd "$dir/src"
	dpkg-deb --fsys-tarfile "$dir"/deb/${linux}_*.deb | tar -x --wildcards '*.tar.xz' -O | tar -xJ --strip-components=1 \
		$linux/include/uapi $linux/samples/bpf $linux/tools/include $linux/tools/perf/util/bpf_skel \
		$linux/tools/testing/selftests/bpf
	dpkg-deb --fsys-tarfile "$dir"/deb/${cilium}_*.deb | tar -x --wildcards '*.elf'
	touch done
fi

find "$dir/src/usr" -name '*.elf' -exec cp -n {} "$dir/cilium/" \;

[ -s "$dir/src/vmlinux.h" ] || bpftool btf dump file /sys/kernel/btf/vmlinux format c > "$dir/src/vmlinux.h"

# ---- Compilation ------------------------------------------------------------------------------------------------------

case $(uname -m) in
x86_64) architecture=x86 ;;
aarch64) architecture=arm64 ;;
*) architecture=$(uname -m) ;;
esac
selftests=$dir/src/tools/testing/selftests/bpf
# The clang of the host knows where its headers are; they come last, as in the kernel's Makefile.
system=$("$CLANG" -v -E - </dev/null 2>&1 |
	sed -n '/<...> search starts here:/,/End of search list./s| \(/.*\)|-idirafter \1|p' | tr '\n' ' ')
export FLAGS="-target bpfel -mcpu=v3 -O2 -g -w -D__TARGET_ARCH_$architecture -DENABLE_ATOMICS_TESTS \
-I$dir/src -I$selftests -I$dir/src/tools/include/uapi -I$dir/src/tools/include -I$dir/src/samples/bpf $system"
export OUT="$dir"

compile_one='
	case $1 in
	*/selftests/*) prefix= ;;
	*/samples/*) prefix=sample_ ;;
	*) prefix=perf_ ;;
	esac
	name=$prefix$(basename "$1" .c)
	name=${name%.bpf}
	[ -e "$OUT/objects/$name.o" ] || [ -e "$OUT/failed/$name.log" ] && exit
	case $name in
	test_l4lb_noinline | test_xdp_noinline) FLAGS="$FLAGS -fno-inline" ;;
	esac
	if "$CLANG" $FLAGS -c "$1" -o "$OUT/objects/$name.tmp" 2>"$OUT/$name.log"; then
		"$LLVM_STRIP" -g "$OUT/objects/$name.tmp"
		mv "$OUT/objects/$name.tmp" "$OUT/objects/$name.o"
		rm "$OUT/$name.log"
	else
		rm -f "$OUT/objects/$name.tmp"
		mv "$OUT/$name.log" "$OUT/failed/"
	fi
'
find "$selftests/progs" "$dir/src/samples/bpf" "$dir/src/tools/perf/util/bpf_skel" \
	\( -path '*/progs/*.c' -o -name '*.bpf.c' \) -print | sort |
	xargs -P "$jobs" -n 1 sh -c "$compile_one" compile

echo "$(ls "$dir/objects" | wc -l) objects compiled, $(ls "$dir/failed" | wc -l) failed to;" \
	"$(ls "$dir/cilium" | wc -l) came compiled"
