/**
 * Loads one object with our stages on the live kernel, and tells what was sent and what the kernel made of it: the
 * counterpart of what the C peer prints of libbpf, as plain data.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import type { Feature } from "../../src/services/Kernel/Feature.ts"
import { Kernel, type Session } from "../../src/services/Kernel/Kernel.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { lacking } from "./Lacking.ts"
import { type MapInfo, type ProgramInfo, toHex } from "./Peer.ts"
import * as SentCalls from "./SentCalls.ts"

/** How far a load came. */
export type StageName = "open" | "relocate" | "plan" | "execute" | "loaded"

/** A load of ours. */
export interface OurLoad {
  /** The stage that failed, or `loaded`. */
  readonly stage: StageName
  /** The error, where a stage failed. */
  readonly error?: {
    readonly tag: string
    readonly reason: string
    readonly message: string
    /** The call that the kernel refused. */
    readonly call?: string
    /** The map, program or extern that the error names. */
    readonly subject?: string
  }
  readonly sent: ReadonlyArray<SentCalls.Sent>
  readonly programs: ReadonlyArray<{ readonly name: string; readonly kernel: ProgramInfo }>
  readonly maps: ReadonlyArray<{ readonly name: string; readonly kernel: MapInfo }>
}

type Failure = NonNullable<OurLoad["error"]>

const failureOf = (error: unknown): Failure => {
  if (!(error instanceof Error)) return { tag: "unknown", reason: "", message: String(error) }
  // What the kernel answered, where it was asked: why it did may stand beside.
  const reason = "errno" in error ? String(error.errno) : "reason" in error ? String(error.reason) : ""
  const text = (field: string): string | undefined => {
    const value: unknown = Object.entries(error).find(([name]) => name === field)?.[1]
    return typeof value === "string" ? value : undefined
  }
  // `name` of a plan's error is what it names.
  const tag = text("_tag") ?? error.name
  const call = tag === "VerifierError" ? "ProgLoad" : text("call")
  const subject = text("subject") ?? text("program") ?? text("map") ?? text("name")
  return {
    tag,
    reason,
    message: error.message,
    ...(call === undefined ? {} : { call }),
    ...(subject === undefined ? {} : { subject })
  }
}

const mapInfo = Effect.fnUntraced(function*(session: Session, position: number) {
  const info = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(position), file: true })
  const kernel: MapInfo = {
    name: info.name,
    type: info.type,
    key_size: info.keySize,
    value_size: info.valueSize,
    max_entries: info.maxEntries,
    map_flags: info.flags,
    map_extra: String(info.extra),
    ifindex: info.ifindex,
    has_btf: info.btfId !== 0,
    btf_key_type_id: info.btfKeyTypeId,
    btf_value_type_id: info.btfValueTypeId,
    btf_vmlinux_value_type_id: info.vmlinuxValueTypeId ?? 0,
    frozen: info.file?.frozen === true,
    owner_prog_type: info.file?.ownerProgType ?? -1
  }
  return { id: info.id, kernel }
})

const programInfo = Effect.fnUntraced(function*(
  session: Session,
  position: number,
  mapNames: ReadonlyMap<number, string>
) {
  const info = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(position) })
  const count = ({ recordSize, records }: { readonly recordSize: number; readonly records: Uint8Array }): number =>
    recordSize === 0 ? 0 : records.length / recordSize
  const kernel: ProgramInfo = {
    name: info.name,
    type: info.type,
    tag: info.tag,
    gpl_compatible: info.gplCompatible,
    xlated_prog_len: info.xlatedLength,
    maps: info.mapIds.map((id) => mapNames.get(id) ?? null),
    has_btf: info.btfId !== 0,
    attach_btf_id: info.attachBtfId,
    ifindex: info.ifindex,
    verified_insns: info.verifiedInstructions,
    nr_func_info: count(info.funcInfo),
    func_info: toHex(info.funcInfo.records),
    nr_line_info: count(info.lineInfo),
    line_info: toHex(info.lineInfo.records)
  }
  return kernel
})

const infosOf = Effect.fnUntraced(function*({ object, session }: Execute.LoadedObject) {
  const mapNames = new Map<number, string>()
  const maps: Array<OurLoad["maps"][number]> = []
  for (const [position, { name }] of object.maps.entries()) {
    if (!session.exists(Ref.map(position))) continue
    const { id, kernel } = yield* mapInfo(session, position)
    mapNames.set(id, kernel.name)
    maps.push({ name, kernel })
  }
  const programs: Array<OurLoad["programs"][number]> = []
  for (const [position, { name }] of object.programs.entries()) {
    if (!session.exists(Ref.prog(position))) continue
    programs.push({ name, kernel: yield* programInfo(session, position, mapNames) })
  }
  return { maps, programs }
})

/** Options of opening, with the path that names the object. */
export interface LoadOptions extends Open.OpenOptions {
  readonly path: string
  /** The only program to load. */
  readonly only?: string
  /** Load programs concurrently, as sessions do by themselves, instead of in listed order. */
  readonly concurrent?: boolean
  /** Features that the kernel is said to lack. */
  readonly without?: ReadonlyArray<Feature>
}

/** Loads an object, and unloads it again. */
export const loadOurs = (bytes: Uint8Array, options: LoadOptions): Promise<OurLoad> => {
  const { kernel, sent } = SentCalls.make({ listedOrder: options.concurrent !== true })
  const failed = (stage: StageName) => (error: unknown): OurLoad => ({
    stage,
    error: failureOf(error),
    sent: [...sent],
    programs: [],
    maps: []
  })
  const load = Effect.gen(function*() {
    const { concurrent: _, only, without: __, ...openOptions } = options
    const opened = yield* Effect.mapError(Effect.fromResult(Open.fromBytes(bytes, openOptions)), failed("open"))
    const object = only === undefined
      ? opened
      : yield* Effect.mapError(Effect.fromResult(Edit.loadOnly(opened, [only])), failed("open"))
    const relocated = yield* Effect.mapError(Relocate.relocate.run(object), failed("relocate"))
    const planned = yield* Effect.mapError(Plan.plan.run(relocated), failed("plan"))
    const loaded = yield* Effect.mapError(Execute.toLoaded(planned), failed("execute"))
    // The calls of the load alone: asking for infos makes some, too.
    const calls = [...sent]
    const infos = yield* Effect.mapError(infosOf(loaded), failed("loaded"))
    return { stage: "loaded", sent: calls, ...infos } as const
  })
  return Effect.runPromise(
    Effect.scoped(load).pipe(
      Effect.catch((failure) => Effect.succeed<OurLoad>(failure)),
      Effect.provideService(Kernel, lacking(kernel, options.without ?? []))
    )
  )
}

/** How many descriptors of BPF objects this process has open. */
export const openDescriptors = (): number =>
  Fs.readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return /^anon_inode:(bpf|btf)/.test(Fs.readlinkSync(`/proc/self/fd/${fd}`))
    } catch {
      // The descriptor that listed the folder is gone.
      return false
    }
  }).length
