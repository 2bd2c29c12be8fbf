/**
 * Loaders beside those that bpftool makes, the installed one and the newer one: for every fixture that both can record, both
 * loaders are replayed, and make the same calls, after the differences that are listed here with their reasons.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import type { KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import { MapFlag } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as ForeignLoader from "../../src/stages/gen/ForeignLoader.ts"
import * as LoaderDiff from "../../src/stages/gen/LoaderDiff.ts"
import * as LoaderExplain from "../../src/stages/gen/LoaderExplain.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { command } from "../support/InProcess.ts"
import { describeWith, newBpftool, repository, run, temporaryFolder } from "../support/Require.ts"
import { recordable, recorded, recordableAll } from "../unit/stages/gen/Recorded.ts"

/** What bpftool says of an object. */
type Theirs =
  | { readonly _tag: "Loader"; readonly loader: LoaderProgram }
  | { readonly _tag: "Refused"; readonly why: string }

/** The loader that bpftool makes of a fixture. Its maps and programs are those of ours, in the same order. */
const theirsOf = (bpftool: string, name: string, ours: LoaderProgram): Theirs => {
  const { status, stderr, stdout } = run(bpftool, ["gen", "skeleton", "-L", `${repository}/test/fixtures/${name}`])
  if (status !== 0) return { _tag: "Refused", why: stderr === "" ? "it crashes" : stderr }
  const { data, insns } = Result.getOrThrow(ForeignLoader.ofSkeleton(stdout))
  return { _tag: "Loader", loader: { ...ours, insns, data, inputs: [] } }
}

/** The call without what differs on purpose in all loaders. */
const comparable = (call: KernelCall): KernelCall => {
  switch (call._tag) {
    case "MapCreate": {
      // libbpf names a map's types only where its values have one, older ones make sections mappable that nothing maps, and
      // bpftool names maps of sections after the file, where we leave its extension out.
      const { types, ...rest } = call
      const name = call.attr.name.replace(/^[^.]*(?=[.])/, "")
      const attr = { ...call.attr, name, flags: call.attr.flags & ~MapFlag.BPF_F_MMAPABLE }
      return types === undefined || types.value === 0 ? { ...rest, attr } : { ...call, attr }
    }
    case "MapUpdate": {
      // Which values may be replaced is in our loader's description, not in its code.
      const { overridable: _, ...rest } = call
      return rest
    }
    case "BtfLoad":
      // Newer ones make hidden variables static, as we do. How many bytes may differ is for the test of the data.
      return { ...call, bytes: new Uint8Array(call.bytes.length) }
    default:
      return call
  }
}

/** What is different about a fixture's loaders, and why. `explains` is asked about each difference, as text. */
interface Deliberate {
  readonly fixture: RegExp
  readonly only?: "installed" | "newer"
  readonly reason: string
  readonly explains: RegExp
}

const deliberate: ReadonlyArray<Deliberate> = [
  {
    fixture: /^(externs|usdt|usdt_wide)[.]/,
    reason:
      "bpftool takes the configuration of the machine that it runs on, ours that of the machine that the loader runs on",
    explains: /^Changed MapUpdate value[.]bytes[.]/
  },
  {
    fixture: /^ksyms[.]/,
    reason:
      "what is behind ___ in the name of an extern is for the object alone, which bpftool's loaders look up with it",
    explains: /^Changed ProgLoad code[.]refs[.][0-9]+[.]symbol[.]name$/
  },
  {
    fixture: /^ksyms[.]/,
    only: "installed",
    reason: "the installed bpftool takes a function for a variable where another program has looked it up",
    explains: /^Changed ProgLoad code[.]refs[.][0-9]+[.]symbol[.](kind|name)$/
  },
  {
    fixture: /^map_in_map[.]/,
    reason: "bpftool's loader fails: it names the type of keys and none of values, which kernels refuse",
    explains: /^(Missing .*|ends with -9|closes 1 that are not open)$/
  },
  {
    fixture: /^map_in_map_late[.]/,
    reason: "bpftool's loader fails: it puts a map into another before it has made it",
    explains: /^(Missing .*|ends with -9|closes 1 that are not open)$/
  },
  {
    fixture: /^map_kinds[.]/,
    reason: "kernels refuse the types of a trie whose key has none, so ours names none",
    explains: /^Changed MapCreate types$/
  },
  {
    fixture: /^many_programs[.]/,
    reason: "bpftool's loader writes beyond its stack: it has more programs than libbpf has counted with",
    explains: /^VmError$/
  },
  {
    fixture: /^exceptions[.]/,
    only: "installed",
    reason: "the installed bpftool knows no exception callbacks, and leaves them out of the program",
    explains: /^Changed ProgLoad (funcInfo|lineInfo|code)[.]/
  },
  {
    fixture: /^(old_kernels|usdt|usdt_wide)[.]/,
    only: "installed",
    reason: "the installed bpftool knows no links of many uprobes",
    explains: /^Changed ProgLoad attr[.]expectedAttachType$/
  },
  {
    fixture: /^struct_ops_link[.]/,
    only: "installed",
    reason: "the installed bpftool knows no SEC(\".struct_ops.link\")",
    explains: /^(Missing MapCreate|Changed ProgLoad attachTo)/
  }
]

