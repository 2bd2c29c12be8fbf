#!/bin/sh
# Packs the package as it would be published, installs it into an empty project and uses it as a stranger would:
# both entries import, the command runs, a reader that leaves early does not crash it. Run npm run build first.
#   sh tools/smoke.sh
set -eu
cd "$(dirname "$0")/.."
root=$PWD
PATH="$root/node_modules/.bin:$PATH"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "smoke: $1" >&2
  exit 1
}

[ -f dist/effect-bpf.js ] || fail "dist/effect-bpf.js is absent; npm run build"
effect=$(node -p 'require("./package.json").peerDependencies.effect')
version=$(node -p 'require("./package.json").version')
npm pack --silent --pack-destination "$work" >/dev/null
mkdir "$work/project"
cd "$work/project"
echo '{ "private": true, "type": "module" }' >package.json
npm install --silent --no-fund --no-audit --ignore-scripts "$work"/effect-bpf-*.tgz "effect@$effect"

# Nothing but the declared dependencies is there, so an undeclared import fails here.
node -e 'import("effect-bpf").then((m) => { if (Object.keys(m).length === 0) throw new Error("effect-bpf exports nothing") })'
node -e 'import("effect-bpf/node").then((m) => { if (Object.keys(m).length === 0) throw new Error("effect-bpf/node exports nothing") })'

node -e 'import("effect-bpf/light").then((m) => { if (Object.keys(m).length === 0) throw new Error("effect-bpf/light exports nothing") })'
node -e 'import("effect-bpf/schemas/inspect.json", { with: { type: "json" } }).then((m) => { if (!m.default.properties.programs) process.exit(1) })' ||
  fail "effect-bpf/schemas/inspect.json is not the schema of inspect"

# The promise face, as somebody uses it who has never heard of Effect: types under strict, with the library's own libraries
# alone and no types of Node; then it runs.
cat >plain.ts <<EOF
import { Bpf, EditError, type Loaded } from "effect-bpf/promise"
const opened = await Bpf.open("$root/test/fixtures/xdp_firewall.bpf.o")
const packets = async (object: Loaded): Promise<number> => {
  const { retval } = await object.program("xdp_firewall").run({ packet: new Uint8Array(64), signal: AbortSignal.timeout(9000) })
  return retval
}
const count = async () => {
  await using firewall = await opened.load({ kernel: "simulated", globals: { blocked_ports: [23] } })
  for await (const [key, value] of firewall.map("stats")) {
    // @ts-expect-error a value may be a text, too
    value.toFixed(key)
  }
  return packets(firewall)
}
if (await count() !== 2) throw new Error("an empty frame does not pass")
try {
  opened.edit({ globals: { nothing: 1 } })
  throw new Error("no variable is called so")
} catch (error) {
  if (!(error instanceof EditError) || error._tag !== "EditError") throw error
}
EOF
tsc --strict --target es2022 --lib es2023,esnext.disposable,dom --module nodenext --types "" --ignoreConfig plain.ts ||
  fail "the promise face is not well typed beside the installed package"
node plain.js || fail "the promise face does not run"

command=node_modules/.bin/effect-bpf
$command --version | grep -F "$version" >/dev/null || fail "--version does not print $version"
$command --help | grep -F inspect >/dev/null || fail "--help does not name inspect"
$command --help | head -n 1 >"$work/line" 2>"$work/stderr"
[ ! -s "$work/stderr" ] || fail "a reader that leaves early gets: $(cat "$work/stderr")"
$command inspect "$root/test/fixtures/xdp_firewall.bpf.o" --json |
  node -e 'const o = JSON.parse(require("node:fs").readFileSync(0, "utf8")); if (!(o.programs.length > 0)) process.exit(1)' ||
  fail "inspect --json of a fixture lists no programs"
status=0
$command inspect "$root/package.json" >/dev/null 2>"$work/stderr" || status=$?
[ "$status" -eq 1 ] || fail "inspect of a file that is no object exits $status, not 1"
[ -s "$work/stderr" ] || fail "inspect of a file that is no object says nothing"

# A light skeleton: the installed types fit it, and it runs on what is installed.
$command gen skeleton -L "$root/test/fixtures/xdp_firewall.bpf.o" --lang ts -o firewall.ts >/dev/null
tsc --noEmit --strict --target es2023 --module nodenext --types "" --skipLibCheck --ignoreConfig firewall.ts ||
  fail "a light skeleton is not well typed beside the installed package"
node --input-type=module -e '
  import * as Effect from "effect/Effect"
  import { load, open } from "./firewall.ts"
  if (open().rodata.sample_every === undefined) process.exit(1)
  const loaded = await Effect.runPromise(Effect.result(Effect.scoped(load())))
  if (loaded._tag === "Failure" && !/EPERM|EACCES|ENOSYS/.test(loaded.failure.message)) throw loaded.failure
' || fail "a light skeleton does not run"

# A skeleton, with the object in it and beside it: types hold under what a user may have switched on, and without Node's.
cp "$root/test/fixtures/xdp_firewall.bpf.o" .
$command gen skeleton xdp_firewall.bpf.o --lang ts -o embedded.skel.ts >/dev/null
$command gen skeleton xdp_firewall.bpf.o --lang ts --beside -o beside.skel.ts >/dev/null
cat >skeletons.ts <<'END'
import { KernelSimulated } from "effect-bpf"
import * as Effect from "effect/Effect"
import * as Beside from "./beside.skel.ts"
import * as Embedded from "./embedded.skel.ts"

const malformed = Uint8Array.from([...new Uint8Array(12), 0x08, 0x00])

const main = Effect.gen(function*() {
  for (const skeleton of [Embedded, Beside]) {
    const opened = yield* skeleton.open({ globals: { rodata: { drop_malformed: true } } })
    const { globals, maps, programs } = yield* opened.load()
    yield* maps.stats.set("PROTOCOL_TCP", { packets: 1n, bytes: 60n })
    const ran = yield* programs.xdp_firewall.run({ packet: malformed })
    const stats = yield* maps.stats.get("PROTOCOL_TCP")
    if (ran.action !== "XDP_DROP" || globals.bss.totals.dropped !== 1n || stats?.bytes !== 60n) {
      return yield* Effect.die(new Error("the program did something else"))
    }
    // @ts-expect-error constants are constant
    void (() => { globals.rodata.sample_every = 1 })
    // @ts-expect-error an XDP program is attached to a device
    void programs.xdp_firewall.attach({ symbol: "do_unlinkat" })
  }
})
await Effect.runPromise(Effect.scoped(main).pipe(Effect.provide(KernelSimulated.layer())))
END
for strictness in "" --declaration --exactOptionalPropertyTypes --noUncheckedIndexedAccess \
  "--exactOptionalPropertyTypes --noUncheckedIndexedAccess"; do
  tsc --noEmit --strict --target es2023 --module nodenext --types "" --allowImportingTsExtensions --ignoreConfig \
    $strictness skeletons.ts || fail "a skeleton is not well typed beside the installed package ($strictness)"
done
node skeletons.ts || fail "a skeleton does not run"

# A Node that is too old is told so, and nothing worse.
old=$(PATH=/usr/local/bin:/usr/bin:/bin command -v node || true)
if [ -n "$old" ] && "$old" -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 19) ? 1 : 0)'; then
  status=0
  "$old" $command --version >/dev/null 2>"$work/stderr" || status=$?
  [ "$status" -eq 1 ] && grep -q "needs Node" "$work/stderr" || fail "Node $("$old" --version): $(cat "$work/stderr")"
fi
echo "smoke: ok"
