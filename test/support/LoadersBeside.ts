/**
 * What a loader program makes beside what a direct load makes, on the running kernel: every map and program of a fixture,
 * what the kernel says of them, what is in the maps, and the instructions as the verifier left them.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Insn from "../../src/insn/Insn.ts"
import { BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE } from "../../src/insn/InsnConstants.ts"
import { perCpu } from "../../src/services/Kernel/abi/ElementSize.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel, type KernelShape, type Session } from "../../src/services/Kernel/Kernel.ts"
import type { MapInfo } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { runLoader, type RunOptions } from "../../src/stages/gen/RunLoader.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { loadable } from "./LiveFaults.ts"
import { bpffs, isOlder } from "./Require.ts"

/** What became of one fixture. */
export type Beside =
  /** The kernel refuses the object, or it is no whole one. */
  | { readonly _tag: "NotLoaded"; readonly why: string }
  /** No loader can be made of it. */
  | { readonly _tag: "NotRecorded"; readonly why: string }
  /** Both were loaded. Programs and maps that the kernel refuses were left out of both. */
  | {
    readonly _tag: "Loaded"
    readonly without: ReadonlyArray<string>
    readonly maps: number
    readonly programs: number
    readonly differences: ReadonlyArray<string>
  }

const textOf = (error: unknown): string => {
  const text = error instanceof Error ? error.message : JSON.stringify(error)
  return text.split("\n")[0] ?? text
}

/** The loader of an object, planned for a kernel that nothing is known of, or for that of a profile. */
export const recordObject = Effect.fnUntraced(function*(
  object: BpfObject,
  options: KernelRecording.RecordingOptions = {}
) {
  const { kernel } = yield* KernelRecording.makeWith(options)
  const planned = yield* Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated)).pipe(
    Effect.provideService(Kernel, kernel)
  )
  return yield* KernelRecording.record(planned, options)
})

/** What one side has loaded. */
interface Side {
  readonly session: Session
  readonly map: (index: number) => Ref.MapRef | undefined
  readonly program: (index: number) => Ref.ProgRef | undefined
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null

/** Maps whose elements are identifiers of what they hold. */
const holding: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  MapType.BPF_MAP_TYPE_HASH_OF_MAPS,
  MapType.BPF_MAP_TYPE_PROG_ARRAY
])

/** The elements of a map as far as it tells them, those that are identifiers by the names of what they are. */
const contents = Effect.fnUntraced(function*(
  session: Session,
  map: Ref.MapRef,
  info: MapInfo,
  nameOf: (id: number) => string,
  cpus: number
) {
  const found: Array<string> = []
  if (info.keySize === 0) return found
  const valueSize = holding.has(info.type) ? 4 : perCpu.has(info.type) ?
    Math.ceil(info.valueSize / 8) * 8 * cpus
    : info.valueSize
  let key: Uint8Array | undefined
  for (let count = 0; count < 4096; count++) {
    const next: Uint8Array | undefined = yield* Effect.orElseSucceed(
      session.call({ _tag: "MapNextKey", map, keySize: info.keySize, ...(key === undefined ? {} : { key }) }),
      () => undefined
    )
    if (next === undefined) break
    key = next
    const value = yield* Effect.result(session.call({ _tag: "MapLookup", map, key, valueSize, flags: 0n }))
    const text = Result.isFailure(value)
      ? textOf(value.failure).replace(/^.*answers /, "")
      : value.success === undefined
      ? "none"
      : holding.has(info.type)
      ? nameOf(new DataView(value.success.buffer, value.success.byteOffset).getUint32(0, true))
      : hex(value.success)
    found.push(`${hex(key)}: ${text}`)
  }
  // Hashes list their elements in an order of their own.
  return found.sort()
})

/** Whether user space may no longer write to a map: it is told by a write that changes nothing. */
const isFrozen = Effect.fnUntraced(function*(session: Session, map: Ref.MapRef) {
  const info = yield* session.call({ _tag: "MapGetInfo", map, file: true })
  return info.file?.frozen ?? false
})

