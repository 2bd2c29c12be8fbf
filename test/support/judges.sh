#!/bin/sh
# Builds the newer judges out of Debian's package of kernel sources: libbpf 1.5 and bpftool 7.5 of Linux 6.12, beside the
# older ones that Debian installs (libbpf 1.1, bpftool 7.1).
#
#   sh judges.sh DIR
#
#   DIR/libbpf/include, DIR/libbpf/lib64     the library, shared, with its headers: LIBBPF of bench/peers/build.sh
#   DIR/bpftool                              the tool; it carries its own libbpf
#
# Needs a C compiler, make, python3, libelf-dev, zlib1g-dev, dpkg-deb, the network for the package of 153 MB, and 200 MB
# of room. What is there already is not made again. The last line gives the versions.
set -eu

[ $# -eq 1 ] || { echo "usage: sh judges.sh DIR" >&2; exit 2; }
mkdir -p "$1"
dir=$(cd "$1" && pwd)
jobs=${JOBS:-$(nproc)}
linux=linux-source-6.12

# ---- Sources: the package is downloaded and these folders of it are unpacked; nothing is installed ---------------------

if [ ! -e "$dir/src/done" ]; then
	mkdir -p "$dir/deb" "$dir/src"
	cd "$dir/deb"
	ls ${linux}_*.deb >/dev/null 2>&1 ||
		apt-get download $linux >&2 || { apt-get update >&2 && apt-get download $linux >&2; }
	dpkg-deb --fsys-tarfile ${linux}_*.deb | tar -x --wildcards '*.tar.xz' -O |
		tar -xJ -C "$dir/src" --strip-components=1 --wildcards \
			$linux/tools/lib/bpf $linux/tools/bpf/bpftool $linux/tools/build $linux/tools/scripts \
			$linux/tools/include "$linux/tools/arch/*/include" \
			$linux/include/uapi/linux $linux/kernel/bpf/disasm.c $linux/kernel/bpf/disasm.h $linux/scripts/bpf_doc.py
	touch "$dir/src/done"
fi

# ---- libbpf ------------------------------------------------------------------------------------------------------------

if [ ! -e "$dir/libbpf/done" ]; then
	mkdir -p "$dir/out/libbpf"
	make -C "$dir/src/tools/lib/bpf" -j"$jobs" OUTPUT="$dir/out/libbpf/" DESTDIR="$dir/out/installed" prefix=/usr \
		install install_headers >"$dir/libbpf.log" 2>&1 || { tail -n 40 "$dir/libbpf.log" >&2; exit 1; }
	rm -rf "$dir/libbpf"
	mv "$dir/out/installed/usr" "$dir/libbpf"
	touch "$dir/libbpf/done"
fi

# ---- bpftool -----------------------------------------------------------------------------------------------------------

# An empty list of features: the tool is to be the same on all machines, and its disassembler of native code (LLVM), its
# own BPF programs (clang) and its look at capabilities (libcap) judge nothing here.
if [ ! -x "$dir/bpftool" ]; then
	mkdir -p "$dir/out/bpftool"
	make -C "$dir/src/tools/bpf/bpftool" -j"$jobs" OUTPUT="$dir/out/bpftool/" FEATURES_DUMP=/dev/null \
		all >"$dir/bpftool.log" 2>&1 || { tail -n 40 "$dir/bpftool.log" >&2; exit 1; }
	cp "$dir/out/bpftool/bpftool" "$dir/bpftool.new"
	mv "$dir/bpftool.new" "$dir/bpftool"
fi

echo "libbpf $(sed -n 's/^Version: //p' "$dir/libbpf/lib64/pkgconfig/libbpf.pc")," \
	"$("$dir/bpftool" version | sed -n 's/^bpftool v/bpftool /p')"
