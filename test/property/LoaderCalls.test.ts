/**
 * Loaders of any calls: with kernel symbols of all kinds, maps of maps, slots, programs and maps that are left out or closed,
 * for both byte orders, printing or not.
 *
 * The code passes a look like the verifier's; a replay makes the calls that the loader was made of; whichever symbol the
 * kernel lacks and whichever call fails, nothing stays open, nothing is closed twice and nothing is handed out.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../src/insn/Encode.ts"
import * as Insn from "../../src/insn/Insn.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import type { CodeRef, KernelCall, KernelSymbol } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelFaulty from "../../src/services/Kernel/KernelFaulty.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { assemble, type AssembleOptions } from "../../src/stages/gen/Assemble.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { replay, type Replayed, type ReplayOptions } from "../../src/stages/gen/Replay.ts"
import * as LedgerKernel from "../support/LedgerKernel.ts"
import { faults } from "../support/LoaderCheck.ts"
import { runs } from "../support/Require.ts"

/** A use of something in a program's code. */
type Use =
  | { readonly _tag: "Symbol"; readonly symbol: KernelSymbol }
  | { readonly _tag: "Map"; readonly map: number; readonly offset: number | undefined }

interface Drawn {
  readonly btf: boolean
  readonly maps: ReadonlyArray<{
    readonly kind: "array" | "hash" | "outer" | "programs"
    readonly filled: number
    readonly freeze: boolean
    readonly overridable: boolean
    readonly isListed: boolean
    readonly closed: boolean
  }>
  readonly programs: ReadonlyArray<{
    readonly uses: ReadonlyArray<Use>
    readonly attachTo: KernelSymbol | undefined
    readonly isListed: boolean
    readonly closed: boolean
  }>
  readonly leftOut: number
}

const kinds = ["Func", "Var", "Address"] as const

const symbol: fc.Arbitrary<KernelSymbol> = fc.record({
  name: fc.constantFrom("a", "b", "c", "d", "a_rather_long_name_of_a_symbol"),
  kind: fc.constantFrom(...kinds),
  weak: fc.boolean(),
  module: fc.option(fc.constantFrom("m", "n"), { nil: undefined, freq: 4 })
}).map(({ module, ...rest }) => ({ ...rest, ...(module === undefined || rest.kind === "Address" ? {} : { module }) }))

const target = fc.record({ symbol, kind: fc.constantFrom("Func", "Typedef") })
  .map(({ kind, symbol }): KernelSymbol => ({ ...symbol, kind, weak: false }))

const drawn: fc.Arbitrary<Drawn> = fc.record({
  btf: fc.boolean(),
  maps: fc.array(
    fc.record({
      kind: fc.constantFrom("array", "hash", "outer", "programs"),
      filled: fc.nat(3),
      freeze: fc.boolean(),
      overridable: fc.boolean(),
      isListed: fc.boolean(),
      closed: fc.boolean()
    }),
    { maxLength: 6 }
  ),
  programs: fc.array(
    fc.record({
      uses: fc.array(
        fc.oneof(
          symbol.map((symbol): Use => ({ _tag: "Symbol", symbol })),
          fc.record({
            _tag: fc.constant("Map"),
            map: fc.nat(5),
            offset: fc.option(fc.nat(100), { nil: undefined })
          })
        ),
        { maxLength: 8 }
      ),
      attachTo: fc.option(target, { nil: undefined }),
      isListed: fc.boolean(),
      closed: fc.boolean()
    }),
    { maxLength: 4 }
  ),
  leftOut: fc.nat(3)
})

const template = (map: number): Ref.MapRef => Ref.map(100 + map)

