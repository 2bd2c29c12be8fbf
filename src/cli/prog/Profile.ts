/**
 * `prog profile`: what a program costs the processor, counted while it runs. Two programs are attached to its beginning and its end
 * (fentry and fexit), which read perf events.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { AttachType, MapType, ProgType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../../services/Kernel/Kernel.ts"
import type { Code, MapAttributes, ProgFunction } from "../../services/Kernel/KernelCall.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import type { MapRef, ProgRef } from "../../services/Kernel/Ref.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import type { UsageError } from "../Usage.ts"
import * as ProfileCode from "./ProfileCode.ts"
import { seconds } from "./Stats.ts"

/** The program cannot be measured, or this not be counted. */
export class ProfileError extends Schema.TaggedError<ProfileError>()("ProfileError", {
  /** The program, or what was to be counted. */
  subject: Schema.String,
  detail: Schema.String,
  hint: Schema.String
}) {
  override get message(): string {
    return `${this.subject}: ${this.detail}\nhint: ${this.hint}`
  }
}

/** Something that is counted. */
export interface Metric {
  readonly name: string
  /** `PERF_TYPE_*` */
  readonly type: number
  readonly config: bigint
  /** What it is told in proportion to, where that is counted, too: so many per so many of the other. */
  readonly ratio?: { readonly of: string; readonly times: number; readonly noun: string }
}

const PERF_TYPE_HARDWARE = 0
const PERF_TYPE_SOFTWARE = 1
const PERF_TYPE_HW_CACHE = 3

/** Reads of a cache: those that were made, or those that missed it. */
const cache = (which: number, missed: boolean): bigint => BigInt(which | (missed ? 1 << 16 : 0))

const perMillion = { of: "instructions", times: 1e6, noun: "per million instructions" }

const software = (names: ReadonlyArray<string>): ReadonlyArray<Metric> =>
  names.map((name, config) => ({ name, type: PERF_TYPE_SOFTWARE, config: BigInt(config) }))

/**
 * What can be counted: what bpftool has, of the processor; and what the kernel counts by itself, which every machine has, in the
 * order of its numbers.
 */
export const metrics: ReadonlyArray<Metric> = [
  { name: "cycles", type: PERF_TYPE_HARDWARE, config: 0n },
  {
    name: "instructions",
    type: PERF_TYPE_HARDWARE,
    config: 1n,
    ratio: { of: "cycles", times: 1, noun: "per cycle" }
  },
  { name: "l1d_loads", type: PERF_TYPE_HW_CACHE, config: cache(0, false) },
  { name: "llc_misses", type: PERF_TYPE_HW_CACHE, config: cache(2, true), ratio: perMillion },
  { name: "itlb_misses", type: PERF_TYPE_HW_CACHE, config: cache(4, true), ratio: perMillion },
  { name: "dtlb_misses", type: PERF_TYPE_HW_CACHE, config: cache(3, true), ratio: perMillion },
  ...software([
    "cpu_clock",
    "task_clock",
    "page_faults",
    "context_switches",
    "cpu_migrations",
    "minor_faults",
    "major_faults",
    "alignment_faults",
    "emulation_faults"
  ])
]

/** What is measured of which program, and for how long. */
export interface Wanted {
  readonly reference: Words.Reference
  /** Seconds; `undefined` until it is interrupted. */
  readonly duration: number | undefined
  readonly metrics: ReadonlyArray<Metric>
}

/** Reads the words of `prog profile`. */
export const profileOf = (words: Words.Words): Result.Result<Wanted, UsageError> =>
  Result.gen(function*() {
    const [reference, given] = yield* Words.reference("prog", words)
    let names: Words.Words = given
    let duration: number | undefined
    if (names[0] === "duration") {
      const [value, left] = yield* seconds("duration", names.slice(1))
      duration = value
      names = left
    }
    const all = metrics.map(({ name }) => name)
    const wanted: Array<Metric> = []
    for (const name of names) {
      // perf has hyphens where bpftool has underscores.
      const metric = metrics.find((each) => each.name === name.replaceAll("-", "_"))
      if (metric === undefined) {
        return yield* Words.wrong(name, "nothing of this name is counted", `there are ${all.join(", ")}`)
      }
      if (wanted.includes(metric)) return yield* Words.wrong(name, "it is given twice")
      wanted.push(metric)
    }
    if (wanted.length === 0) {
      return yield* Words.wrong("metric", "what is to be counted is expected", `one or several of ${all.join(", ")}`)
    }
    return { reference, duration, metrics: wanted }
  })

