/**
 * Plans for Debian's kernels from profiles of them: every fixture is planned for, or refused for the reason that is known
 * in advance. The judge of what those kernels have is bpftool, and their own configuration.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfFile from "../../src/btf/BtfFile.ts"
import { assuming, type Assumed } from "../../src/cli/Assuming.ts"
import { planning } from "../../src/cli/Plan.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelProfile from "../../src/services/Kernel/KernelProfile.ts"
import * as KernelProfiled from "../../src/services/Kernel/KernelProfiled.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { allFixtures, describeWith, fixture, kernel as debianKernel, kernelsFolder, run } from "../support/Require.ts"

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

/** The modules whose types are put into the profiles: all would take long to read, and these are needed. */
const someModules = ["nf_conntrack", "nf_tables", "veth"]

/** What a snapshot on that kernel would have written, but for the symbols. */
const profileOf = (series: "6.1" | "6.12"): KernelProfile.KernelProfile => {
  const { btf, modules, release } = debianKernel(series)
  const vmlinux = Result.getOrThrow(BtfFile.parse(read(btf))).btf
  const written: KernelProfile.KernelProfile = {
    release,
    architecture: "x64",
    byteOrder: "little",
    pageSize: 4096,
    possibleCpus: 4,
    kernelVersion: series === "6.1" ? 0x06019e : 0x060c75,
    features: {},
    configuration: Fs.readFileSync(Path.join(kernelsFolder, release, "config"), "utf8"),
    vmlinux,
    modules: someModules.map((name) => ({
      name,
      types: () =>
        Result.mapBoth(BtfFile.parse(read(Path.join(modules, `${name}.ko`)), { base: vmlinux }), {
          onFailure: ({ message }) => message,
          onSuccess: ({ btf }) => btf
        })
    })),
    symbols: undefined,
    missing: {}
  }
  return Result.getOrThrow(KernelProfile.decode(KernelProfile.inMemory(KernelProfile.encode(written))))
}

/** What becomes of each fixture: planned, or the first words of why not. */
const outcomes = Effect.fnUntraced(function*(profile: KernelProfile.KernelProfile) {
  const { kernel } = yield* KernelProfiled.make(profile)
  const assumed: Array<Assumed> = []
  const found: Record<string, string> = {}
  for (const name of allFixtures()) {
    const planned = yield* Effect.result(Effect.flatMap(
      Effect.fromResult(Open.fromBytes(fixture(name), { path: name })),
      (object) => planning({}).run(object).pipe(Effect.provideService(Kernel, assuming(kernel, assumed)))
    ))
    found[name] = Result.isSuccess(planned) ? "planned" : planned.failure.message.split("\n")[0] ?? ""
  }
  return { found, assumed }
})

/** Fixtures that no kernel of this kind takes, with the reason. */
const refused: Readonly<Record<string, RegExp>> = {
  "link_main.bpf.o": /library_map: belongs to section/,
  "section_kinds.bpf.o": /struct_ops|freplace|does not say/
}

/** Fixtures that call kernel functions which came later. */
const lacked: Readonly<Record<"6.1" | "6.12", ReadonlyArray<string>>> = {
  "6.1": ["exceptions.bpf.o", "ksyms.bpf.o", "prog_streams.bpf.o"],
  "6.12": ["prog_streams.bpf.o"]
}

for (const series of ["6.1", "6.12"] as const) {
  describeWith(
    { kind: "oracle", tools: ["bpftool"], files: [kernelsFolder] },
    `plans for Linux ${series} of Debian`,
    () => {
      it.live("are made for every fixture, or refused by name", () =>
        Effect.gen(function*() {
          const profile = profileOf(series)
          const { assumed, found } = yield* outcomes(profile)
          const has = (kind: string, name: string): boolean =>
            run("bpftool", ["btf", "dump", "file", debianKernel(series).btf]).stdout.includes(`] ${kind} '${name}' `)
          const lacking: Array<string> = []
          for (const [name, outcome] of Object.entries(found)) {
            if (name.endsWith(".eb.o")) assert.notStrictEqual(outcome, "planned", `${name} is of another byte order`)
            else if (refused[name] !== undefined) assert.match(outcome, refused[name], name)
            else if (outcome !== "planned") {
              // The kernel has no such function, and nobody else either.
              const missing = /^(\w+): the kernel has no (function|variable) of this name/.exec(outcome)
              assert.isNotNull(missing, `${name}: ${outcome}`)
              assert.isFalse(has(missing?.[2] === "function" ? "FUNC" : "VAR", missing?.[1] ?? ""), outcome)
              lacking.push(name)
            }
          }
          assert.deepStrictEqual(lacking, lacked[series])
          // Not known of these kernels are symbols alone, and features that only trying shows.
          assert.deepStrictEqual(assumed.filter(({ what }) => !/^(kernel symbol|features?) /.test(what)), [])
        }))

      it("the types of modules are those that bpftool shows", () => {
        const profile = profileOf(series)
        const { btf, modules } = debianKernel(series)
        for (const { btf: types, name } of KernelProfile.moduleTypes(profile) ?? []) {
          if (types === undefined) return assert.fail(`${name} has no types`)
          const shown = run("bpftool", ["-B", btf, "btf", "dump", "file", Path.join(modules, `${name}.ko`)]).stdout
          const own = shown.split("\n").filter((line) => line.startsWith("[")).length
          assert.strictEqual(types.endId - types.firstId, own, name)
        }
      })

      it("the features are those that these kernels have", () => {
        const profile = profileOf(series)
        assert.isTrue(KernelProfile.hasFeature(profile, "BpfCookie"))
        assert.isTrue(KernelProfile.hasFeature(profile, "SyscallWrapper"))
        assert.isDefined(profile.vmlinux && Btf.findOne(profile.vmlinux, "task_struct", Btf.BTF_KIND_STRUCT))
      })
    }
  )
}
