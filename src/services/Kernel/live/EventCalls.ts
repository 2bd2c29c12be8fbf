/**
 * The calls on perf events, and on the events of tracefs.
 *
 * Source: reference page `attach`, sections 1 and 2.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Arena from "../abi/Arena.ts"
import * as Errno from "../abi/Errno.ts"
import * as Layouts from "../abi/LinkLayouts.ts"
import type {
  Cpus,
  PerfEventCounters,
  PerfEventOpen,
  PerfEventSource,
  ProbePmu,
  TraceEventAdd
} from "../calls/EventCalls.ts"
import type { CallError, KernelError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Bound, Handlers } from "../Session.ts"
import { errnoOf } from "../sys/Sys.ts"
import { type Context, handleOf } from "./Context.ts"
import { parseCpus } from "./CpuList.ts"
import { attemptsOf, invalid, refused } from "./Enter.ts"
import type { Files } from "./Files.ts"
import type { FileHandle, Handle, TraceEventHandle } from "./Handle.ts"
import { memoryView } from "./MemoryView.ts"
import { taskFdQuery } from "./TaskFd.ts"

/** Where tracefs may be mounted, the usual place first. */
const roots: ReadonlyArray<string> = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]

/** Where the kernel describes its perf types. */
const devices = "/sys/bus/event_source/devices"

/** Far more than such a file has, bytes. */
const smallFile = 4096

/** The largest list of symbols that is read, bytes. */
const largeFile = 0x1000_0000

/** Where the kernel says which CPUs there are. */
const cpuFolder = "/sys/devices/system/cpu"

const PERF_TYPE_SOFTWARE = 1
const PERF_COUNT_SW_BPF_OUTPUT = 10n
const PERF_TYPE_TRACEPOINT = 2
const PERF_FLAG_FD_CLOEXEC = 8
const PERF_SAMPLE_RAW = 1024n
/** Also for how long it ran, `PERF_FORMAT_TOTAL_TIME_RUNNING`. */
const PERF_FORMAT_LOST = 16n | 2n
const freqBit = 1n << 10n
const watermarkBit = 1n << 14n
const PERF_EVENT_IOC_ENABLE = 0x2400
const PERF_EVENT_IOC_DISABLE = 0x2401
/** A pointer's size is part of it, for it was meant to take one; 64-bit machines have 8 bytes there but not all have that. */
const PERF_EVENT_IOC_SET_BPF = 0x4004_2408
/** The same on machines whose `_IOW` has its direction bits elsewhere. */
const PERF_EVENT_IOC_SET_BPF_POWERPC = 0x8004_2408
const isPowerpc = process.arch === "ppc64"
/** `_IO` of powerpc has a direction bit, too. */
const plain = (request: number): number => isPowerpc ? request + 0x2000_0000 : request

const utf8 = new TextDecoder()

const textOf = (files: Files, path: string, limit = smallFile): Result.Result<string, number> =>
  Result.map(files.read(path, limit), (bytes) => utf8.decode(bytes).trim())

/** The folder where tracefs is mounted; `ENODEV` where it is nowhere. */
const rootOf = (files: Files): Result.Result<string, number> => {
  for (const root of roots) {
    if (Result.isSuccess(files.list(`${root}/events`))) return Result.succeed(root)
  }
  return Result.fail(Errno.numbers.ENODEV)
}

const pmuOf = (files: Files, kind: string): Result.Result<ProbePmu | undefined, number> => {
  const folder = `${devices}/${kind}`
  const read = textOf(files, `${folder}/type`)
  if (Result.isFailure(read)) {
    return read.failure === Errno.numbers.ENOENT ? Result.succeed(undefined) : Result.fail(read.failure)
  }
  const type = Number(read.success)
  if (!/^\d+$/.test(read.success) || type > 0x7fff_ffff) return Result.fail(Errno.numbers.EIO)
  const bit = /^config:(\d+)$/.exec(Result.getOrElse(textOf(files, `${folder}/format/retprobe`), () => ""))
  const counter = textOf(files, `${folder}/format/ref_ctr_offset`)
  return Result.succeed({
    type,
    ...(bit === null || Number(bit[1]) > 31 ? {} : { returnBit: Number(bit[1]) }),
    hasCounter: Result.isSuccess(counter)
  })
}

/** A name may become a part of a path, and nothing more. */
const isName = (text: string): boolean => text !== "" && text !== "." && text !== ".." && !/[/\0\n]/.test(text)

