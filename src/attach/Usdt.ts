/**
 * Attaches programs to probes in programs and libraries (USDT), which their authors have put there with `<sys/sdt.h>`.
 *
 * One probe may be at many places, each with its arguments elsewhere. What a program needs to find them is written to maps of its
 * object, which `usdt.bpf.h` has defined, and a number that it gets as its cookie says which record is for the place where it
 * runs; on kernels without cookies it looks the place's address up in another map. So attachments of one object share records:
 * who has which is remembered with the object's session, and forgotten with it.
 *
 * Source: reference page `usdt`. Differences from libbpf: probes in members of archives, programs of 32 bits, every mapping of a
 * library that is mapped more than once, semaphores of prelinked files.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Fs from "node:fs"
import { AttachType } from "../services/Kernel/abi/BpfConstants.ts"
import type { Kernel, Session } from "../services/Kernel/Kernel.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import * as Ref from "../services/Kernel/Ref.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import { calls } from "../stages/load/LoadPlan.ts"
import type { BpfObject, MapDefinition } from "../stages/open/BpfObject.ts"
import type { Architecture } from "../usdt/Argument.ts"
import * as Spec from "../usdt/Spec.ts"
import * as SpecIds from "../usdt/SpecIds.ts"
import { UsdtError } from "../usdt/UsdtError.ts"
import { type AttachError, type AttachFailure, refuse, type What } from "./AttachError.ts"
import * as BinaryFile from "./BinaryFile.ts"
import { attachProbe } from "./Kprobe.ts"
import * as Link from "./Link.ts"
import { type Loaded, type LoadedProgram, programOf, supports } from "./Loaded.ts"
import * as Process from "./Process.ts"
import * as UsdtPlaces from "./usdt/UsdtPlaces.ts"

/** To which probe a program is attached. */
export interface UsdtOptions {
  /**
   * The program or library: a path (`/proc/PID/root/…` for one of a container), the member of an archive
   * (`app.apk!/lib/x86_64/libfoo.so`), or a name that is searched for. With a process a name is one of those that it executes.
   */
  readonly path: string
  readonly provider: string
  readonly name: string
  /** The process: -1 for every one, 0 for this one. Default -1. */
  readonly pid?: number
  /** What the program gets from `bpf_usdt_cookie()`. Default 0. */
  readonly cookie?: bigint
  /** The folder that paths are in: `/proc/PID/root` for those of a container. */
  readonly root?: string
}

/** A loaded object, with its plan where there is one: it tells how programs were loaded. */
export type LoadedWithProbes = Loaded & Partial<Pick<LoadedObject, "plan">>

/** Processors by Node's names. */
const architectures: Readonly<Record<string, Architecture>> = {
  x64: "x86-64",
  ia32: "i386",
  arm64: "arm64",
  arm: "arm",
  s390x: "s390x",
  riscv64: "riscv64"
}

/** Which records of a session's object are in use. */
interface Records {
  ids: SpecIds.SpecIds
}

/** The records by the session in which the object was loaded: they are gone when it is. */
const recordsOf = new WeakMap<symbol, Records>()

const recordsFor = (session: Session, capacity: number): Records => {
  const known = recordsOf.get(session.id)
  if (known !== undefined) return known
  const records = { ids: SpecIds.none(capacity) }
  recordsOf.set(session.id, records)
  return records
}

/** A map of the object that is there. */
interface LoadedMap {
  readonly ref: Ref.MapRef
  readonly definition: MapDefinition
}

const mapNamed = ({ object, session }: Loaded, name: string): LoadedMap | undefined => {
  const position = object.maps.findIndex((map) => map.name === name)
  const definition = object.maps[position]
  const ref = session.stamp(Ref.map(position))
  return definition !== undefined && session.exists(ref) ? { ref, definition } : undefined
}

/** The two maps, and how records are laid out. */
const mapsOf = Effect.fnUntraced(function*(loaded: Loaded, what: What) {
  const specs = mapNamed(loaded, Spec.specsMap)
  const addresses = mapNamed(loaded, Spec.addressMap)
  if (specs === undefined || addresses === undefined) {
    const missing = specs === undefined ? Spec.specsMap : Spec.addressMap
    return yield* refuse(
      what,
      "BadTarget",
      `the object has no map ${missing}`,
      "include <bpf/usdt.bpf.h> in its source; programs get the arguments of probes through it"
    )
  }
  const { btf } = loaded.object
  if (btf === undefined) return yield* refuse(what, "BadTarget", "the object has no BTF", "compile it with -g")
  const layout = yield* Effect.fromResult(Spec.layout(btf, specs.definition.valueType))
  return { specs, addresses, layout }
})

