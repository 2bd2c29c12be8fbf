import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import { MapFlag } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { replay } from "../../src/stages/gen/Replay.ts"
import * as LedgerKernel from "../support/LedgerKernel.ts"
import { describeWith, repository, run } from "../support/Require.ts"
import { recordable, recorded } from "../unit/stages/gen/Recorded.ts"

/** The bytes of a C string literal of bpftool's light skeleton. */
const literal = (header: string, field: "data" | "insns"): Uint8Array => {
  const [, text] = new RegExp(`opts\\.${field} = \\(void \\*\\)"([^"]*)";`).exec(header) ?? []
  if (text === undefined) return assert.fail(`no ${field} in the skeleton`)
  const escapes = text.replaceAll("\\\n", "").match(/\\x[0-9a-f]{2}|\\0/g) ?? []
  return Uint8Array.from(escapes, (escape) => escape === "\\0" ? 0 : Number.parseInt(escape.slice(2), 16))
}

/** The loader that bpftool makes of a fixture. Its maps and programs are those of ours, in the same order. */
const bpftools = (name: string, ours: LoaderProgram): LoaderProgram => {
  const { status, stderr, stdout } = run("bpftool", ["gen", "skeleton", "-L", `${repository}/test/fixtures/${name}`])
  assert.strictEqual(status, 0, stderr)
  return { ...ours, insns: literal(stdout, "insns"), data: literal(stdout, "data") }
}

const callsOf = (loader: LoaderProgram) =>
  Effect.gen(function*() {
    const session = yield* LedgerKernel.make().kernel.session()
    const { calls, leaked, retval, strayCloses } = yield* replay(loader, session)
    assert.deepStrictEqual({ leaked, retval, strayCloses }, { leaked: [], retval: 0, strayCloses: 0 })
    return calls
  }).pipe(Effect.scoped)

/** The call without what differs on purpose. */
const comparable = (call: KernelCall): KernelCall => {
  switch (call._tag) {
    case "MapCreate": {
      // libbpf names a map's types only where its values have one, older ones make sections mappable that nothing maps.
      const { types, ...rest } = call
      const attr = { ...call.attr, flags: call.attr.flags & ~MapFlag.BPF_F_MMAPABLE }
      return types === undefined || types.value === 0 ? { ...rest, attr } : { ...call, attr }
    }
    case "BtfLoad":
      // Newer ones make hidden variables static, as we do. How many bytes may differ is for the test of the data.
      return { ...call, bytes: new Uint8Array(call.bytes.length) }
    default:
      return call
  }
}

describeWith({ kind: "oracle", tools: ["bpftool"] }, "loaders beside bpftool's", () => {
  it.effect.each(recordable)(
    "%s: bpftool's loader, replayed, makes the calls of ours",
    (name) =>
      Effect.gen(function*() {
        const ours = yield* recorded(name)
        const theirs = bpftools(name, ours)
        const [made, expected] = [yield* callsOf(ours), yield* callsOf(theirs)]
        assert.deepStrictEqual(made.map(comparable), expected.map(comparable))
      })
  )

  it.effect.each(recordable)("%s: data is where bpftool's loader has it", (name) =>
    Effect.gen(function*() {
      const ours = yield* recorded(name)
      const theirs = bpftools(name, ours)
      assert.strictEqual(ours.data.length, theirs.data.length)
      const differing = ours.data.filter((byte, at) => byte !== theirs.data[at])
      // The size of CO-RE records where a program has none, and what `comparable` says.
      assert.isAtMost(differing.length, ours.maps.length + ours.programs.length)
    }))
})