const eventId = (files: Files, event: string): Result.Result<number, number> =>
  Result.flatMap(rootOf(files), (root) =>
    Result.flatMap(
      textOf(files, `${root}/events/${event}/id`),
      (text) => /^\d+$/.test(text) ? Result.succeed(Number(text)) : Result.fail(Errno.numbers.EIO)
    ))

const append = (path: string, line: string): void => {
  // Without O_CREAT: where the file is missing, the kernel has no such events.
  const fd = Fs.openSync(path, Fs.constants.O_WRONLY | Fs.constants.O_APPEND)
  try {
    Fs.writeSync(fd, line)
  } finally {
    Fs.closeSync(fd)
  }
}

/** Removes an event; it may have gone, and an event in use stays: then somebody else uses it as well. */
export const remove = (handle: Pick<TraceEventHandle, "list" | "name">): void => {
  try {
    append(handle.list, `-:${handle.name}\n`)
  } catch {
    // ENOENT: somebody else has removed it. EBUSY: somebody else has opened it.
  }
}

/** The kernel's limits of the name of an event, and of the line that adds one, bytes. */
const longestName = 63
const longestLine = 1024

/** A name that nobody else has: two processes, or two threads of one, may add events for one function at a time. */
const eventName = (stem: string): string =>
  `effect_bpf_${process.pid}_${Crypto.randomBytes(4).toString("hex")}_${stem}`
    .replaceAll(/[^A-Za-z0-9_]/g, "_")
    .slice(0, longestName)

/** The place as tracefs wants it. */
const placeOf = ({ probe }: TraceEventAdd): string =>
  probe._tag === "Kprobe"
    ? `${probe.symbol}+0x${probe.offset.toString(16)}`
    : `${probe.path}:0x${probe.offset.toString(16)}`

const subjectOf = ({ probe }: TraceEventAdd): string => probe._tag === "Kprobe" ? probe.symbol : probe.path

const add = (files: Files, call: TraceEventAdd): Effect.Effect<TraceEventHandle, KernelError> =>
  Effect.suspend(() => {
    const subject = subjectOf(call)
    const failed = (errnoNumber: number) => Effect.fail(refused("TraceEventAdd", subject, errnoNumber))
    if (/[\s\0]/.test(subject)) {
      return Effect.fail(
        invalid("TraceEventAdd", JSON.stringify(subject), "tracefs takes no names with blanks: make a link to the file")
      )
    }
    const root = rootOf(files)
    if (Result.isFailure(root)) return failed(root.failure)
    const kind = call.probe._tag === "Kprobe" ? "kprobe" : "uprobe"
    const list = `${root.success}/${kind}_events`
    const group = call.isReturn ? `${kind === "kprobe" ? "kret" : "uret"}probes` : `${kind}s`
    const name = `${group}/${eventName(call.stem)}`
    const line = `${call.isReturn ? "r" : "p"}:${name} ${placeOf(call)}\n`
    if (line.length >= longestLine) return failed(Errno.numbers.ENAMETOOLONG)
    try {
      append(list, line)
    } catch (thrown) {
      // Where the kernel has no such events, tracefs has no list of them.
      const isMissing = !Fs.existsSync(list)
      return failed(isMissing ? Errno.numbers.EOPNOTSUPP : -errnoOf(thrown))
    }
    const id = eventId(files, name)
    if (Result.isSuccess(id)) return Effect.succeed({ _tag: "TraceEvent", name, id: id.success, list })
    remove({ list, name })
    return failed(id.failure)
  })

/** Bits of `config` that say that a probe is one of the function's return. */
const returnConfig = (pmu: ProbePmu, isReturn: boolean): bigint => isReturn ? 1n << BigInt(pmu.returnBit ?? 0) : 0n