/** Whether the object's programs find their record by a cookie: what its configuration was told when it was loaded. */
const hasCookies = Effect.fnUntraced(function*({ object, session }: Loaded) {
  const told = object.externs.find((each) => each._tag === "Kconfig" && each.name === "LINUX_HAS_BPF_COOKIE")
  const position = object.maps.findIndex(({ origin }) => origin === "Kconfig")
  const ref = session.stamp(Ref.map(position))
  const map = object.maps[position]
  if (told?._tag !== "Kconfig" || map === undefined || !session.exists(ref)) return true
  const { keySize, valueSize } = map.attr
  const value = yield* session.call({ _tag: "MapLookup", map: ref, key: new Uint8Array(keySize), valueSize, flags: 0n })
  return value === undefined || value[told.dataOffset] !== 0
})

/** Whether a program was loaded to be attached to many places at once; the kernel attaches it in no other way then. */
const isForMany = (loaded: LoadedWithProbes, { ref }: LoadedProgram) => {
  const loads = calls(loaded.plan ?? []).filter((call) => call._tag === "ProgLoad" && call.as.index === ref.index)
  return loads.length === 0
    ? supports("UprobeMultiLink")
    : Effect.succeed(
      loads.some((call) =>
        call._tag === "ProgLoad" && call.attr.expectedAttachType === AttachType.BPF_TRACE_UPROBE_MULTI
      )
    )
}

/** What is wrong with a file or a probe, as an error of attaching. */
const explained = (what: What) =>
(
  error: UsdtError | BinaryFile.Failure | Process.ProcessError | Error
): AttachError => {
  if (error instanceof UsdtError) {
    const missing = error.reason === "NoNotes" || error.reason === "NoSuchProbe"
    const unsupported = error.reason === "OldLayout" || error.reason === "Register" || error.reason === "Argument"
    return refuse(
      what,
      missing ? "NotFound" : unsupported ? "Unsupported" : "BadTarget",
      error.description,
      error.hint
    )
  }
  const missing = error instanceof Process.ProcessError ||
    ("_tag" in error && (error._tag === "LibraryNotFound" || error._tag === "FileReadError"))
  return refuse(what, missing ? "NotFound" : "BadTarget", error.message)
}

/** The file in which the probe is. */
const locate = (options: UsdtOptions, pid: number): Effect.Effect<string, Process.ProcessError> =>
  pid <= 0 || options.path.includes("/")
    ? Effect.succeed(options.path)
    : Effect.flatMap(Process.executableNamed(pid, options.path), (file) => Process.pathOf(pid, file))

/** The places and records, and the file that is probed. */
const find = Effect.fnUntraced(
  function*(options: UsdtOptions, pid: number, layout: Spec.Layout, hasFastEntry: boolean) {
    const kernel = architectures[process.arch]
    if (kernel === undefined) {
      return yield* new UsdtError({ reason: "Architecture", detail: `probes on ${process.arch} are not understood` })
    }
    const { base, binary, path } = yield* BinaryFile.open(
      yield* locate(options, pid),
      options.root === undefined ? {} : { root: options.root }
    )
    const { cookie = 0n, name, provider } = options
    const wanted = { provider, name, cookie, layout, kernel, start: base, hasFastEntry }
    return { path, ...(yield* Effect.fromResult(UsdtPlaces.find(binary, wanted))) }
  },
  Effect.scoped
)

