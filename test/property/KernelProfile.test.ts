/** Laws of kernel profiles: what is written is read, whatever the kernel; and whatever is read, nothing but an error. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"
import * as KernelProfile from "../../src/services/Kernel/KernelProfile.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { runs } from "../support/Require.ts"

/** A law must fail on its named fault: a counterexample must be found. */
const refuted = <T>(property: fc.IProperty<T>): void => {
  assert.isTrue(fc.check(property, { numRuns: 2000 }).failed, "the named fault went unnoticed")
}

const optional = <A>(arbitrary: fc.Arbitrary<A>): fc.Arbitrary<A | undefined> =>
  fc.option(arbitrary, { nil: undefined })

/** Text that survives being written as UTF-8. */
const text = fc.string({ unit: "binary", maxLength: 40 })

const moduleName = fc.stringMatching(/^[a-z0-9_][a-zA-Z0-9_.-]{0,20}$/).filter((name) => name !== "vmlinux")

const configuration = fc.array(
  fc.tuple(fc.stringMatching(/^CONFIG_[A-Z0-9_]{1,12}$/), fc.constantFrom("y", "m", "250", "\"text\"")),
  { maxLength: 6 }
).map((options) => options.map(([key, value]) => `${key}=${value}\n`).join("# a comment\n"))

const symbols = fc.uniqueArray(
  fc.tuple(fc.stringMatching(/^[a-zA-Z_.$][\w.$]{0,12}$/), fc.constantFrom("one" as const, "several" as const)),
  { selector: ([name]) => name, maxLength: 8 }
).map((names): KernelProfile.SymbolNames => new Map(names))

const features = fc.record(
  Object.fromEntries(KernelInfo.features.map((feature) => [feature, fc.boolean()])),
  { requiredKeys: [] }
)

/** Types of a kernel and of one module over them. */
const types = Arbitrary.split({ maxLength: 6 }).map(({ base, split }) => {
  const vmlinux = B.expectSuccess(Btf.parse(base.bytes))
  return { vmlinux, module: B.expectSuccess(Btf.parse(split.bytes, { base: vmlinux })) }
})

const profile: fc.Arbitrary<KernelProfile.KernelProfile> = fc.record({
  types: optional(types),
  release: text,
  architecture: fc.constantFrom("x64", "arm64", "s390x", ""),
  order: fc.constantFrom("little" as const, "big" as const),
  pageSize: optional(fc.constantFrom(4096, 16384, 65536)),
  possibleCpus: optional(fc.integer({ min: 1, max: 1 << 20 })),
  kernelVersion: optional(fc.integer({ min: 0x1_0000, max: 0xffff_ffff })),
  features,
  configuration: optional(configuration),
  modules: optional(fc.uniqueArray(fc.tuple(moduleName, optional(text.filter((why) => why !== ""))), {
    selector: ([name]) => name,
    maxLength: 4
  })),
  symbols: optional(symbols),
  missing: fc.dictionary(fc.constantFrom("config", "symbols", "features.BpfCookie", "page_size"), text)
}).map(({ modules, order, types, ...rest }) => ({
  ...rest,
  byteOrder: types?.vmlinux.byteOrder ?? order,
  vmlinux: types?.vmlinux,
  modules: modules?.map(([name, problem]) => ({
    name,
    types: () =>
      problem !== undefined || types === undefined
        ? Result.fail(problem ?? "there are no types of vmlinux")
        : Result.succeed(types.module)
  }))
}))

/** A profile without functions and blobs, to be compared. */
const plain = ({ modules, symbols, vmlinux, ...rest }: KernelProfile.KernelProfile) => ({
  ...rest,
  symbols: symbols === undefined ? undefined : [...symbols].sort((one, other) => one < other ? -1 : 1),
  vmlinux: vmlinux?.bytes,
  modules: modules?.map(({ name, types }) => ({
    name,
    types: Result.match(types(), { onFailure: (problem) => problem, onSuccess: ({ bytes }) => bytes })
  }))
})