/** What an event is, as the kernel is told. */
const attrOf = Effect.fnUntraced(function*(bound: Bound<Handle>, source: PerfEventSource) {
  const named = (values: Arena.Values<typeof Layouts.PerfAttrNamed>) =>
    Arena.make(Layouts.PerfAttrNamed, { ...values, size: Layouts.PerfAttrNamed.size })
  const plainEvent = (values: Arena.Values<typeof Layouts.PerfAttr>) =>
    Arena.make(Layouts.PerfAttr, { ...values, size: Layouts.PerfAttr.size })
  switch (source._tag) {
    case "Tracepoint":
      return plainEvent({ type: PERF_TYPE_TRACEPOINT, config: BigInt(source.id) })
    case "TraceEvent": {
      const { id } = yield* handleOf(bound, "PerfEventOpen", source.event)
      return plainEvent({ type: PERF_TYPE_TRACEPOINT, config: BigInt(id) })
    }
    case "Kprobe":
      return named({
        type: source.pmu.type,
        config: returnConfig(source.pmu, source.isReturn),
        config1: source.symbol === undefined ? undefined : Arena.text(source.symbol),
        config2: source.offset
      })
    case "Uprobe":
      return named({
        type: source.pmu.type,
        config: returnConfig(source.pmu, source.isReturn) | (source.counterOffset << 32n),
        config1: Arena.text(source.path),
        config2: source.offset
      })
    case "Counter":
      return plainEvent({
        type: source.type,
        config: source.config,
        sample_period: source.sample.value,
        sample_type: PERF_SAMPLE_RAW,
        bits: source.sample._tag === "Frequency" ? freqBit : 0n
      })
    case "BpfOutput":
      return plainEvent({
        type: PERF_TYPE_SOFTWARE,
        config: PERF_COUNT_SW_BPF_OUTPUT,
        sample_type: PERF_SAMPLE_RAW,
        read_format: source.countLost ? PERF_FORMAT_LOST : 0n,
        bits: source.wakeup._tag === "Bytes" ? watermarkBit : 0n,
        wakeup_events: source.wakeup.value
      })
  }
})

/** A counter; where it was asked for, then how long the event ran, and how many records were lost. Each is 8 bytes. */
const countersOf = (fd: number, countsLost: boolean): Result.Result<PerfEventCounters, number> => {
  const counters = new BigUint64Array(countsLost ? 3 : 1)
  try {
    const length = Fs.readSync(fd, counters, 0, counters.byteLength, null)
    const [count = 0n, running = 0n, lost = 0n] = counters
    if (length !== counters.byteLength) return Result.fail(Errno.numbers.EIO)
    return Result.succeed(countsLost ? { count, running, lost } : { count })
  } catch (thrown) {
    return Result.fail(-errnoOf(thrown))
  }
}

const cpusIn = (files: Files, which: string): Result.Result<ReadonlyArray<number>, number> =>
  Result.flatMap(textOf(files, `${cpuFolder}/${which}`), (text) => {
    const cpus = parseCpus(text)
    return cpus === undefined ? Result.fail(Errno.numbers.EIO) : Result.succeed(cpus)
  })

const cpus = (files: Files): Result.Result<Cpus, number> =>
  Result.gen(function*() {
    return { possible: yield* cpusIn(files, "possible"), online: yield* cpusIn(files, "online") }
  })

/** What an event is, for messages. */
const nameOf = ({ cpu, source }: PerfEventOpen): string => {
  switch (source._tag) {
    case "Tracepoint":
      return `tracepoint ${source.id}`
    case "TraceEvent":
      return Ref.key(source.event)
    case "Kprobe":
      return source.symbol ?? `0x${source.offset.toString(16)}`
    case "Uprobe":
      return `${source.path}:0x${source.offset.toString(16)}`
    case "Counter":
      return `event ${source.config} of type ${source.type}`
    case "BpfOutput":
      return `output of programs on CPU ${cpu}`
  }
}

type Handled =
  | "ProbePmuGet"
  | "TracepointId"
  | "SymbolListRead"
  | "TraceEventAdd"
  | "PerfEventOpen"
  | "PerfEventSetProgram"
  | "PerfEventSwitch"
  | "EventMmap"
  | "PerfEventRead"
  | "CpusGet"
  | "TaskFdQuery"

