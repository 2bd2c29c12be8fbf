/** Calls that make no sense become a loader that passes a look like the verifier's, or a tagged error; never an exception. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../src/insn/Encode.ts"
import type { CodeRef, KernelCall, KernelSymbol, Value } from "../../src/services/Kernel/KernelCall.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { assemble, AssembleError, type AssembleOptions } from "../../src/stages/gen/Assemble.ts"
import { plainMap } from "../support/LedgerKernel.ts"
import { faults } from "../support/LoaderCheck.ts"
import { runs } from "../support/Require.ts"

/** Mostly what fits, now and then what does not. */
const number = fc.oneof(
  { weight: 8, arbitrary: fc.nat(8) },
  { weight: 1, arbitrary: fc.constantFrom(-1, 0.5, Number.NaN, Infinity, 0x7fff_ffff, 0xffff_ffff, 2 ** 32, 2 ** 53) }
)
const wide = fc.oneof(
  { weight: 8, arbitrary: fc.bigInt(0n, 8n) },
  { weight: 1, arbitrary: fc.constantFrom(-1n, 2n ** 64n - 1n, 2n ** 64n) }
)
const text = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("a", "bpf_task_acquire") },
  { weight: 1, arbitrary: fc.constantFrom("", "a\0b", "ü".repeat(300), "x".repeat(600), "%d%s") },
  { weight: 1, arbitrary: fc.string({ maxLength: 20 }) }
)
const bytes = fc.oneof(fc.uint8Array({ maxLength: 24 }), fc.constant(new Uint8Array(4)))
const index = fc.nat(3)
const mapRef = index.map(Ref.map)
const progRef = index.map(Ref.prog)
const btfRef = fc.nat(1).map(Ref.btf)
const anyRef = fc.oneof(mapRef, progRef, btfRef)

const symbol: fc.Arbitrary<KernelSymbol> = fc.record({
  name: text,
  kind: fc.constantFrom<Array<KernelSymbol["kind"]>>("Func", "Var", "Typedef", "Struct", "Address"),
  weak: fc.boolean()
}).chain((base) =>
  fc.constantFrom<Array<Partial<KernelSymbol>>>(
    {},
    { module: "m" },
    { module: "vmlinux" },
    { member: "m" },
    { resolved: { absent: true } },
    { resolved: { address: 2n ** 64n } },
    { resolved: { address: 5n } },
    { resolved: { owner: "vmlinux", id: 3 } },
    { resolved: { owner: "vmlinux", id: -1 } },
    { resolved: { owner: "vmlinux", id: 2 ** 33 } },
    { resolved: { owner: "m", id: 3 } },
    { resolved: { owner: "m", id: 0 } }
  ).map((more) => ({ ...base, ...more }))
)

const codeRef: fc.Arbitrary<CodeRef> = fc.oneof(
  fc.record({ _tag: fc.constant("MapRef"), at: number, map: mapRef }),
  fc.record({ _tag: fc.constant("MapValueRef"), at: number, map: mapRef, offset: number }),
  fc.record({ _tag: fc.constant("SymbolRef"), at: number, symbol, extern: number })
)

const value: fc.Arbitrary<Value> = fc.record({
  bytes,
  refs: fc.array(
    fc.record({ at: number, size: fc.constantFrom<Array<4 | 8>>(4, 8), to: fc.oneof(mapRef, progRef) }),
    { maxLength: 2 }
  )
})

const records = fc.option(fc.record({ recordSize: number, records: fc.uint8Array({ maxLength: 32 }) }), {
  nil: undefined,
  freq: 2
})

/** Instructions among which loads and calls are frequent. */
const insns = fc.array(
  fc.oneof(
    fc.constantFrom([0x18, 1, 0, 0, 0, 0, 0, 0], [0x85, 0x20, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]),
    fc.array(fc.nat(255), { minLength: 7, maxLength: 8 })
  ),
  { maxLength: 6 }
).map((slots) => Uint8Array.from(slots.flat()))

const absent = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })

/** Fields that are undefined are left out. */
const trimmed = <A extends object>(of: A): A =>
  Object.fromEntries(Object.entries(of).filter(([, each]) => each !== undefined)) as A

