/** Arbitrary calls that loaders can make, as plans have them. */
import * as fc from "fast-check"
import * as Encode from "../../../src/insn/Encode.ts"
import { MapType } from "../../../src/services/Kernel/abi/BpfConstants.ts"
import type { CodeRef, KernelCall, KernelSymbol, MapAttributes } from "../../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../../src/services/Kernel/Ref.ts"

/** A symbol that a program uses, by its place in a few names: what several programs use is then looked up for each. */
interface DrawnSymbol {
  readonly kind: "Func" | "Var" | "Address"
  readonly name: number
}

/** What an object may be: maps with or without values, maps of maps, programs that use them and symbols, types or none. */
export interface Drawn {
  readonly btf: Uint8Array | undefined
  readonly maps: ReadonlyArray<{
    readonly kind: "hash" | "array" | "arrayOfMaps" | "programs"
    readonly valueSize: number
    readonly maxEntries: number
    readonly name: string
    readonly fill: "none" | "plain" | "overridable"
    readonly slots: ReadonlyArray<number>
    readonly freeze: boolean
    readonly closeEarly: boolean
  }>
  readonly programs: ReadonlyArray<{
    readonly uses: ReadonlyArray<{ readonly map: number; readonly offset: number | undefined }>
    readonly symbols: ReadonlyArray<DrawnSymbol>
    readonly attachTo: "none" | "function" | "typedef"
    readonly name: string
    readonly license: string
    readonly records: number
    readonly core: boolean
  }>
  /** Which of the names of symbols are weak. */
  readonly weak: ReadonlyArray<boolean>
  readonly closeLate: ReadonlyArray<number>
}

const NAMES = 4

const name = fc.string({ maxLength: 24 })

/** Objects for loaders. */
export const drawn: fc.Arbitrary<Drawn> = fc.record({
  btf: fc.option(fc.uint8Array({ minLength: 1, maxLength: 60 }), { nil: undefined }),
  maps: fc.array(
    fc.record({
      kind: fc.constantFrom("hash", "array", "hash", "array", "arrayOfMaps", "programs"),
      valueSize: fc.integer({ min: 1, max: 40 }),
      maxEntries: fc.integer({ min: 1, max: 0xffff_ffff }),
      name,
      fill: fc.constantFrom("none", "plain", "overridable"),
      slots: fc.array(fc.nat(7), { maxLength: 3 }),
      freeze: fc.boolean(),
      closeEarly: fc.boolean()
    }),
    { maxLength: 8 }
  ),
  programs: fc.array(
    fc.record({
      uses: fc.array(fc.record({ map: fc.nat(7), offset: fc.option(fc.nat(0xffff_ffff), { nil: undefined }) }), {
        maxLength: 5
      }),
      symbols: fc.array(
        fc.record({ kind: fc.constantFrom("Func", "Var", "Address"), name: fc.nat(NAMES - 1) }),
        { maxLength: 4 }
      ),
      attachTo: fc.constantFrom("none", "none", "function", "typedef"),
      name,
      license: fc.constantFrom("GPL", "Dual MIT/GPL", ""),
      records: fc.nat(3),
      core: fc.boolean()
    }),
    { maxLength: 5 }
  ),
  weak: fc.array(fc.boolean(), { minLength: NAMES, maxLength: NAMES }),
  closeLate: fc.array(fc.nat(7), { maxLength: 3 })
})

/** Bytes that differ by their seed. */
export const bytesOf = (length: number, seed: number): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => at * 7 + seed)

const types = {
  hash: MapType.BPF_MAP_TYPE_HASH,
  array: MapType.BPF_MAP_TYPE_ARRAY,
  arrayOfMaps: MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  programs: MapType.BPF_MAP_TYPE_PROG_ARRAY
} as const

/** Refs are numbered with gaps, as those of plans are. */
const mapRef = (map: number): Ref.MapRef => Ref.map(3 * map + 1)
const templateRef = (map: number): Ref.MapRef => Ref.map(100 + map)
const progRef = (program: number): Ref.ProgRef => Ref.prog(2 * program + 5)

const keyOf = (index: number): Uint8Array => Uint8Array.of(index, 0, 0, 0)

const mapCalls = ({ btf, maps }: Drawn, isUsed: (map: number) => boolean, closed: Set<number>): Array<KernelCall> => {
  const calls: Array<KernelCall> = []
  const alive = (slots: ReadonlyArray<number>, before: number): ReadonlyArray<number> =>
    [...new Set(slots)].filter((slot) => slot < before && !closed.has(slot))
  maps.forEach(({ closeEarly, fill, freeze, kind, maxEntries, name, slots, valueSize }, map) => {
    const holds = kind === "arrayOfMaps" || kind === "programs"
    const attr: MapAttributes = {
      name,
      type: types[kind],
      keySize: 4,
      valueSize: holds ? 4 : valueSize,
      maxEntries,
      flags: map,
      numaNode: 0,
      ifindex: 0,
      extra: BigInt(map) << 40n
    }
    if (kind === "arrayOfMaps") {
      calls.push({
        _tag: "MapCreate",
        as: templateRef(map),
        attr: { ...attr, type: types.hash, name: `${name}.inner` }
      })
    }
    calls.push({
      _tag: "MapCreate",
      as: mapRef(map),
      attr,
      ...(kind === "arrayOfMaps" ? { inner: templateRef(map) } : {}),
      ...(btf === undefined || holds ? {} : { types: { btf: Ref.btf(0), key: map, value: map } })
    })
    if (kind === "arrayOfMaps") {
      calls.push({ _tag: "Close", ref: templateRef(map) })
      for (const slot of alive(slots, map)) {
        calls.push({
          _tag: "MapUpdate",
          map: mapRef(map),
          key: keyOf(slot),
          value: { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to: mapRef(slot) }] },
          flags: 0n
        })
      }
    }
    if (fill !== "none" && !holds) {
      calls.push({
        _tag: "MapUpdate",
        map: mapRef(map),
        key: bytesOf(4, map),
        value: { bytes: bytesOf(valueSize, map), refs: [] },
        flags: BigInt(map),
        ...(fill === "overridable" ? { overridable: true } : {})
      })
    }
    if (freeze && !holds) calls.push({ _tag: "MapFreeze", map: mapRef(map) })
    const isHeld = maps.some((other, at) => at > map && other.kind === "arrayOfMaps" && other.slots.includes(map))
    if (closeEarly && !isUsed(map) && !isHeld && kind !== "programs") {
      closed.add(map)
      calls.push({ _tag: "Close", ref: mapRef(map) })
    }
  })
  return calls
}