/** The calls that load what was drawn; programs go into program arrays when they are loaded. */
const callsOf = ({ btf, maps, programs }: Drawn): ReadonlyArray<KernelCall> => {
  const calls: Array<KernelCall> = btf ? [{ _tag: "BtfLoad", as: Ref.btf(0), bytes: new Uint8Array(24) }] : []
  const types = btf ? { types: { btf: Ref.btf(0), key: 1, value: 2 } } : {}
  const key = (at: number): Uint8Array => Uint8Array.of(at, 0, 0, 0)
  maps.forEach(({ filled, freeze, kind, overridable }, map) => {
    const attr = { ...LedgerKernel.plainMap, name: `map ${map}`, keySize: 4, valueSize: 4, maxEntries: 8 + map }
    const as = Ref.map(map)
    switch (kind) {
      case "outer":
        calls.push({ _tag: "MapCreate", as: template(map), attr: { ...attr, name: `template ${map}` } })
        calls.push({
          _tag: "MapCreate",
          as,
          attr: { ...attr, type: MapType.BPF_MAP_TYPE_HASH_OF_MAPS },
          inner: template(map)
        })
        calls.push({ _tag: "Close", ref: template(map) })
        for (let slot = 0; slot < Math.min(filled, map); slot++) {
          const value = { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to: Ref.map(slot) }] } as const
          calls.push({ _tag: "MapUpdate", map: as, key: key(slot), value, flags: 0n })
        }
        return
      case "programs":
        calls.push({ _tag: "MapCreate", as, attr: { ...attr, type: MapType.BPF_MAP_TYPE_PROG_ARRAY }, ...types })
        return
      default: {
        const type = kind === "array" ? MapType.BPF_MAP_TYPE_ARRAY : MapType.BPF_MAP_TYPE_HASH
        calls.push({ _tag: "MapCreate", as, attr: { ...attr, type }, ...types })
        for (let at = 0; at < filled; at++) {
          const value = { bytes: Uint8Array.of(at, map, 3, 4), refs: [] }
          const initial = overridable && at === 0 ? { overridable } : {}
          calls.push({ _tag: "MapUpdate", map: as, key: key(at), value, flags: BigInt(at), ...initial })
        }
        if (freeze) calls.push({ _tag: "MapFreeze", map: as })
      }
    }
  })
  programs.forEach(({ attachTo, uses }, program) => {
    const insns: Array<Uint8Array> = []
    const refs: Array<CodeRef> = []
    let at = 0
    for (const use of uses) {
      const isCall = use._tag === "Symbol" && use.symbol.kind === "Func"
      if (use._tag === "Symbol") {
        refs.push({ _tag: "SymbolRef", at, symbol: use.symbol })
      } else if (use.map >= maps.length) {
        continue
      } else if (use.offset === undefined) {
        refs.push({ _tag: "MapRef", at, map: Ref.map(use.map) })
      } else {
        refs.push({ _tag: "MapValueRef", at, map: Ref.map(use.map), offset: use.offset })
      }
      insns.push(
        isCall
          ? Encode.callKfunc(0)
          : use._tag === "Symbol"
          ? Encode.ldImm64(3, 0n)
          : use.offset === undefined
          ? Encode.ldMapFd(1, 0)
          : Encode.ldMapValue(1, 0, 0)
      )
      at += isCall ? 1 : 2
    }
    calls.push({
      _tag: "ProgLoad",
      as: Ref.prog(program),
      attr: {
        name: `program ${program}`,
        type: 5,
        expectedAttachType: 0,
        license: "GPL",
        kernelVersion: 0,
        flags: 0,
        ifindex: 0
      },
      code: { insns: Encode.program(...insns, Encode.mov64Imm(0, program), Encode.exit()), refs },
      ...(btf ? { btf: Ref.btf(0) } : {}),
      ...(attachTo === undefined ? {} : { attachTo }),
      log: { level: 0 }
    })
  })
  maps.forEach(({ filled, kind }, map) => {
    if (kind !== "programs") return
    for (let slot = 0; slot < Math.min(filled, programs.length); slot++) {
      const value = { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to: Ref.prog(slot) }] } as const
      calls.push({ _tag: "MapUpdate", map: Ref.map(map), key: key(slot), value, flags: 0n })
    }
  })
  programs.forEach(({ closed }, program) => {
    if (closed) calls.push({ _tag: "Close", ref: Ref.prog(program) })
  })
  maps.forEach(({ closed }, map) => {
    if (closed) calls.push({ _tag: "Close", ref: Ref.map(map) })
  })
  return calls
}