/** The kernel's view of everything that a side has loaded, with names in the place of identifiers. */
const seen = Effect.fnUntraced(function*(object: BpfObject, { map, program, session }: Side, cpus: number) {
  const names = new Map<number, string>()
  const programNames = new Map<number, string>()
  const infos = new Map<number, MapInfo>()
  for (const [index, { name }] of object.maps.entries()) {
    const ref = map(index)
    if (ref === undefined) continue
    const info = yield* session.call({ _tag: "MapGetInfo", map: ref })
    infos.set(index, info)
    names.set(info.id, name)
  }
  const namesIn = (type: number): ReadonlyMap<number, string> =>
    type === MapType.BPF_MAP_TYPE_PROG_ARRAY ? programNames : names
  const bound = new Set(object.maps.filter(({ origin }) => origin === "Rodata").map(({ name }) => name))
  const of = new Map<string, string>()
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, part: unknown) => {
      if (typeof part === "bigint") return part.toString()
      return part instanceof Uint8Array ? hex(part) : part
    })
  const put = (where: string, fields: object): void => {
    for (const [field, value] of Object.entries(fields)) of.set(`${where} ${field}`, text(value))
  }
  let programs = 0
  for (const [index, { name }] of object.programs.entries()) {
    const ref = program(index)
    if (ref === undefined) continue
    programs++
    const info = yield* session.call({ _tag: "ProgGetInfo", prog: ref, instructions: true })
    programNames.set(info.id, name)
    const {
      btfId,
      id: _,
      instructions = new Uint8Array(),
      jitedLength: __,
      jitedSymbols: ___,
      loadTime: ____,
      ...same
    } = info
    // Which map an instruction means is told by its identifier.
    const insns = new Uint8Array(instructions)
    const maps: Array<string> = []
    const inCode = new Set<string>()
    for (let at = 0; at < Insn.count(insns); at = Insn.nextSlot(insns, at)) {
      const source = Insn.src(insns, at)
      if (!Insn.isLdImm64(insns, at) || (source !== BPF_PSEUDO_MAP_FD && source !== BPF_PSEUDO_MAP_VALUE)) continue
      const map = names.get(Insn.imm(insns, at)) ?? "?"
      inCode.add(map)
      maps.push(`${at}: ${map}`)
      Insn.setImm(insns, at, 0)
    }
    put(`program ${name}`, {
      ...same,
      // The kernel forgets a map's descriptor when it digests a program, but not its number in fd_array.
      tag: same.mapIds.length === 0 ? same.tag : "",
      // Constants that the instructions do not mention are bound to a program by the process alone.
      mapIds: same.mapIds.map((id) => names.get(id) ?? "?").filter((map) => !bound.has(map) || inCode.has(map)).sort(),
      hasBtf: btfId !== 0,
      maps,
      xlated: insns
    })
  }
  for (const [index, info] of infos) {
    const ref = map(index)
    if (ref === undefined) continue
    const { btfId, id: _, ...same } = info
    put(`map ${object.maps[index]?.name ?? index}`, {
      ...same,
      hasBtf: btfId !== 0,
      frozen: yield* isFrozen(session, ref),
      contents: yield* contents(session, ref, info, (id) => namesIn(info.type).get(id) ?? "?", cpus)
    })
  }
  return { of, maps: infos.size, programs }
})

/** The upper half of an address in the kernel. */
const isInKernel = (upper: number): boolean => upper >>> 16 === 0xffff

/** Instructions without the addresses of the kernel that they load. */
const withoutAddresses = (insns: Uint8Array): Uint8Array => {
  for (let at = 0; at < Insn.count(insns); at = Insn.nextSlot(insns, at)) {
    if (!Insn.isLdImm64(insns, at) || Insn.src(insns, at) !== 0 || !isInKernel(Insn.imm(insns, at + 1))) continue
    Insn.setImm(insns, at, 0)
    Insn.setImm(insns, at + 1, 0)
  }
  return insns
}

/** A difference that is meant to be, because the kernel lets loaders do less than processes. */
interface Deliberate {
  readonly fixtures: ReadonlyArray<string>
  readonly reason: string
  /** Only on releases of Linux before this one. */
  readonly before?: string
  readonly explains: (difference: string) => boolean
}

const deliberate: ReadonlyArray<Deliberate> = [
  {
    fixtures: ["core_matches.bpf.o"],
    reason: "the kernel itself compares types not as deep as bpf_core_type_matches() of a load does",
    explains: (difference) => /EINVAL.*CO-RE relocating[^]*error matching candidate/.test(difference)
  },
  {
    fixtures: ["prog_streams.bpf.o"],
    reason: "the verifier puts the program's own address into calls of bpf_stream_vprintk_impl()",
    explains: (difference) => {
      const found = /^program \w+ xlated: "([0-9a-f]+)" instead of "([0-9a-f]+)"$/.exec(difference)
      if (found === null) return false
      const [ours, theirs] = [found[1] ?? "", found[2] ?? ""].map((text) => new Uint8Array(Buffer.from(text, "hex")))
      return ours !== undefined && theirs !== undefined && hex(withoutAddresses(ours)) === hex(withoutAddresses(theirs))
    }
  },
  // A loader that asks the kernel on which it runs cannot change BTF or programs for an older one; one that is baked can.
  {
    fixtures: ["struct_ops_link.bpf.o", "struct_ops_shapes.bpf.o"],
    reason: "the kernel takes no section's name that begins with a question mark",
    before: "6.12",
    explains: (difference) => /EINVAL[^]*DATASEC \?\.struct_ops\S* size=\d+ vlen=\d+ Invalid name/.test(difference)
  },
  {
    fixtures: ["old_kernels.bpf.o"],
    reason:
      "the kernel verifies global functions by the types of their arguments, which a load of this object rewrites",
    before: "6.12",
    explains: (difference) =>
      /EINVAL[^]*arg#0 reference type\('UNKNOWN '\) size cannot be determined: -22/.test(difference)
  }
]

