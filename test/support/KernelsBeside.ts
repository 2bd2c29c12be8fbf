/**
 * The same object on the running kernel and on the simulated one: one plan, executed on both, and what each answers to the
 * same test runs. For law 8.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel, type KernelShape } from "../../src/services/Kernel/Kernel.ts"
import type { KernelSymbol, MapInfo, ProgTestRun } from "../../src/services/Kernel/KernelCall.ts"
import type { Fact } from "../../src/services/Kernel/KernelInfo.ts"
import type { CallError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelSimulated from "../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as RingBuffer from "../../src/events/RingBuffer.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import { calls } from "../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"

/** What of a known answer a test cannot do without. */
const value = <A>(fact: Fact<A> | undefined): A => {
  if (fact?._tag !== "Known") throw new Error("the running kernel did not say")
  return fact.value
}

/** The symbols that a plan names. */
const symbolsOf = (planned: Plan.PlannedObject): ReadonlyArray<KernelSymbol> =>
  calls(planned.plan).flatMap((call) =>
    call._tag === "ProgLoad" ? call.code.refs.flatMap((ref) => ref._tag === "SymbolRef" ? [ref.symbol] : []) : []
  )

/** The plan of an object for the running kernel. */
export const planFor = (live: KernelShape, object: BpfObject) =>
  Relocate.relocate.run(object).pipe(
    Effect.flatMap((relocated) => Plan.plan.run(relocated)),
    Effect.provideService(Kernel, live)
  )

/** A simulated kernel that is like the running one, as far as a plan depends on it. */
export const alike = Effect.fnUntraced(function*(
  live: KernelShape,
  planned: Plan.PlannedObject,
  more: KernelSimulated.SimulatedOptions = {}
) {
  const { release } = yield* live.info
  const addresses = symbolsOf(planned).filter(({ kind }) => kind === "Address").map(({ name }) => name)
  const facts = yield* live.ask([
    { _tag: "PageSize" },
    { _tag: "PossibleCpus" },
    { _tag: "VmlinuxTypes" },
    ...addresses.map((name) => ({ _tag: "Symbol", name } as const))
  ])
  const symbols = addresses.flatMap((name) => {
    const fact = facts.symbols?.get(name)
    return fact?._tag === "Known" && typeof fact.value === "bigint" ? [[name, fact.value] as const] : []
  })
  return yield* KernelSimulated.make({
    release,
    pageSize: value(facts.pageSize),
    possibleCpus: value(facts.possibleCpus),
    types: value(facts.vmlinuxTypes),
    symbols: Object.fromEntries(symbols),
    ...more
  })
})

/** The object loaded on both. */
export interface Beside {
  readonly live: Execute.LoadedObject
  readonly simulated: Execute.LoadedObject
  readonly kernels: { readonly live: KernelShape; readonly simulated: KernelShape }
}

/** The running kernel, which remembers what it was asked: its types above all. */
export const running: KernelShape = Effect.runSync(KernelLive.make)

/** Loads an object on both, by the plan for the running kernel. */
export const load = Effect.fnUntraced(function*(
  object: BpfObject,
  more: KernelSimulated.SimulatedOptions = {}
): Effect.fn.Return<Beside, Error, Scope.Scope> {
  const live = running
  const planned = yield* planFor(live, object)
  const { kernel: simulated } = yield* alike(live, planned, more)
  return {
    live: yield* Effect.provideService(Execute.toLoaded(planned), Kernel, live),
    simulated: yield* Effect.provideService(Execute.toLoaded(planned), Kernel, simulated),
    kernels: { live, simulated }
  }
})

/** What of a test run has to be equal: all but the time that it took, and the words of errors. */
export const runOf = (
  loaded: Execute.LoadedObject,
  name: string,
  run: Omit<ProgTestRun, "_tag" | "prog">
): Effect.Effect<unknown, CallError> =>
  Effect.suspend(() => {
    const prog = loaded.program(name)
    if (prog === undefined) throw new Error(`${name} is not loaded`)
    return loaded.session.call({ _tag: "ProgTestRun", prog, ...run })
  }).pipe(
    Effect.map(({ contextOut, dataOut, retval }): unknown => ({
      retval,
      dataOut: hex(dataOut),
      contextOut: hex(contextOut)
    })),
    Effect.catchTag("KernelError", ({ errno }) => Effect.succeed({ errno }))
  )

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

/** Values that are ids of programs or maps: only that there is one can be equal. */
const ofIds: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_PROG_ARRAY,
  MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS,
  MapType.BPF_MAP_TYPE_HASH_OF_MAPS
])

const perCpu: ReadonlySet<number> = new Set([
  MapType.BPF_MAP_TYPE_PERCPU_HASH,
  MapType.BPF_MAP_TYPE_PERCPU_ARRAY,
  MapType.BPF_MAP_TYPE_LRU_PERCPU_HASH
])

const queues: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_QUEUE, MapType.BPF_MAP_TYPE_STACK])

const valueSizeOf = (info: MapInfo, cpus: number): number =>
  perCpu.has(info.type) ? Math.ceil(info.valueSize / 8) * 8 * cpus : ofIds.has(info.type) ? 4 : info.valueSize

/** Everything in a map that can be read, by key; or why nothing can. */
const dumpMap = Effect.fnUntraced(function*(
  kernel: KernelShape,
  { session }: Execute.LoadedObject,
  map: Ref.MapRef,
  cpus: number
) {
  const info = yield* session.call({ _tag: "MapGetInfo", map })
  if (info.type === MapType.BPF_MAP_TYPE_RINGBUF && (info.flags & MapFlag.BPF_F_RB_OVERWRITE) === 0) {
    const records = yield* Effect.scoped(
      Effect.provideService(RingBuffer.open(session, map), Kernel, kernel).pipe(
        Effect.flatMap((ring) => Effect.fromResult(RingBuffer.drain(ring)))
      )
    )
    return records.map(hex)
  }
  const read = (key: Uint8Array) =>
    session.call({ _tag: "MapLookup", map, key, valueSize: valueSizeOf(info, cpus), flags: 0n }).pipe(
      Effect.map((value) => value === undefined ? "none" : ofIds.has(info.type) ? "one" : hex(value)),
      Effect.catchTag("KernelError", ({ errno }) => Effect.succeed(errno))
    )
  if (queues.has(info.type)) return [yield* read(new Uint8Array(0))]
  const elements: Array<string> = []
  let key: Uint8Array | undefined
  for (;;) {
    const next = yield* Effect.result(
      session.call({ _tag: "MapNextKey", map, keySize: info.keySize, ...(key === undefined ? {} : { key }) })
    )
    if (Result.isFailure(next)) {
      // Maps of a kind that the simulated kernel only creates cannot be compared.
      if (next.failure._tag === "UnsupportedCall") return undefined
      return [next.failure._tag === "KernelError" ? next.failure.errno : next.failure.message]
    }
    if (next.success === undefined) return elements.sort()
    key = next.success
    elements.push(`${hex(key)}: ${yield* read(key)}`)
  }
})

/** Everything in the maps of an object that can be read, by name. Ring buffers are emptied by it. */
export const dump = Effect.fnUntraced(function*(kernel: KernelShape, loaded: Execute.LoadedObject) {
  const cpus = value((yield* kernel.ask([{ _tag: "PossibleCpus" }])).possibleCpus)
  const maps: Record<string, ReadonlyArray<string> | undefined> = {}
  for (const [position, { name }] of loaded.object.maps.entries()) {
    const map = Ref.map(position)
    if (loaded.session.exists(map)) maps[name] = yield* dumpMap(kernel, loaded, map, cpus)
  }
  return maps
})