/** What is listed: some of what is made, and what is left out. */
const optionsOf = ({ leftOut, maps, programs }: Drawn): Pick<AssembleOptions, "listed"> => ({
  listed: {
    maps: [
      ...Array.from({ length: leftOut }, (_, at) => ({ name: "out", ref: 50 + at, maxEntries: 1 })),
      ...maps.flatMap(({ isListed }, ref) => isListed ? [{ name: `map ${ref}`, ref, maxEntries: 8 + ref }] : [])
    ],
    programs: [
      ...programs.flatMap(({ isListed }, ref) => isListed ? [{ name: `program ${ref}`, ref }] : []),
      ...Array.from({ length: leftOut }, (_, at) => ({ name: "out", ref: 50 + at }))
    ]
  }
})

const variants: fc.Arbitrary<Pick<AssembleOptions, "byteOrder" | "logLevel">> = fc.record({
  byteOrder: fc.constantFrom("little", "big"),
  logLevel: fc.constantFrom(0, 1)
})

const loaderOf = (drawn: Drawn, options: AssembleOptions): LoaderProgram =>
  Result.getOrThrow(assemble(callsOf(drawn), { ...optionsOf(drawn), ...options }))

/** Breaks of what a loader owes whatever happens, and what it came to. */
const run = (
  loader: LoaderProgram,
  options: ReplayOptions,
  failsAt?: number
): { readonly replayed: Replayed; readonly breaks: ReadonlyArray<string> } =>
  Effect.runSync(Effect.scoped(Effect.gen(function*() {
    const { kernel } = LedgerKernel.make({ byteOrder: loader.byteOrder })
    const whole = failsAt === undefined
      ? kernel
      : yield* KernelFaulty.make(kernel, failsAt, { _tag: "Answer", errno: "EPERM" })
    const replayed = yield* replay(loader, yield* whole.session(), options)
    const { leaked, leakedModules, maps, programs, retval, strayCloses } = replayed
    const breaks: Array<string> = []
    if (leaked.length > 0) breaks.push(`leaks ${leaked.map(Ref.key).join(", ")}`)
    if (leakedModules.length > 0) breaks.push(`leaves types of ${leakedModules.join(", ")} open`)
    if (strayCloses > 0) breaks.push(`closes ${strayCloses} times what is not open`)
    const published = [...maps, ...programs].filter((ref) => ref !== undefined).length
    const owed = retval === 0 ? [...loader.maps, ...loader.programs].filter((each) => each.published).length : 0
    if (published !== owed) breaks.push(`hands out ${published}, not ${owed}`)
    return { replayed, breaks }
  })))

/** A kernel that has every symbol where it should be. */
const complete = (drawn: Drawn): ReplayOptions => {
  const modules = new Map<string, string | undefined>()
  for (const { attachTo, uses } of drawn.programs) {
    const symbols = uses.flatMap((use) => use._tag === "Symbol" ? [use.symbol] : [])
    for (const { kind, module, name } of attachTo === undefined ? symbols : [...symbols, attachTo]) {
      const key = `${kind} ${name}`
      modules.set(key, modules.get(key) ?? module)
    }
  }
  return {
    find: ({ kind, name }) => {
      const module = modules.get(`${kind} ${name}`)
      return module === undefined ? {} : { module }
    }
  }
}

/** A call as far as a loader can say it. */
const said = (call: KernelCall): unknown => {
  if (call._tag === "MapUpdate") return { ...call, overridable: false }
  if (call._tag !== "ProgLoad") return call
  const { attachTo, code, ...rest } = call
  const short = (symbol: KernelSymbol) => ({ kind: symbol.kind, name: symbol.name })
  const insns = new Uint8Array(code.insns)
  for (const { _tag, at } of code.refs) {
    if (_tag !== "SymbolRef") continue
    if (Insn.isLdImm64(insns, at)) Insn.setImm64(insns, at, 0n)
    Insn.setSrc(insns, at, 0)
  }
  return {
    ...rest,
    attachTo: attachTo !== undefined && "kind" in attachTo ? short(attachTo) : undefined,
    insns,
    refs: code.refs.map((ref) => ref._tag === "SymbolRef" ? { at: ref.at, ...short(ref.symbol) } : ref)
  }
}