/** The addresses at which a place of a file is in processes: where it was linked to be, or where a process has mapped it. */
const addressesOf = Effect.fnUntraced(function*(
  what: What,
  { isMovable, path, places }: UsdtPlaces.UsdtPlaces & { readonly path: string },
  pid: number
) {
  if (!isMovable) return places.map(({ address }) => [address])
  if (pid < 0) {
    return yield* refuse(
      what,
      "Unsupported",
      "it is loaded at different addresses in different processes, which this kernel does not tell programs apart",
      "name a process (pid); newer kernels have cookies (Linux 5.15)"
    )
  }
  const inode = Fs.statSync(path, { bigint: true, throwIfNoEntry: false })?.ino
  const files = (yield* Process.executables(pid)).filter((file) => file.inode === inode)
  const found = places.map(({ offset }) =>
    files.flatMap(({ mappings }) =>
      mappings.flatMap(({ end, isExecutable, offset: first, start }) =>
        isExecutable && offset >= first && offset - first < end - start ? [start + (offset - first)] : []
      )
    )
  )
  return found.some((each) => each.length === 0)
    ? yield* refuse(what, "NotFound", `process ${pid === 0 ? process.pid : pid} has not mapped ${path} as code`)
    : found
})

const wordOf = (object: BpfObject, size: number, value: number | bigint): Uint8Array => {
  const bytes = new Uint8Array(Math.max(size, 8))
  const little = object.byteOrder === "little"
  const view = new DataView(bytes.buffer)
  if (size === 4) view.setUint32(0, Number(value), little)
  else view.setBigUint64(0, BigInt(value), little)
  return bytes.subarray(0, size)
}

/** Takes records for the texts of arguments, until the attachment ends, and writes them. */
const writeRecords = Effect.fnUntraced(function*(
  loaded: Loaded,
  what: What,
  build: Link.Builder,
  specs: LoadedMap,
  records: ReadonlyMap<string, Uint8Array>
) {
  const { object, session } = loaded
  const { keySize, maxEntries } = specs.definition.attr
  const state = recordsFor(session, maxEntries)
  const taken = yield* Effect.uninterruptible(Effect.suspend(() => {
    const took = SpecIds.take(state.ids, records.size)
    if (took === undefined) return Effect.succeed(undefined)
    const [ids, rest] = took
    state.ids = rest
    const give = Effect.sync(() => {
      state.ids = SpecIds.give(state.ids, ids)
    })
    return Effect.as(build.before(give), ids)
  }))
  if (taken === undefined) {
    return yield* refuse(
      what,
      "BadTarget",
      `its places need ${records.size} records of arguments, and of the object's ${maxEntries} only ` +
        `${SpecIds.available(state.ids)} are free`,
      `give ${Spec.specsMap} more entries: define BPF_USDT_MAX_SPEC_CNT before usdt.bpf.h is included`
    )
  }
  const idOf = new Map<string, number>()
  for (const [text, bytes] of records) {
    const id = taken[idOf.size] ?? 0
    idOf.set(text, id)
    const key = wordOf(object, keySize, id)
    yield* session.call({ _tag: "MapUpdate", map: specs.ref, key, value: { bytes, refs: [] }, flags: 0n })
  }
  return idOf
})

const BPF_NOEXIST = 1n

/** Tells programs which record is for which address, until the attachment ends. */
const writeAddresses = Effect.fnUntraced(function*(
  { object, session }: Loaded,
  what: What,
  build: Link.Builder,
  map: LoadedMap,
  entries: ReadonlyArray<{ readonly address: bigint; readonly id: number }>
) {
  const { keySize, valueSize } = map.definition.attr
  for (const { address, id } of entries) {
    const key = wordOf(object, keySize, address)
    const value = { bytes: wordOf(object, valueSize, id), refs: [] }
    const write = session.call({ _tag: "MapUpdate", map: map.ref, key, value, flags: BPF_NOEXIST })
    const remove = session.call({ _tag: "MapDelete", map: map.ref, key })
    // An observer may interrupt when the entry is written already. One of another attachment has another record.
    const removeOurs = Effect.flatMap(
      session.call({ _tag: "MapLookup", map: map.ref, key, valueSize, flags: 0n }),
      (found) => found?.every((byte, at) => byte === value.bytes[at]) === true ? remove : Effect.void
    )
    yield* Effect.uninterruptible(
      Effect.andThen(Effect.onError(write, () => Effect.ignore(removeOurs)), build.before(remove))
    ).pipe(
      Effect.catchIf(
        (error: CallError) => error._tag === "KernelError" && error.errno === "EEXIST",
        () =>
          refuse(
            what,
            "BadTarget",
            "a program of this object is attached to the probe already",
            "without cookies, which this kernel lacks, the object can be attached to a probe only once"
          )
      )
    )
  }
})

/** The largest offset of a counter that a perf event takes. */
const LARGEST_COUNTER = 0xffff_ffffn

