#!/bin/sh
# The main job as one story, which `npm start` tells: what is in an object, what loading it would do, and what it does to
# packets: on the kernel of this machine where bpf(2) may be used, else on one in this process. `npm start -- --kernel live`
# and `npm start -- --kernel simulated` decide it.
set -eu
cd "$(dirname "$0")/.."
object=test/fixtures/xdp_firewall.bpf.o

printf '\n== 1. What is in a BPF object:  effect-bpf inspect %s\n\n' "$object"
node src/bin.ts inspect "$object"
printf '\n== 2. What loading it would do:  effect-bpf plan %s\n\n' "$object"
node src/bin.ts plan "$object"
printf '\n== 3. What it does to packets:  node examples/firewall.ts %s\n\n' "$*"
node examples/firewall.ts "$@"

printf '\nApplications that watch this machine, as root: see docs/examples.md\n'
