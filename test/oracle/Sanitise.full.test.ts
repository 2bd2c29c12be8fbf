/**
 * All fixtures, every program of every kind of section, and the corpus, for kernels that lack features, beside libbpf 1.5.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Feature } from "../../src/services/Kernel/Feature.ts"
import { Kernel } from "../../src/services/Kernel/Kernel.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as LoadPlan from "../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { lacking, pretended } from "../support/Lacking.ts"
import * as Peer from "../support/Peer.ts"
import { allFixtures, bpffs, corpus, corpusFolder, describeWith, fixture, repository } from "../support/Require.ts"
import * as Sanitised from "../support/SanitisedBeside.ts"

const littleEndian = allFixtures().filter((name) => name.endsWith(".bpf.o"))

const pathOf = (name: string): string => Path.join(repository, "test/fixtures", name)

const both = (name: string, lacked: ReadonlyArray<Feature>, only?: string): Promise<Sanitised.Beside> => {
  const pinRoot = Path.join(bpffs(), "pins")
  const clean = () => Fs.rmSync(pinRoot, { recursive: true, force: true })
  const options = { path: pathOf(name), pinRoot, ...(only === undefined ? {} : { only }) }
  return Sanitised.loadBoth(fixture(name), lacked, options, clean)
}

const needs = { kind: "live", tools: Libbpf.needs("1.5").tools, files: Libbpf.needs("1.5").files } as const

const releases: ReadonlyArray<string> = ["4.18", "5.0", "5.4", "5.10", "5.15", "6.1", "6.6"]

const sets: ReadonlyArray<readonly [what: string, lacked: ReadonlyArray<Feature>]> = [
  ...Sanitised.deciding.map((feature) => [feature, [feature]] as const),
  ...releases.map((release) => [`Linux ${release}`, Sanitised.lackedBy(release)] as const)
]

describeWith(needs, "fixtures for kernels that lack features, beside libbpf", () => {
  const seen = new Set<Sanitised.ExceptionName>()

  for (const name of littleEndian) {
    it(name, { timeout: 120_000 }, async () => {
      const whole = await both(name, [])
      for (const [what, lacked] of sets) {
        const found = Sanitised.becauseOf(whole, await both(name, lacked))
        const kinds = found.map((each) => Sanitised.whichException(each, lacked))
        const unexplained = found.filter((_, index) => kinds[index] === undefined)
        assert.deepStrictEqual(unexplained.map(Sanitised.show), [], what)
        for (const kind of kinds) if (kind !== undefined) seen.add(kind)
      }
    })
  }

  it("every exception occurs", () => {
    assert.sameMembers([...seen], Object.keys(Sanitised.exceptions))
  })

  it("programs of every kind of section", { timeout: 120_000 }, async () => {
    const name = "section_kinds.bpf.o"
    const lacked: ReadonlyArray<Feature> = ["ExpectedAttachType", "UprobeMultiLink", "BtfGlobalFunc"]
    let compared = 0
    for (const { name: only, section } of Peer.open(pathOf(name)).programs ?? []) {
      const whole = await both(name, [], only)
      const found = Sanitised.becauseOf(whole, await both(name, lacked, only))
      assert.deepStrictEqual(found.map(Sanitised.show), [], section)
      if (whole.libbpf.error === undefined) compared++
    }
    assert.isAbove(compared, 50)
  })
})

/** What our plan for the running kernel without some features has: its BTF, and the attach type and instructions by program. */
const planned = (bytes: Uint8Array, path: string, lacked: ReadonlyArray<Feature>) =>
  Effect.gen(function*() {
    const kernel = yield* Kernel
    const object = yield* Effect.fromResult(Open.fromBytes(bytes, { path }))
    const plan = yield* Effect.flatMap(Relocate.relocate.run(object), Plan.plan.run).pipe(
      Effect.provideService(Kernel, lacking(kernel, lacked))
    )
    const blob = LoadPlan.mainCalls(plan.plan).find((call) => call._tag === "BtfLoad")?.bytes
    return blob === undefined ? "" : Peer.toHex(blob)
  })

describeWith(
  { ...needs, files: [...needs.files, corpusFolder] },
  "the corpus for kernels that lack features, beside libbpf",
  () => {
    it("has the same types, byte for byte", { timeout: 1_800_000 }, async () => {
      const names = corpus()
      const different: Array<string> = []
      let compared = 0
      let changed = 0
      const blobs = await Effect.runPromise(
        Effect.forEach(names, (name, index) => {
          const lacked = Sanitised.lackedBy(releases[index % releases.length] ?? assert.fail())
          const bytes = new Uint8Array(Fs.readFileSync(name))
          return Effect.result(planned(bytes, name, lacked))
        }).pipe(Effect.provide(KernelLive.layer))
      )
      for (const [index, name] of names.entries()) {
        const release = releases[index % releases.length] ?? assert.fail()
        const lacked = Sanitised.lackedBy(release)
        const ours = blobs[index]
        if (ours === undefined || Result.isFailure(ours)) continue
        const { calls = [] } = Peer.load(name, [], "1.5", pretended(lacked))
        const libbpf = calls.find((call) => call.command === "BTF_LOAD" && !call.probe)?.btf
        // It may have given up before.
        if (libbpf === undefined || libbpf === null) continue
        compared++
        if (libbpf !== ours.success) different.push(`${Path.basename(name)} for Linux ${release}`)
        const plain = Open.fromBytes(new Uint8Array(Fs.readFileSync(name)), { path: name })
        if (Result.isSuccess(plain) && Peer.toHex(plain.success.btf?.bytes) !== libbpf) changed++
      }
      assert.deepStrictEqual(different, [])
      assert.isAbove(compared, 300)
      assert.isAbove(changed, 200)
    })
  }
)
