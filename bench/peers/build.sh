#!/bin/sh
# Builds the peers into build/. Needs a C compiler, pkg-config and libbpf's headers (Debian: libbpf-dev).
#
#   sh build.sh               against the system's libbpf
#   LIBBPF=DIR sh build.sh    against another one: DIR has libbpf.so and include/bpf/
set -eu
cd "$(dirname "$0")"
mkdir -p build

if [ -n "${LIBBPF:-}" ]; then
	flags="-I$LIBBPF/include -L$LIBBPF -Wl,-rpath,$LIBBPF -lbpf"
else
	flags="$(pkg-config --cflags --libs libbpf)"
fi

# libbpf has to be the shared one: only there does it call the peer's own syscall().
"${CC:-cc}" -std=gnu11 -O2 -Wall -Wextra libbpf_peer.c record.c json.c -o build/libbpf_peer $flags
