/**
 * What a loader program would load, found out by replaying it on a kernel that takes everything: loaders of ours, and any
 * other whose two pieces are at hand (`ForeignLoader`).
 */
import * as Effect from "effect/Effect"
import type { BtfLoad, KernelCall, MapCreate, MapUpdate, ProgLoad } from "../../services/Kernel/KernelCall.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Layout from "./LoaderLayout.ts"
import type { LoaderProgram } from "./LoaderProgram.ts"
import * as Replay from "./Replay.ts"
import * as ReplayInputs from "./replay/ReplayInputs.ts"

/** A map that a loader creates. */
export interface ExplainedMap {
  readonly create: MapCreate
  /** What it is filled with, in order. */
  readonly values: ReadonlyArray<MapUpdate>
  readonly frozen: boolean
  /** Whether the loader hands it out; one that only gave its shape to others is closed instead. */
  readonly published: boolean
}

/** A program that a loader loads. */
export interface ExplainedProgram {
  readonly load: ProgLoad
  readonly published: boolean
}

/** A part of the context that a loader reads, by what runners put there. */
export interface ExplainedInput {
  /** Bytes from the context's start. */
  readonly offset: number
  readonly size: number
  readonly what: string
}

/** What a loader would load. */
export interface Explained {
  readonly replayed: Replay.Replayed
  readonly btf: ReadonlyArray<BtfLoad>
  readonly maps: ReadonlyArray<ExplainedMap>
  readonly programs: ReadonlyArray<ExplainedProgram>
  /** Symbols of the kernel that it looks up, each once. */
  readonly symbols: ReadonlyArray<Replay.Lookup>
  /** What it reads of its context. */
  readonly inputs: ReadonlyArray<ExplainedInput>
}

const header: ReadonlyArray<readonly [offset: number, size: number, what: string]> = [
  [Layout.Context.SIZE, 4, "the size of the context"],
  [Layout.Context.FLAGS, 4, "flags: whether initial values are in kernel memory"],
  [Layout.Context.LOG_LEVEL, 4, "how much the verifier shall say"],
  [Layout.Context.LOG_SIZE, 4, "how much room the verifier's words have"],
  [Layout.Context.LOG_BUF, 8, "where the verifier's words go"]
]

/** The parts of a loader's context that a runner may fill. */
const parts = (loader: LoaderProgram): ReadonlyArray<ExplainedInput> => {
  const behind = Layout.contextProgram(loader.maps.length, loader.programs.length)
  return [
    ...header.map(([offset, size, what]) => ({ offset, size, what })),
    ...loader.maps.flatMap(({ contextOffset, name }) => [
      { offset: contextOffset + Layout.MapDescriptor.MAX_ENTRIES, size: 4, what: `max_entries of ${name}` },
      { offset: contextOffset + Layout.MapDescriptor.INITIAL_VALUE, size: 8, what: `the initial value of ${name}` }
    ]),
    ...(behind < loader.contextSize
      ? [{ offset: behind, size: loader.contextSize - behind, what: "what it must be told of the machine" }]
      : [])
  ]
}

const isRead = (inputs: ReadonlySet<number>, { offset, size }: ExplainedInput): boolean => {
  for (let at = offset; at < offset + size; at++) if (inputs.has(at)) return true
  return false
}

const mapsOf = (calls: ReadonlyArray<KernelCall>, published: ReadonlySet<string>): ReadonlyArray<ExplainedMap> => {
  const values = new Map<number, Array<MapUpdate>>()
  const frozen = new Set<number>()
  for (const call of calls) {
    if (call._tag === "MapFreeze") frozen.add(call.map.index)
    if (call._tag !== "MapUpdate") continue
    const all = values.get(call.map.index) ?? []
    all.push(call)
    values.set(call.map.index, all)
  }
  return calls.flatMap((call) =>
    call._tag === "MapCreate"
      ? [{
        create: call,
        values: values.get(call.as.index) ?? [],
        frozen: frozen.has(call.as.index),
        published: published.has(Ref.key(call.as))
      }]
      : []
  )
}

/** Puts what a loader has done in order. */
export const of = (loader: LoaderProgram, replayed: Replay.Replayed): Explained => {
  const { calls, inputs, lookedUp } = replayed
  const published = new Set([...replayed.maps, ...replayed.programs].flatMap((ref) => ref ? [Ref.key(ref)] : []))
  return {
    replayed,
    btf: calls.flatMap((call) => call._tag === "BtfLoad" ? [call] : []),
    maps: mapsOf(calls, published),
    programs: calls.flatMap((call) =>
      call._tag === "ProgLoad" ? [{ load: call, published: published.has(Ref.key(call.as)) }] : []
    ),
    symbols: [
      ...new Map(lookedUp.map(({ kind, name }): [string, Replay.Lookup] => [`${kind} ${name}`, { kind, name }]))
        .values()
    ],
    inputs: parts(loader).filter((part) => isRead(inputs, part))
  }
}

/**
 * What a loader would load. Nothing is loaded: every call succeeds, and every symbol is there, unless the options say
 * otherwise. What a loader must be told of its machine is filled with stand-ins.
 */
export const explain = (
  loader: LoaderProgram,
  options: Replay.ReplayOptions = {}
): Effect.Effect<Explained, Replay.ReplayError> =>
  Effect.map(
    Replay.replayWith(loader, () => Effect.void, { ...ReplayInputs.standIns(loader), ...options }),
    (replayed) => of(loader, replayed)
  )