/** Why a fixture's difference is meant to be, where it is. */
export const reasonOf = (fixture: string, difference: string): string | undefined =>
  deliberate.find(({ before, explains, fixtures }) =>
    fixtures.includes(fixture) && (before === undefined || isOlder(Os.release(), before)) && explains(difference)
  )?.reason

const differencesOf = (ours: ReadonlyMap<string, string>, direct: ReadonlyMap<string, string>): ReadonlyArray<string> =>
  [...new Set([...ours.keys(), ...direct.keys()])].flatMap((key) =>
    ours.get(key) === direct.get(key)
      ? []
      : [`${key}: ${(ours.get(key) ?? "none").slice(0, 6000)} instead of ${(direct.get(key) ?? "none").slice(0, 6000)}`]
  )

/** Loads a fixture both ways and compares. `record` makes the loader of the object; `options` are for its run. */
export const beside = Effect.fnUntraced(function*(
  name: string,
  live: KernelShape,
  more: {
    readonly record?: (object: BpfObject) => Effect.Effect<LoaderProgram, unknown>
    readonly options?: RunOptions
  } = {}
): Effect.fn.Return<Beside, unknown> {
  const found = yield* Effect.result(loadable(name, live, Path.join(bpffs(), "loaders")))
  if (Result.isFailure(found)) return { _tag: "NotLoaded", why: textOf(found.failure) }
  const { planned, without } = found.success
  const { object } = planned
  const recorded = yield* Effect.result((more.record ?? recordObject)(object))
  if (Result.isFailure(recorded)) return { _tag: "NotRecorded", why: textOf(recorded.failure) }
  const loader = recorded.success
  const { possibleCpus } = yield* live.ask([{ _tag: "PossibleCpus" }])
  const cpus = possibleCpus?._tag === "Known" ? possibleCpus.value : 1
  return yield* Effect.scoped(Effect.gen(function*() {
    const direct = yield* Execute.toLoaded(planned).pipe(Effect.provideService(Kernel, live))
    const run = yield* Effect.result(runLoader(loader, more.options).pipe(Effect.provideService(Kernel, live)))
    if (Result.isFailure(run)) {
      const log = isRecord(run.failure) && typeof run.failure["log"] === "string" ? run.failure["log"].slice(-1500) : ""
      const differences = [`the loader fails: ${textOf(run.failure)}\n${log}`]
      return { _tag: "Loaded", without, maps: 0, programs: 0, differences } as const
    }
    const existing = <R extends Ref.MapRef | Ref.ProgRef>(session: Session, ref: R) =>
      session.exists(ref) ? ref : undefined
    const side = (session: Session): Side => ({
      session,
      map: (index) => existing(session, Ref.map(index)),
      program: (index) => existing(session, Ref.prog(index))
    })
    const ours = yield* seen(object, side(run.success.session), cpus)
    const theirs = yield* seen(object, side(direct.session), cpus)
    return {
      _tag: "Loaded",
      without,
      maps: ours.maps,
      programs: ours.programs,
      differences: differencesOf(ours.of, theirs.of)
    } as const
  }))
})

/** What became of many fixtures, in words. */
export const summary = (outcomes: ReadonlyMap<string, Beside>): string => {
  const all = [...outcomes]
  const run = all.flatMap(([name, each]) => each._tag === "Loaded" ? [{ name, ...each }] : [])
  const loaded = run.filter(({ differences }) => differences.length === 0)
  const lines = [
    `${loaded.length} of ${all.length} fixtures loaded by their loaders: ` +
    `${loaded.reduce((sum, { maps }) => sum + maps, 0)} maps and ` +
    `${loaded.reduce((sum, { programs }) => sum + programs, 0)} programs as a direct load makes them`,
    ...loaded.flatMap(({ name, without }) => without.length === 0 ? [] : [`  ${name} without ${without.join(", ")}`]),
    ...run.flatMap(({ differences, name }) =>
      differences.map((difference) => `  ${name}: ${reasonOf(name, difference) ?? "differs"}`)
    ),
    ...all.flatMap(([name, each]) => each._tag === "NotLoaded" ? [`  ${name}: not loaded directly: ${each.why}`] : []),
    ...all.flatMap(([name, each]) => each._tag === "NotRecorded" ? [`  ${name}: not recorded: ${each.why}`] : [])
  ]
  return lines.join("\n")
}