/** What bpftool cannot record, and why. */
const refusals: ReadonlyArray<
  { readonly fixture: RegExp; readonly only?: "installed" | "newer"; readonly why: RegExp }
> = [
  { fixture: /[.]eb[.]o$/, why: /Endian mismatch/ },
  { fixture: /^(legacy_maps|legacy_maps_extended|static_entry)[.]/, why: /Operation not supported/ },
  { fixture: /^prog_array[.]/, why: /failed to load/ },
  { fixture: /^struct_ops/, why: /it crashes|failed/ },
  { fixture: /^bss_custom[.]/, only: "installed", why: /Relocation failed/ }
]

const differencesOf = (ours: LoaderProgram, theirs: LoaderProgram): ReadonlyArray<string> => {
  const explained = (loader: LoaderProgram) => Effect.runSyncExit(LoaderExplain.explain(loader))
  const [mine, others] = [explained(ours), explained(theirs)]
  if (Exit.isFailure(mine)) return assert.fail("ours cannot be replayed")
  if (Exit.isFailure(others)) return ["VmError"]
  const calls = (side: LoaderExplain.Explained) => side.replayed.calls.map(comparable)
  const { retval, strayCloses } = others.value.replayed
  return [
    ...LoaderDiff.diff(calls(mine.value), calls(others.value), ours).flatMap((difference) =>
      difference._tag === "Changed"
        ? difference.fields.map(({ path }) => `Changed ${difference.call._tag} ${path.join(".")}`)
        : [`${difference._tag} ${difference.call._tag}`]
    ),
    ...(retval === 0 ? [] : [`ends with ${retval}`]),
    ...(strayCloses === 0 ? [] : [`closes ${strayCloses} that are not open`])
  ]
}

const judges = [
  { name: "installed", bpftool: "bpftool", requires: { tools: ["bpftool"] } },
  { name: "newer", bpftool: newBpftool, requires: { files: [newBpftool] } }
] as const

for (const { bpftool, name: judge, requires } of judges) {
  describeWith({ kind: "oracle", ...requires }, `loaders beside those of the ${judge} bpftool`, () => {
    const applies = ({ fixture, only }: { readonly fixture: RegExp; readonly only?: string }, name: string): boolean =>
      fixture.test(name) && (only === undefined || only === judge)
    let same = 0
    let explained = 0
    let refused = 0

    it.effect.each(recordableAll)(
      "%s: bpftool's loader, replayed, makes the calls of ours",
      (name) =>
        Effect.gen(function*() {
          const ours = yield* recorded(name)
          const theirs = theirsOf(bpftool, name, ours)
          if (theirs._tag === "Refused") {
            const known = refusals.find((each) => applies(each, name))
            assert.match(theirs.why, known?.why ?? /^$/)
            refused++
            return
          }
          const reasons = deliberate.filter((each) => applies(each, name))
          const found = differencesOf(ours, theirs.loader)
          const unexplained = found.filter((each) => !reasons.some(({ explains }) => explains.test(each)))
          assert.deepStrictEqual(unexplained, [])
          if (found.length === 0) same++
          else explained++
        })
    )

    it("most of them without any difference", () => {
      console.log(
        `${judge} bpftool: ${same} of ${recordableAll.length} fixtures have loaders that make the same calls, ` +
          `${explained} differ for reasons that are listed, ${refused} it cannot record`
      )
      assert.isAtLeast(same, 12)
    })

    it.effect.each(recordable)("%s: data is where bpftool's loader has it", (name) =>
      Effect.gen(function*() {
        const ours = yield* recorded(name)
        const theirs = theirsOf(bpftool, name, ours)
        if (theirs._tag === "Refused" || name.startsWith("map_in_map")) return
        // A license that programs share is in our data once, and what is behind it comes earlier.
        if (ours.programs.length > 1) return assert.isBelow(ours.data.length, theirs.loader.data.length)
        assert.strictEqual(ours.data.length, theirs.loader.data.length)
        const differing = ours.data.filter((byte, at) => byte !== theirs.loader.data[at])
        // The size of CO-RE records where a program has none, and what `comparable` says.
        assert.isAtMost(differing.length, ours.maps.length + ours.programs.length)
      }))

    it.live("gen replay --diff finds what bpftool's skeleton loads to be what is planned", () =>
      Effect.gen(function*() {
        // Subprograms are counted by plans and not by bpftool's loaders, whose values say nothing of who may replace them.
        for (const name of ["xdp_firewall.bpf.o", "subprograms.bpf.o"]) {
          const object = Path.join(repository, "test/fixtures", name)
          const skeleton = Path.join(temporaryFolder(), "theirs.lskel.h")
          Fs.writeFileSync(skeleton, run(bpftool, ["gen", "skeleton", "-L", object]).stdout)
          const { status, stdout } = yield* command("gen", "replay", skeleton, "--diff", object)
          assert.strictEqual(status, 0, stdout)
          assert.match(stdout, /\d+ calls, no difference/)
        }
      }))

    it.effect("named fault: a loader of another object makes other calls", () =>
      Effect.gen(function*() {
        const ours = yield* recorded("xdp_firewall.bpf.o")
        const theirs = theirsOf(bpftool, "global_data.bpf.o", ours)
        assert.isAbove(theirs._tag === "Loader" ? differencesOf(ours, theirs.loader).length : 0, 0)
      }))
  })
}