/** The handlers of the calls on events. */
export const handlers = ({ files, sys }: Context): Pick<Handlers<Handle>, Handled> => {
  const asked = <A>(call: Handled, subject: string, answer: () => Result.Result<A, number>) =>
    Effect.suspend(() =>
      Effect.fromResult(Result.mapError(answer(), (errnoNumber) => refused(call, subject, errnoNumber)))
    )
  const control = (call: Handled, subject: string, fd: number, request: number, argument: number) =>
    asked(call, subject, () => {
      const result = sys.ioctl(fd, request, argument)
      return result < 0 ? Result.fail(-result) : Result.succeed(undefined)
    })
  const once = <A>(bound: Bound<Handle>, entry: Effect.Effect<A, CallError>) =>
    attemptsOf(bound).persist(undefined, entry)
  return {
    ProbePmuGet: Effect.fnUntraced(function*(call, bound) {
      return { result: yield* once(bound, asked("ProbePmuGet", call.kind, () => pmuOf(files, call.kind))) }
    }),

    TracepointId: Effect.fnUntraced(function*(call, bound) {
      const event = `${call.category}/${call.name}`
      const id = asked(
        "TracepointId",
        event,
        () => isName(call.category) && isName(call.name) ? eventId(files, event) : Result.fail(Errno.numbers.ENOENT)
      )
      return { result: yield* once(bound, id) }
    }),

    SymbolListRead: Effect.fnUntraced(function*(call, bound) {
      const read = asked("SymbolListRead", call.list, (): Result.Result<Uint8Array | undefined, number> => {
        const root = call.list === "kallsyms" ? Result.succeed("/proc") : rootOf(files)
        if (Result.isFailure(root)) return Result.succeed(undefined)
        const found = files.read(`${root.success}/${call.list}`, largeFile)
        return Result.isFailure(found) && found.failure === Errno.numbers.ENOENT ? Result.succeed(undefined) : found
      })
      return { result: yield* once(bound, read) }
    }),

    TraceEventAdd: Effect.fnUntraced(function*(call, bound) {
      const handle = yield* once(bound, add(files, call))
      return { result: { name: handle.name }, handle }
    }),

    PerfEventOpen: Effect.fnUntraced(function*(call, bound) {
      const name = nameOf(call)
      const { source } = call
      if (source._tag === "Uprobe" && (source.counterOffset < 0n || source.counterOffset > 0xffff_ffffn)) {
        return yield* invalid("PerfEventOpen", name, "a counter has to be in the first 4 GiB of the file")
      }
      if (source._tag === "BpfOutput" && !(source.wakeup.value >= 1 && source.wakeup.value < 2 ** 32)) {
        return yield* invalid("PerfEventOpen", name, "whoever waits is woken after at least one record or byte")
      }
      const arena = yield* attrOf(bound, source)
      if (Result.isFailure(arena)) return yield* invalid("PerfEventOpen", name, arena.failure.message)
      const open = asked("PerfEventOpen", name, () => {
        const fd = sys.perfEventOpen(arena.success, call.pid, call.cpu, -1, PERF_FLAG_FD_CLOEXEC)
        return fd < 0 ? Result.fail(-fd) : Result.succeed(fd)
      })
      const fd = yield* once(bound, open)
      const handle: FileHandle<"Event"> = { _tag: "Event", fd, name }
      return {
        result: undefined,
        handle: source._tag === "BpfOutput" && source.countLost ? { ...handle, countsLost: true } : handle
      }
    }),

    PerfEventSetProgram: Effect.fnUntraced(function*(call, bound) {
      const { fd, name } = yield* handleOf(bound, "PerfEventSetProgram", call.event)
      const prog = yield* handleOf(bound, "PerfEventSetProgram", call.prog)
      const request = isPowerpc ? PERF_EVENT_IOC_SET_BPF_POWERPC : PERF_EVENT_IOC_SET_BPF
      return { result: yield* once(bound, control("PerfEventSetProgram", name, fd, request, prog.fd)) }
    }),

    PerfEventSwitch: Effect.fnUntraced(function*(call, bound) {
      const { fd, name } = yield* handleOf(bound, "PerfEventSwitch", call.event)
      const request = plain(call.on ? PERF_EVENT_IOC_ENABLE : PERF_EVENT_IOC_DISABLE)
      return { result: yield* once(bound, control("PerfEventSwitch", name, fd, request, 0)) }
    }),

    EventMmap: Effect.fnUntraced(function*(call, bound) {
      const { fd, name } = yield* handleOf(bound, "EventMmap", call.event)
      const { length } = call
      if (!Number.isSafeInteger(length) || length <= 0 || length % sys.pageSize !== 0) {
        return yield* invalid("EventMmap", name, `the length must be a multiple of the page size, ${sys.pageSize}`)
      }
      const map = asked("EventMmap", name, () => {
        const mapped = sys.map(fd, 0, length, true)
        return typeof mapped === "number" ? Result.fail(-mapped) : Result.succeed(mapped)
      })
      const mapping = yield* once(bound, map)
      const view = { ...memoryView(mapping.buffer, true), address: mapping.address }
      return { result: view, handle: { _tag: "View", mapping, name, writable: true } }
    }),

    PerfEventRead: Effect.fnUntraced(function*(call, bound) {
      const { countsLost = false, fd, name } = yield* handleOf(bound, "PerfEventRead", call.event)
      return { result: yield* once(bound, asked("PerfEventRead", name, () => countersOf(fd, countsLost))) }
    }),

    CpusGet: Effect.fnUntraced(function*(_call, bound) {
      return { result: yield* once(bound, asked("CpusGet", "all CPUs", () => cpus(files))) }
    }),

    TaskFdQuery: (call, bound) => taskFdQuery(sys, call, bound)
  }
}