/** What was counted. */
export interface Profile {
  /** How often the program ran. */
  readonly runs: bigint
  readonly readings: ReadonlyArray<
    & { readonly metric: Metric }
    & ProfileCode.Counted["readings"][number]
  >
}

const attributes = (name: string, type: number, valueSize: number, maxEntries: number): MapAttributes => ({
  name,
  type,
  keySize: 4,
  valueSize,
  maxEntries,
  flags: 0,
  numaNode: 0,
  ifindex: 0,
  extra: 0n
})

const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer)

const errnoOf = (error: object): unknown => Reflect.get(error, "errno")

/** Opens the counter of a metric on each CPU that runs, and puts it into its map. */
const openEvents = Effect.fnUntraced(function*(
  session: Session,
  metric: Metric,
  events: MapRef,
  cpus: ReadonlyArray<number>
) {
  for (const cpu of cpus) {
    const as = session.fresh("Event")
    const open = session.call({
      _tag: "PerfEventOpen",
      as,
      source: {
        _tag: "Counter",
        type: metric.type,
        config: metric.config,
        // It counts, and never fires.
        sample: { _tag: "Period", value: 0n }
      },
      pid: -1,
      cpu
    })
    yield* Effect.mapError(open, (error) => {
      const errno = errnoOf(error)
      return errno === "ENOENT" || errno === "EOPNOTSUPP" || errno === "ENODEV" || errno === "ENXIO"
        ? new ProfileError({
          subject: metric.name,
          detail: `CPU ${cpu} does not count this (${errno})`,
          hint: metric.type === PERF_TYPE_SOFTWARE
            ? "this kernel counts other things: see those of prog profile --help"
            : "virtual machines often have no counters of the processor; task_clock, page_faults and other things that the " +
              "kernel counts by itself are there everywhere"
        })
        : error
    })
    yield* session.call({
      _tag: "MapUpdate",
      map: events,
      key: u32(cpu),
      value: { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to: as }] },
      flags: 0n
    })
    // The map holds it as long as it is open itself: there may be more of them than descriptors.
    yield* session.call({ _tag: "Close", ref: as })
  }
})

/** A kernel that lets nobody load programs that watch others says the same as to one without rights. */
const notWatched = (name: string) => (error: CallError): CallError | ProfileError => {
  switch (errnoOf(error)) {
    case "EPERM":
      return new ProfileError({
        subject: name,
        detail: "the kernel refuses programs that watch it (fentry and fexit: EPERM)",
        hint:
          "they need root, or CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN; some kernels take them from nobody, which a load of an " +
          "object with SEC(\"fentry/…\") shows as well; prog stats measures time without them"
      })
    case "ENOTSUPP":
    case "EOPNOTSUPP":
      return new ProfileError({
        subject: name,
        detail: "this kernel has no trampolines for functions of programs",
        hint: "Linux 5.5 was the first on x86-64; other processors came later. prog stats measures time without them"
      })
    case "EBUSY":
      return new ProfileError({
        subject: name,
        detail: "something is in the way: the program is replaced by another one (freplace), or too many watch it",
        hint: "effect-bpf link show lists who is attached to it"
      })
    default:
      return error
  }
}

/** Loads a program for a function of another. */
const load = Effect.fnUntraced(function*(
  session: Session,
  name: string,
  attachType: number,
  code: Code,
  target: ProgFunction
) {
  const prog = session.fresh("Prog")
  yield* session.call({
    _tag: "ProgLoad",
    as: prog,
    attr: {
      name,
      type: ProgType.BPF_PROG_TYPE_TRACING,
      expectedAttachType: attachType,
      license: "GPL",
      kernelVersion: 0,
      flags: 0,
      ifindex: 0
    },
    code,
    attachTo: target,
    log: { level: 0 }
  })
  return prog
})

/** Attaches a program to the function that it was loaded for. */
const attach = (session: Session, prog: ProgRef, attachType: number): Effect.Effect<void, CallError> => {
  const link = session.fresh("Link")
  const create = session.call({
    _tag: "LinkCreate",
    as: link,
    of: prog,
    target: { _tag: "None" },
    attachType,
    flags: 0
  })
  // Kernels before 5.13 make no links of functions.
  return Effect.catch(create, (error) =>
    errnoOf(error) === "EINVAL"
      ? session.call({ _tag: "RawTracepointOpen", as: link, prog, cookie: 0n })
      : Effect.fail(error))
}