describe("KernelProfile", () => {
  type Encode = typeof KernelProfile.encode

  const roundTrip = (encode: Encode) =>
    fc.property(profile, (profile) => {
      const files = encode(profile)
      const read = KernelProfile.decode(KernelProfile.inMemory(files))
      if (Result.isFailure(read)) throw read.failure
      assert.deepStrictEqual(plain(read.success), plain(profile))
      assert.deepStrictEqual([...encode(read.success)], [...files])
    })

  it("law: what is written is read, and written again the same", () => {
    fc.assert(roundTrip(KernelProfile.encode), { numRuns: runs(200) })
  })

  const without = (name: RegExp): Encode => (profile) =>
    new Map([...KernelProfile.encode(profile)].filter(([file]) => !name.test(file)))

  it("named faults: a file that is not written, a name of symbols that is written once", () => {
    for (const file of [/^config$/, /^symbols$/, /^btf\/vmlinux$/, /^btf\/(?!vmlinux)/]) {
      refuted(roundTrip(without(file)))
    }
    refuted(roundTrip((profile) =>
      KernelProfile.encode({
        ...profile,
        symbols: profile.symbols && new Map([...profile.symbols].map(([name]) => [name, "one"]))
      })
    ))
  })

  it("law: of changed, cut and added bytes, a profile or an error comes, and modules say what is wrong", () => {
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 8 })
    fc.assert(
      fc.property(profile, edits, fc.boolean(), (profile, edits, cuts) => {
        const files = new Map(KernelProfile.encode(profile))
        const names = [...files.keys()]
        for (const [which, at, value] of edits) {
          const name = names[which % names.length] ?? ""
          const bytes = Uint8Array.from(files.get(name) ?? [])
          if (bytes.length === 0) continue
          if (cuts) files.set(name, bytes.subarray(0, at % bytes.length))
          else {
            bytes[at % bytes.length] = value
            files.set(name, bytes)
          }
        }
        const read = KernelProfile.decode(KernelProfile.inMemory(files))
        if (Result.isFailure(read)) {
          assert.strictEqual(read.failure._tag, "ProfileError")
          assert.isTrue(names.includes(read.failure.file), read.failure.file)
          return
        }
        for (const { btf, problem } of KernelProfile.moduleTypes(read.success) ?? []) {
          assert.isTrue((btf === undefined) === (problem !== undefined))
        }
        KernelProfile.toInfo(read.success)
        KernelProfile.toSimulatedOptions(read.success)
      }),
      { numRuns: runs(300) }
    )
  })

  it("law: a question is answered with a fact of the profile, or with ENODATA and the reason", () => {
    const requirement: fc.Arbitrary<KernelInfo.Requirement> = fc.oneof(
      fc.constantFrom(
        { _tag: "PageSize" } as const,
        { _tag: "PossibleCpus" } as const,
        { _tag: "KernelVersion" } as const,
        { _tag: "VmlinuxTypes" } as const,
        { _tag: "ModuleTypes" } as const
      ),
      fc.record({ _tag: fc.constant("Kconfig" as const), key: fc.constantFrom("CONFIG_A", "__proto__", "") }),
      fc.record({ _tag: fc.constant("Feature" as const), feature: fc.constantFrom(...KernelInfo.features) }),
      fc.record({ _tag: fc.constant("Symbol" as const), name: fc.constantFrom("a", "constructor", "") })
    )
    fc.assert(
      fc.property(profile, fc.array(requirement, { maxLength: 5 }), (profile, requirements) => {
        const answered = KernelProfile.answers(profile)(requirements)
        if (Result.isFailure(answered)) {
          assert.strictEqual(answered.failure.errno, "ENODATA")
          assert.isString(answered.failure.hint)
          return
        }
        const info = KernelInfo.add(KernelProfile.toInfo(profile), answered.success)
        for (const requirement of requirements) {
          assert.notStrictEqual(KernelInfo.factOf(info, requirement)._tag, "Unasked")
        }
      }),
      { numRuns: runs(300) }
    )
  })
})