/** The process as links to many places want it: 0 for every one. */
const processOf = (pid: number): number => pid < 0 ? 0 : pid === 0 ? process.pid : pid

/**
 * Attaches a program to a probe, at all places that it has in a file. It lasts as long as the scope, or until it is detached; then
 * its records of arguments are free again. Such an attachment cannot be pinned: the records belong to this process.
 */
export const attach = (
  loaded: LoadedWithProbes,
  program: string,
  options: UsdtOptions
): Effect.Effect<Link.Link, AttachFailure, Kernel | Scope.Scope> => {
  const { name, path, provider } = options
  const pid = Math.max(options.pid ?? -1, -1)
  const what: What = { kind: "usdt", target: `${path}:${provider}:${name}`, program }
  const { session } = loaded
  const body = Effect.fnUntraced(function*(build: Link.Builder) {
    const found = yield* programOf(loaded, what)
    const maps = yield* Effect.mapError(
      mapsOf(loaded, what),
      (error) => error instanceof UsdtError ? explained(what)(error) : error
    )
    const hasFastEntry = process.arch === "x64" && (yield* supports("UprobeSyscall"))
    const probe = yield* Effect.mapError(find(options, pid, maps.layout, hasFastEntry), explained(what))
    const { places } = probe
    if (places.some(({ counterOffset }) => counterOffset !== 0n)) yield* checkCounting(session, what)
    const cookies = yield* hasCookies(loaded)
    const addresses = cookies ? undefined : yield* Effect.mapError(
      addressesOf(what, probe, pid),
      (error) => error instanceof Process.ProcessError ? explained(what)(error) : error
    )
    const idOf = yield* writeRecords(loaded, what, build, maps.specs, probe.records)
    const idAt = (place: UsdtPlaces.UsdtPlace): number => idOf.get(place.record) ?? 0
    if (addresses !== undefined) {
      const entries = places.flatMap((place, index) =>
        (addresses[index] ?? []).map((address) => ({ address, id: idAt(place) }))
      )
      yield* writeAddresses(loaded, what, build, maps.addresses, entries)
    }
    if (yield* isForMany(loaded, found)) {
      const ref = session.fresh("Link")
      yield* build.acquire({
        _tag: "LinkCreate",
        as: ref,
        of: found.ref,
        target: { _tag: "None" },
        attachType: AttachType.BPF_TRACE_UPROBE_MULTI,
        flags: 0,
        options: {
          _tag: "UprobeMulti",
          path: probe.path,
          offsets: places.map(({ offset }) => offset),
          counterOffsets: places.map(({ counterOffset }) => counterOffset),
          cookies: places.map((place) => BigInt(idAt(place))),
          isReturn: false,
          pid: processOf(pid)
        }
      })
      return { means: "a link to its places, and records of its arguments" }
    }
    for (const place of places) {
      const { counterOffset, offset } = place
      if (counterOffset > LARGEST_COUNTER) {
        return yield* refuse(what, "Unsupported", `its semaphore is at ${counterOffset}, too far for a perf event`)
      }
      const at = { path: probe.path, offset }
      yield* attachProbe(
        session,
        what,
        build,
        found.ref,
        {
          kind: "uprobe",
          isReturn: false,
          stem: `${provider}_${name}`,
          perf: (pmu) => ({ _tag: "Uprobe", pmu, ...at, isReturn: false, counterOffset }),
          traceable: counterOffset === 0n
            ? { _tag: "Uprobe", ...at }
            : "its semaphore needs a kernel that counts in it, and events of tracefs are attached without that",
          pid
        },
        "default",
        cookies ? BigInt(idAt(place)) : 0n
      )
    }
    return { means: "probes at its places, and records of its arguments" }
  })
  return Link.attach(session, what, body)
}

/** A probe with a semaphore is skipped by its program until the kernel counts in it: nobody else may write there. */
const checkCounting = Effect.fnUntraced(function*(session: Session, what: What) {
  const pmu = yield* session.call({ _tag: "ProbePmuGet", kind: "uprobe" })
  if (pmu?.hasCounter === true) return
  return yield* refuse(
    what,
    "Unsupported",
    "the probe has a semaphore, and this kernel cannot count in it (no format/ref_ctr_offset of its uprobe events)",
    "Linux can since 4.20; the program skips the probe until it is counted, and nobody else may write to its memory"
  )
})
