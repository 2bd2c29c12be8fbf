#!/bin/sh
# Builds the peers into build/. Needs a C compiler, pkg-config and libbpf's headers (Debian: libbpf-dev).
#
#   sh build.sh                              against the system's libbpf
#   LIBBPF=PREFIX OUT=DIR sh build.sh        against another one, into another folder: PREFIX has include/bpf/ and
#                                            lib64/libbpf.so, as "make install DESTDIR=..." of tools/lib/bpf leaves it
set -eu
cd "$(dirname "$0")"
out=${OUT:-build}
mkdir -p "$out"

if [ -n "${LIBBPF:-}" ]; then
	flags="-I$LIBBPF/include -L$LIBBPF/lib64 -Wl,-rpath,$LIBBPF/lib64 -lbpf"
else
	flags="$(pkg-config --cflags --libs libbpf)"
fi

# build NAME SOURCES...: under another name first, since tests that run at the same time may use the old one.
build() {
	name=$1
	shift
	"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra "$@" -o "$out/$name.$$" $flags
	mv "$out/$name.$$" "$out/$name"
}

# libbpf has to be the shared one: only there does it call the peer's own syscall().
build libbpf_peer libbpf_peer.c record.c pretend.c json.c timing.c
build btf_peer btf_peer.c btf_answer.c btf_blob.c btf_make.c btf_text.c btf_bench.c json.c timing.c
build load_peer load_peer.c json.c
build btf_data btf_data.c timing.c
build link_peer link_peer.c timing.c
build map_peer map_peer.c timing.c
build ring_peer ring_peer.c timing.c -pthread
build perf_peer perf_peer.c timing.c
build xsk_peer xsk_peer.c timing.c

# What libbpf keeps to itself is in the static library only; Debian's libbpf 1.1 has not all of it.
if [ -n "${LIBBPF:-}" ]; then
	flags="-I$LIBBPF/include $LIBBPF/lib64/libbpf.a -lelf -lz"
	build offsets_peer offsets_peer.c timing.c
fi