const call: fc.Arbitrary<KernelCall> = fc.oneof(
  fc.record({ _tag: fc.constant("BtfLoad"), as: btfRef, bytes }),
  fc.record({
    _tag: fc.constant("MapCreate"),
    as: mapRef,
    attr: fc.record({
      name: text,
      type: fc.oneof(fc.constantFrom(...Object.values(MapType)), number),
      keySize: fc.oneof(fc.constant(4), number),
      valueSize: fc.oneof(fc.constant(4), number),
      maxEntries: number,
      flags: number,
      numaNode: number,
      ifindex: number,
      extra: wide
    }),
    inner: absent(mapRef),
    types: absent(fc.record({ btf: btfRef, key: number, value: number })),
    valueType: fc.option(symbol, { nil: undefined, freq: 2 })
  }),
  fc.record({
    _tag: fc.constant("MapUpdate"),
    map: mapRef,
    key: bytes,
    value,
    flags: wide,
    overridable: absent(fc.boolean())
  }),
  fc.record({ _tag: fc.constant("MapDelete"), map: mapRef, key: bytes }),
  fc.record({ _tag: fc.constant("MapFreeze"), map: mapRef }),
  fc.record({
    _tag: fc.constant("ProgLoad"),
    as: progRef,
    attr: fc.record({
      name: text,
      type: number,
      expectedAttachType: number,
      license: text,
      kernelVersion: number,
      flags: number,
      ifindex: number
    }),
    code: fc.record({ insns, refs: fc.array(codeRef, { maxLength: 3 }), coreRelocations: records }),
    btf: absent(btfRef),
    funcInfo: records,
    lineInfo: records,
    attachTo: absent(fc.oneof(symbol, fc.record({ program: progRef, function: text }))),
    log: fc.constant({ level: 0 })
  }),
  fc.record({ _tag: fc.constant("Close"), ref: anyRef })
).map((call) => {
  const flat = trimmed(call)
  return flat._tag === "ProgLoad" ? { ...flat, code: trimmed(flat.code) } : flat
}) as fc.Arbitrary<KernelCall>

const options: fc.Arbitrary<AssembleOptions> = fc.record({
  byteOrder: fc.constantFrom<Array<"little" | "big">>("little", "big"),
  logLevel: fc.nat(1),
  listed: absent(fc.record({
    maps: fc.array(fc.record({ name: text, ref: index, maxEntries: fc.nat(9) }), { maxLength: 3 }),
    programs: fc.array(fc.record({ name: text, ref: index }), { maxLength: 3 })
  }))
}).map(({ byteOrder, listed, logLevel }) => ({ byteOrder, logLevel, ...(listed === undefined ? {} : { listed }) }))

/** A sensible beginning, so that what comes behind it has something to name. */
const beginning: ReadonlyArray<KernelCall> = [
  { _tag: "BtfLoad", as: Ref.btf(0), bytes: new Uint8Array(24) },
  { _tag: "MapCreate", as: Ref.map(0), attr: { ...plainMap, keySize: 4, valueSize: 4 } },
  { _tag: "MapCreate", as: Ref.map(1), attr: { ...plainMap, keySize: 4, valueSize: 8 } }
]

/** A program that mentions a symbol, or a map, where an instruction may or may not take it. */
const mention: fc.Arbitrary<KernelCall> = fc.record({
  ref: codeRef,
  at: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 2, 3) }, { weight: 1, arbitrary: number }),
  attachTo: absent(symbol)
}).map(({ at, attachTo, ref }): KernelCall => ({
  _tag: "ProgLoad",
  as: Ref.prog(2),
  attr: { name: "p", type: 5, expectedAttachType: 0, license: "GPL", kernelVersion: 0, flags: 0, ifindex: 0 },
  code: {
    insns: Encode.program(Encode.ldImm64(1, 0n), Encode.callKfunc(0), Encode.exit()),
    refs: [{ ...ref, at }]
  },
  ...(attachTo === undefined ? {} : { attachTo }),
  log: { level: 0 }
}))

describe("calls that make no sense", () => {
  it("become a loader all the same, or a tagged error that names what is wrong", () => {
    let loaders = 0
    const reasons = new Set<string>()
    fc.assert(
      fc.property(
        fc.array(fc.oneof(call, mention), { maxLength: 3 }),
        fc.boolean(),
        options,
        (wild, begins, options) => {
          const result = assemble(begins ? [...beginning, ...wild] : wild, options)
          if (Result.isSuccess(result)) {
            loaders++
            assert.deepStrictEqual(faults(result.success), [])
          } else {
            assert.instanceOf(result.failure, AssembleError)
            assert.isAbove(result.failure.message.length, 10)
            reasons.add(result.failure.reason)
          }
        }
      ),
      { numRuns: runs(3000) }
    )
    if (runs(3000) >= 3000) {
      assert.isAbove(loaders, 50)
      assert.includeMembers([...reasons], ["Unsupported", "BadRef", "BadValue"])
    }
  })
})