const symbolOf = ({ kind, name }: DrawnSymbol, weak: ReadonlyArray<boolean>): KernelSymbol => ({
  name: `${kind.toLowerCase()}_${name}`,
  kind,
  weak: weak[name] ?? false
})

const codeOf = (
  { maps, weak }: Drawn,
  { symbols, uses }: Drawn["programs"][number],
  program: number
): { readonly insns: Uint8Array; readonly refs: ReadonlyArray<CodeRef> } => {
  const refs: Array<CodeRef> = []
  const insns: Array<Uint8Array> = []
  let at = 0
  const push = (insn: Uint8Array): void => {
    insns.push(insn)
    at += insn.length / 8
  }
  for (const { map, offset } of uses.filter(({ map }) => map < maps.length)) {
    refs.push(
      offset === undefined
        ? { _tag: "MapRef", at, map: mapRef(map) }
        : { _tag: "MapValueRef", at, map: mapRef(map), offset }
    )
    push(offset === undefined ? Encode.ldMapFd(1, 0) : Encode.ldMapValue(1, 0, 0))
  }
  for (const symbol of symbols) {
    refs.push({ _tag: "SymbolRef", at, symbol: symbolOf(symbol, weak), extern: symbol.name })
    push(symbol.kind === "Func" ? Encode.callKfunc(0) : Encode.ldImm64(2, 0n))
  }
  push(Encode.mov64Imm(0, program))
  push(Encode.exit())
  return { insns: Encode.program(...insns), refs }
}

const targets = {
  none: {},
  function: { attachTo: { name: "a_function", kind: "Func", weak: false } },
  typedef: { attachTo: { name: "btf_trace_event", kind: "Typedef", weak: false } }
} as const

/** The calls that load what was drawn. */
export const callsOf = (object: Drawn): ReadonlyArray<KernelCall> => {
  const { btf, closeLate, maps, programs } = object
  const calls: Array<KernelCall> = []
  const closed = new Set<number>()
  if (btf !== undefined) calls.push({ _tag: "BtfLoad", as: Ref.btf(0), bytes: btf })
  calls.push(...mapCalls(object, (map) => programs.some(({ uses }) => uses.some((use) => use.map === map)), closed))
  programs.forEach((drawn, program) => {
    const { attachTo, core, license, name, records } = drawn
    const info = { recordSize: 8, records: bytesOf(8 * records, program) }
    const hasInfo = btf !== undefined && records > 0
    calls.push({
      _tag: "ProgLoad",
      as: progRef(program),
      attr: { name, type: program, expectedAttachType: 3, license, kernelVersion: 0x60102, flags: 8, ifindex: 0 },
      code: {
        ...codeOf(object, drawn, program),
        ...(hasInfo && core ? { coreRelocations: { recordSize: 16, records: bytesOf(16, 3) } } : {})
      },
      ...(btf === undefined ? {} : { btf: Ref.btf(0) }),
      ...(hasInfo ? { funcInfo: info, lineInfo: { recordSize: 16, records: bytesOf(16 * records, 5) } } : {}),
      ...targets[attachTo],
      log: { level: 0 }
    })
  })
  maps.forEach(({ kind, slots }, map) => {
    if (kind !== "programs") return
    for (const slot of new Set(slots)) {
      if (slot >= programs.length) continue
      calls.push({
        _tag: "MapUpdate",
        map: mapRef(map),
        key: keyOf(slot),
        value: { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to: progRef(slot) }] },
        flags: 0n
      })
    }
  })
  for (const map of closeLate) {
    if (map >= maps.length || closed.has(map)) continue
    closed.add(map)
    calls.push({ _tag: "Close", ref: mapRef(map) })
  }
  return calls
}

/** The call as a replay has it: what was found may not be missing, and externs are known to the object alone. */
export const asFound = (call: KernelCall): KernelCall =>
  call._tag !== "ProgLoad" ? call : {
    ...call,
    code: {
      ...call.code,
      refs: call.code.refs.map((ref): CodeRef =>
        ref._tag === "SymbolRef" ? { _tag: "SymbolRef", at: ref.at, symbol: { ...ref.symbol, weak: false } } : ref
      )
    }
  }