describe("loaders of calls that were drawn", () => {
  it("pass a look like the verifier's", () => {
    fc.assert(
      fc.property(drawn, variants, (drawn, options) => {
        assert.deepStrictEqual(faults(loaderOf(drawn, options)), [])
      }),
      { numRuns: runs(200) }
    )
  })

  it("make these calls, for machines of both byte orders, whether or not they print", () => {
    fc.assert(
      fc.property(drawn, variants, (drawn, options) => {
        const { breaks, replayed } = run(loaderOf(drawn, options), complete(drawn))
        assert.deepStrictEqual(breaks, [])
        assert.strictEqual(replayed.retval, 0)
        const calls = callsOf(drawn)
        assert.deepStrictEqual(replayed.calls.slice(0, calls.length).map(said), calls.map(said))
        // Then only what nobody is handed is closed.
        assert.isTrue(replayed.calls.slice(calls.length).every(({ _tag }) => _tag === "Close"))
      }),
      { numRuns: runs(200) }
    )
  })

  it("leave nothing behind, whichever call fails", () => {
    fc.assert(
      fc.property(drawn, variants, fc.nat(), (drawn, options, seed) => {
        const loader = loaderOf(drawn, options)
        const attempts = callsOf(drawn).flatMap(({ _tag }, at) => _tag === "Close" ? [] : [at])
        fc.pre(attempts.length > 0)
        const { breaks, replayed } = run(loader, complete(drawn), attempts[seed % attempts.length])
        assert.deepStrictEqual(breaks, [])
        assert.strictEqual(replayed.retval, -Errno.numbers.EPERM)
      }),
      { numRuns: runs(200) }
    )
  })

  it("leave nothing behind, whatever the kernel lacks, and load where only weak symbols are missing", () => {
    const lacking = fc.uniqueArray(fc.constantFrom<Array<string>>("a", "b", "c", "d"), { maxLength: 4 })
    fc.assert(
      fc.property(drawn, variants, lacking, (drawn, options, names) => {
        const all = complete(drawn).find ?? (() => undefined)
        const find: ReplayOptions["find"] = (lookup) => names.includes(lookup.name) ? undefined : all(lookup)
        const { breaks, replayed } = run(loaderOf(drawn, options), { find })
        assert.deepStrictEqual(breaks, [])
        const isStrong = ({ name, weak }: KernelSymbol): boolean => !weak && names.includes(name)
        const missing = drawn.programs.some(({ attachTo, uses }) =>
          (attachTo !== undefined && isStrong(attachTo)) ||
          uses.some((use) => use._tag === "Symbol" && isStrong(use.symbol))
        )
        assert.strictEqual(replayed.retval, missing ? -Errno.numbers.ENOENT : 0)
      }),
      { numRuns: runs(200) }
    )
  })

  it("named fault: an answer of the kernel that is lost is seen", () => {
    fc.assert(
      fc.property(drawn.filter(({ programs }) => programs.length > 0), fc.nat(), (drawn, seed) => {
        const loader = loaderOf(drawn, {})
        // What keeps the answers.
        const places: Array<number> = []
        for (let at = 0; at < Insn.count(loader.insns); at = Insn.nextSlot(loader.insns, at)) {
          if (Insn.isHelperCall(loader.insns, at) && Insn.imm(loader.insns, at) === 166) places.push(at + 1)
        }
        const number = seed % places.length
        const insns = new Uint8Array(loader.insns)
        insns.set(Encode.mov64Imm(7, 0), (places[number] ?? 0) * 8)
        const failing = callsOf(drawn).flatMap(({ _tag }, at) => _tag === "Close" ? [] : [at])[number]
        const outcome = Effect.runSync(
          Effect.result(Effect.try(() => run({ ...loader, insns }, complete(drawn), failing)))
        )
        assert.isTrue(
          Result.isFailure(outcome) || outcome.success.breaks.length > 0 ||
            outcome.success.replayed.retval !== -Errno.numbers.EPERM
        )
      }),
      { numRuns: runs(50) }
    )
  })
})