/** The maps of a profile, with the counters open. */
export const maps = Effect.fnUntraced(function*(session: Session, wanted: ReadonlyArray<Metric>) {
  const { online, possible } = yield* session.call({ _tag: "CpusGet" })
  const readings = session.fresh("Map")
  const valueSize = ProfileCode.valueSize(wanted.length)
  yield* session.call({
    _tag: "MapCreate",
    as: readings,
    attr: attributes("profile_values", MapType.BPF_MAP_TYPE_PERCPU_ARRAY, valueSize, 1)
  })
  const events: Array<MapRef> = []
  for (const metric of wanted) {
    const map = session.fresh("Map")
    const entries = Math.max(0, ...possible) + 1
    yield* session.call({
      _tag: "MapCreate",
      as: map,
      attr: attributes("profile_events", MapType.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, entries)
    })
    yield* openEvents(session, metric, map, online)
    events.push(map)
  }
  return { readings, events, cpus: possible.length }
})

/** What has been counted by now, on all CPUs. */
export const counted = Effect.fnUntraced(function*(
  session: Session,
  wanted: ReadonlyArray<Metric>,
  { cpus, readings }: { readonly cpus: number; readonly readings: MapRef }
) {
  const size = ProfileCode.valueSize(wanted.length)
  const bytes = yield* session.call({
    _tag: "MapLookup",
    map: readings,
    key: u32(0),
    valueSize: size * cpus,
    flags: 0n
  })
  const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1
  const each = Array.from({ length: cpus }, (_, cpu) =>
    ProfileCode.counted(
      (bytes ?? new Uint8Array(size * cpus)).subarray(cpu * size, (cpu + 1) * size),
      wanted.length,
      little
    ))
  const sum = (of: (counted: ProfileCode.Counted) => bigint | undefined): bigint =>
    each.reduce((total, counted) => total + (of(counted) ?? 0n), 0n)
  return {
    runs: sum(({ runs }) => runs),
    readings: wanted.map((metric, index) => ({
      metric,
      counter: sum(({ readings }) => readings[index]?.counter),
      enabled: sum(({ readings }) => readings[index]?.enabled),
      running: sum(({ readings }) => readings[index]?.running)
    }))
  } satisfies Profile
})

/** The function that a program begins with. */
const functionOf = Effect.fnUntraced(function*(objects: Objects.Objects, prog: Objects.OpenProg) {
  const refuse = (detail: string, hint: string) => new ProfileError({ subject: prog.name, detail, hint })
  if (prog.info.jitedLength === 0) {
    return yield* refuse(
      "it is not compiled, and only compiled programs can be watched",
      "programs that are loaded while net.core.bpf_jit_enable is 1 are compiled, where the kernel can"
    )
  }
  const name = Objects.functionName(prog.info, yield* Objects.types(objects, prog.info.btfId))
  return name ?? (yield* refuse(
    "the kernel has no types of its function, by which it could be watched",
    "compile it with clang -g, and load it with its types"
  ))
})

/**
 * Measures a program; `begun` is told when all its runs from then on are counted. `tell` is told at the end, however it comes,
 * by the time or by an interruption.
 */
export const profile = Effect.fnUntraced(function*<E, R>(
  objects: Objects.Objects,
  wanted: Wanted,
  begun: Effect.Effect<void>,
  tell: (profile: Profile, prog: Objects.OpenProg) => Effect.Effect<void, E, R>
) {
  const { session } = objects
  const prog = yield* Objects.oneProg(objects, wanted.reference)
  const target: { readonly program: ProgRef; readonly function: string } = {
    program: prog.ref,
    function: yield* functionOf(objects, prog)
  }
  const made = yield* maps(session, wanted.metrics)
  const both = Effect.gen(function*() {
    const { BPF_TRACE_FENTRY, BPF_TRACE_FEXIT } = AttachType
    const exit = yield* load(session, "profile_exit", BPF_TRACE_FEXIT, ProfileCode.exit(made), target)
    const entry = yield* load(session, "profile_entry", BPF_TRACE_FENTRY, ProfileCode.entry(made), target)
    // The end first: it does nothing before a beginning.
    yield* attach(session, exit, BPF_TRACE_FEXIT)
    yield* attach(session, entry, BPF_TRACE_FENTRY)
  })
  yield* Effect.mapError(both, notWatched(prog.name))
  yield* begun
  const told = Effect.flatMap(counted(session, wanted.metrics, made), (profile) => tell(profile, prog))
  const { duration } = wanted
  yield* Effect.onInterrupt(
    duration === undefined ? Effect.never : Effect.sleep(duration * 1000),
    () => Effect.ignore(told)
  )
  return yield* told
})
