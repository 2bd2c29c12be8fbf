/**
 * A kernel in memory that keeps books: what was acquired and released, pinned and unpinned, in which order.
 *
 * It is made for tests of what a load does to a kernel, not of what programs do: maps really store bytes, pins really
 * exist, programs only have names. Calls can be scripted to take several attempts, and program loads to finish later and
 * in another order than they began.
 */
import * as Effect from "effect/Effect"
import type { ByteOrder } from "../../src/services/Elf/Elf.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { Errno } from "../../src/services/Kernel/abi/Errno.ts"
import * as ErrnoTable from "../../src/services/Kernel/abi/Errno.ts"
import { refusing } from "../../src/services/Kernel/calls/Attaching.ts"
import type { KernelShape } from "../../src/services/Kernel/Kernel.ts"
import type {
  KernelCall,
  MapAttributes,
  MapBatch,
  MapInfo,
  ProgAttributes
} from "../../src/services/Kernel/KernelCall.ts"
import { type CallError, KernelError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelInfo from "../../src/services/Kernel/KernelInfo.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Session from "../../src/services/Kernel/Session.ts"

/** A map that exists in the ledger's kernel. */
export interface LedgerMap {
  readonly _tag: "Map"
  readonly id: number
  readonly attr: MapAttributes
  readonly types: { readonly key: number; readonly value: number } | undefined
  /** By the key's bytes in hexadecimal. Elements that name maps or programs hold their ids. */
  readonly elements: Map<string, Uint8Array>
  frozen: boolean
}

/** A program that exists in the ledger's kernel. */
export interface LedgerProg {
  readonly _tag: "Prog"
  readonly id: number
  readonly attr: ProgAttributes
  readonly bound: Array<number>
}

/** What a handle can stand for. */
export type LedgerObject =
  | LedgerMap
  | LedgerProg
  | { readonly _tag: "Btf"; readonly id: number; readonly bytes: Uint8Array }
  | { readonly _tag: "View"; readonly id: number; readonly bytes: Uint8Array }

/** A descriptor: it is acquired once, and has to be released once. */
export interface LedgerHandle {
  readonly number: number
  readonly object: LedgerObject
  readonly borrowed: boolean
}

/** One line of the books. */
export type Entry =
  | { readonly _tag: "Acquire"; readonly handle: number; readonly what: string }
  | { readonly _tag: "Release"; readonly handle: number; readonly what: string }
  | { readonly _tag: "Pin"; readonly path: string }
  | { readonly _tag: "Unpin"; readonly path: string }
  /** Written by a test, to tell what came before from what came after. */
  | { readonly _tag: "Mark"; readonly text: string }

/** A deliberate mistake, to show that a law's check notices it. */
export type Mistake =
  /** The kernel makes maps without handing the session what to release. */
  | "forgets to register maps"
  /** A load that takes several entries acquires in the first one already. */
  | "acquires before the last attempt"
  /** Releases program handles twice. */
  | "releases programs twice"
  /** Pins without saying how to undo it. */
  | "forgets to unpin"

/** How the kernel is to behave. */
export interface LedgerOptions {
  readonly byteOrder?: ByteOrder
  readonly concurrency?: number
  readonly pageSize?: number
  readonly possibleCpus?: number
  readonly kernelVersion?: number
  readonly kconfig?: ReadonlyMap<string, string>
  readonly features?: ReadonlyMap<KernelInfo.Feature, boolean>
  readonly symbols?: ReadonlyMap<string, bigint>
  /** Requirements of these kinds are not answered at all. */
  readonly silentOn?: ReadonlyArray<KernelInfo.Requirement["_tag"]>
  /** Errors that come before the call is answered, each in an attempt of its own. */
  readonly retries?: (call: KernelCall) => ReadonlyArray<{ readonly errno: Errno; readonly because: string }>
  /** The error that a call ends in, if it is to fail. */
  readonly refuse?: (call: KernelCall) => Errno | undefined
  /**
   * Makes program loads asynchronous: of the loads under way (named in the order in which they began), the one to finish
   * next. One finishes at each turn of the event loop.
   */
  readonly finishNext?: (underWay: ReadonlyArray<string>) => number
  /** Runs inside the kernel, when it was entered and nothing is acquired yet. */
  readonly onEnter?: (call: KernelCall) => void
  readonly mistake?: Mistake
}

/** The kernel and its books. */
export interface Ledger {
  readonly kernel: KernelShape
  readonly entries: ReadonlyArray<Entry>
  /** What is pinned now, by path. */
  readonly pins: Map<string, LedgerObject>
  /** All maps that were ever made, in that order. */
  readonly maps: ReadonlyArray<LedgerMap>
  readonly programs: ReadonlyArray<LedgerProg>
  /** What was asked for, one entry a question. */
  readonly asked: ReadonlyArray<KernelInfo.Requirement>
  readonly mark: (text: string) => void
  /** Makes a map that no session knows, and pins it. */
  readonly pinMap: (path: string, attr: Partial<MapAttributes>) => LedgerMap
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

const fail = (call: KernelCall, errno: Errno, subject: string): KernelError =>
  new KernelError({ call: call._tag, errno, errnoNumber: ErrnoTable.numbers[errno], subject })

/** The attributes of a map of one 4-byte key and value, for tests that do not care. */
export const plainMap: MapAttributes = {
  name: "plain",
  type: MapType.BPF_MAP_TYPE_HASH,
  keySize: 4,
  valueSize: 4,
  maxEntries: 8,
  flags: 0,
  numaNode: 0,
  ifindex: 0,
  extra: 0n
}

const isArray = (type: number): boolean =>
  type === MapType.BPF_MAP_TYPE_ARRAY || type === MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS ||
  type === MapType.BPF_MAP_TYPE_PROG_ARRAY

/** Makes a kernel with empty books. */
export const make = (options: LedgerOptions = {}): Ledger => {
  const entries: Array<Entry> = []
  const pins = new Map<string, LedgerObject>()
  const maps: Array<LedgerMap> = []
  const programs: Array<LedgerProg> = []
  const asked: Array<KernelInfo.Requirement> = []
  let nextId = 1
  let nextHandle = 3

  const acquire = (object: LedgerObject, what: string): LedgerHandle => {
    const handle = { number: nextHandle++, object, borrowed: false }
    entries.push({ _tag: "Acquire", handle: handle.number, what })
    return handle
  }
  const newMap = (attr: MapAttributes, types: LedgerMap["types"]): LedgerMap => {
    const map: LedgerMap = { _tag: "Map", id: nextId++, attr, types, elements: new Map(), frozen: false }
    maps.push(map)
    return map
  }

  const underWay: Array<{ readonly name: string; readonly resume: () => void }> = []
  let scheduled = false
  const finishOne = (): void => {
    scheduled = false
    const chosen = options.finishNext?.(underWay.map((each) => each.name)) ?? 0
    const [load] = underWay.splice(Math.min(Math.max(chosen, 0), underWay.length - 1), 1)
    load?.resume()
    if (underWay.length > 0) schedule()
  }
  const schedule = (): void => {
    if (scheduled) return
    scheduled = true
    setImmediate(finishOne)
  }
  /** Runs `enter` now, or when its turn comes. */
  const later = <A>(name: string, enter: Effect.Effect<A, CallError>): Effect.Effect<A, CallError> =>
    options.finishNext === undefined
      ? enter
      : Effect.callback<A, CallError>((resume) => {
        underWay.push({ name, resume: () => resume(enter) })
        schedule()
      })

  /** The attempts of a call: the scripted failures, then `enter`. */
  const attempts = <A>(
    call: KernelCall,
    subject: string,
    bound: Session.Bound<LedgerHandle>,
    enter: () => A | KernelError
  ): Effect.Effect<A, CallError> => {
    const failures = options.retries?.(call) ?? []
    const last = Effect.suspend((): Effect.Effect<A, CallError> => {
      options.onEnter?.(call)
      const refused = options.refuse?.(call)
      if (refused !== undefined) return Effect.fail(fail(call, refused, subject))
      const answer = enter()
      return answer instanceof KernelError ? Effect.fail(answer) : Effect.succeed(answer)
    })
    const from = (number: number, because: string | undefined): Effect.Effect<A, CallError> => {
      const failure = failures[number]
      if (failure === undefined) {
        return bound.attempt(number, because, call._tag === "ProgLoad" ? later(subject, last) : last)
      }
      return Effect.catch(
        bound.attempt(number, because, Effect.fail(fail(call, failure.errno, subject))),
        (error: CallError) =>
          error._tag === "KernelError" && error.errno === failure.errno && error.subject === subject
            ? from(number + 1, failure.because)
            : Effect.fail(error)
      )
    }
    return from(0, undefined)
  }

  const mapOf = (bound: Session.Bound<LedgerHandle>, ref: Ref.Ref): LedgerMap | undefined => {
    const object = bound.resolve(ref)?.object
    return object?._tag === "Map" ? object : undefined
  }
  const progOf = (bound: Session.Bound<LedgerHandle>, ref: Ref.Ref): LedgerProg | undefined => {
    const object = bound.resolve(ref)?.object
    return object?._tag === "Prog" ? object : undefined
  }
  type Done<A> = Session.Performed<LedgerHandle, A>
  const onMap = <A>(
    call: KernelCall & { readonly map: Ref.MapRef },
    bound: Session.Bound<LedgerHandle>,
    enter: (map: LedgerMap) => A | KernelError
  ): Effect.Effect<Done<A>, CallError> =>
    attempts(call, Ref.key(call.map), bound, (): Done<A> | KernelError => {
      const map = mapOf(bound, call.map)
      if (map === undefined) return fail(call, "EBADF", Ref.key(call.map))
      const result = enter(map)
      return result instanceof KernelError ? result : { result }
    })

  const handlers: Session.Handlers<LedgerHandle> = {
    BtfLoad: (call, bound) =>
      attempts(call, "btf", bound, () => ({
        result: undefined,
        handle: acquire({ _tag: "Btf", id: nextId++, bytes: call.bytes }, "btf")
      })),
    MapCreate: (call, bound) =>
      attempts(call, call.attr.name, bound, () => {
        // As every kernel does: there is no type of keys without one of values.
        if (
          call.types !== undefined && call.types.key !== 0 && call.types.value === 0 && call.valueType === undefined
        ) {
          return fail(call, "EINVAL", call.attr.name)
        }
        const hasTypes = call.types !== undefined && bound.resolve(call.types.btf) !== undefined
        const types = hasTypes ? { key: call.types?.key ?? 0, value: call.types?.value ?? 0 } : undefined
        const handle = acquire(newMap(call.attr, types), `map ${call.attr.name}`)
        return options.mistake === "forgets to register maps" ? { result: undefined } : { result: undefined, handle }
      }),
    MapUpdate: (call, bound) =>
      onMap(call, bound, (map): undefined | KernelError => {
        if (map.frozen) return fail(call, "EPERM", map.attr.name)
        const bytes = call.value.bytes.slice()
        const view = new DataView(bytes.buffer)
        for (const { at, to } of call.value.refs) {
          const id = bound.resolve(to)?.object.id ?? 0
          if (id === 0) return fail(call, "EBADF", map.attr.name)
          view.setUint32(at, id, true)
        }
        if (call.key.length !== map.attr.keySize || bytes.length !== map.attr.valueSize) {
          return fail(call, "EINVAL", map.attr.name)
        }
        map.elements.set(hex(call.key), bytes)
        return undefined
      }),
    MapLookup: (call, bound) =>
      onMap(call, bound, (map) => {
        const found = map.elements.get(hex(call.key))
        return found?.slice() ?? (isArray(map.attr.type) ? new Uint8Array(map.attr.valueSize) : undefined)
      }),
    MapDelete: (call, bound) =>
      onMap(
        call,
        bound,
        (map): undefined | KernelError =>
          map.elements.delete(hex(call.key)) ? undefined : fail(call, "ENOENT", map.attr.name)
      ),
    MapLookupAndDelete: (call, bound) =>
      onMap(call, bound, (map): Uint8Array | undefined => {
        const found = map.elements.get(hex(call.key))
        map.elements.delete(hex(call.key))
        return found?.slice()
      }),
    // Kernels before 5.6 have no batches.
    MapLookupBatch: (call, bound) =>
      onMap(call, bound, (map): MapBatch | KernelError => fail(call, "EINVAL", map.attr.name)),
    MapUpdateBatch: (call, bound) =>
      onMap(call, bound, (map): undefined | KernelError => fail(call, "EINVAL", map.attr.name)),
    MapDeleteBatch: (call, bound) =>
      onMap(call, bound, (map): undefined | KernelError => fail(call, "EINVAL", map.attr.name)),
    MapNextKey: (call, bound) =>
      onMap(call, bound, (map) => {
        const keys = [...map.elements.keys()]
        const at = call.key === undefined ? -1 : keys.indexOf(hex(call.key))
        const next = keys[at + 1]
        return next === undefined ? undefined : new Uint8Array(Buffer.from(next, "hex"))
      }),
    MapFreeze: (call, bound) =>
      onMap(call, bound, (map): undefined => {
        map.frozen = true
        return undefined
      }),
    MapMmap: (call, bound) =>
      attempts(call, Ref.key(call.map), bound, () => {
        const bytes = new Uint8Array(call.length)
        const view = new DataView(bytes.buffer)
        return {
          result: {
            bytes,
            loadAcquire32: (offset: number) => view.getUint32(offset, true),
            loadAcquire64: (offset: number) => view.getBigUint64(offset, true),
            storeRelease64: (offset: number, value: bigint) => view.setBigUint64(offset, value, true)
          },
          handle: acquire({ _tag: "View", id: nextId++, bytes }, "view")
        }
      }),
    ViewWrite: (call, bound) =>
      attempts(call, Ref.key(call.view), bound, () => {
        const handle = bound.resolve(call.view)
        if (handle?.object._tag === "View") handle.object.bytes.set(call.bytes, call.offset)
        return { result: undefined }
      }),
    MapGetInfo: (call, bound) =>
      onMap(call, bound, (map): MapInfo => ({
        ...map.attr,
        id: map.id,
        btfId: 0,
        btfKeyTypeId: map.types?.key ?? 0,
        btfValueTypeId: map.types?.value ?? 0
      })),
    ProgStreamRead: (call, bound) => attempts(call, Ref.key(call.prog), bound, () => ({ result: new Uint8Array() })),
    StatsEnable: (call) => Effect.fail(fail(call, "EOPNOTSUPP", Ref.key(call.as))),
    // Nothing is ever committed, so nothing is ever ready.
    Wait: (call, bound) => attempts(call, call.refs.map(Ref.key).join(", "), bound, () => ({ result: [] })),
    ProgLoad: (call, bound) => {
      const made = (): LedgerProg => {
        const prog: LedgerProg = { _tag: "Prog", id: nextId++, attr: call.attr, bound: [] }
        programs.push(prog)
        return prog
      }
      const early = options.mistake === "acquires before the last attempt"
        ? acquire(made(), `program ${call.attr.name}`)
        : undefined
      return attempts(call, call.attr.name, bound, () => ({
        result: { log: "" },
        handle: early ?? acquire(made(), `program ${call.attr.name}`)
      }))
    },
    LoaderRun: (call, bound) =>
      attempts(call, Ref.key(call.prog), bound, () => ({
        result: { retval: 0, context: call.context, log: "" },
        published: call.publishes.map(({ as }) => {
          if (as._tag === "Map") return { ref: as, handle: acquire(newMap(plainMap, undefined), "published map") }
          const attr = { name: "published", type: 1, expectedAttachType: 0, license: "", kernelVersion: 0, flags: 0 }
          const prog: LedgerProg = { _tag: "Prog", id: nextId++, attr: { ...attr, ifindex: 0 }, bound: [] }
          programs.push(prog)
          return { ref: as, handle: acquire(prog, "published program") }
        })
      })),
    ProgBindMap: (call, bound) =>
      attempts(call, Ref.key(call.prog), bound, () => {
        progOf(bound, call.prog)?.bound.push(mapOf(bound, call.map)?.id ?? 0)
        return { result: undefined }
      }),
    ProgTestRun: (call, bound) =>
      attempts(call, Ref.key(call.prog), bound, () => ({
        result: { retval: 0, duration: 1, dataOut: new Uint8Array(), contextOut: new Uint8Array() }
      })),
    ProgGetInfo: (call, bound) =>
      attempts(call, Ref.key(call.prog), bound, () => {
        const prog = progOf(bound, call.prog)
        const none = { recordSize: 8, records: new Uint8Array() }
        return {
          result: {
            id: prog?.id ?? 0,
            type: prog?.attr.type ?? 0,
            name: prog?.attr.name ?? "",
            tag: "0000000000000000",
            gplCompatible: prog?.attr.license === "GPL",
            xlatedLength: 0,
            jitedLength: 0,
            mapIds: prog?.bound ?? [],
            btfId: 0,
            funcInfo: none,
            lineInfo: none,
            verifiedInstructions: 0,
            loadTime: 0n,
            createdByUid: 0,
            ifindex: 0,
            runTime: 0n,
            runCount: 0n,
            recursionMisses: 0n,
            attachBtfObjectId: 0,
            attachBtfId: 0
          }
        }
      }),
    BtfGetInfo: (call, bound) =>
      attempts(call, Ref.key(call.btf), bound, () => ({
        result: { id: bound.resolve(call.btf)?.object.id ?? 0, name: "", isKernels: false, size: 0 }
      })),
    IdNext: (call, bound) => attempts(call, call.kind, bound, () => ({ result: undefined })),
    GetById: (call, bound) =>
      attempts(call, String(call.id), bound, (): Done<void> | KernelError => fail(call, "ENOENT", String(call.id))),
    ObjPin: (call, bound) =>
      attempts(call, call.path, bound, (): Done<void> | KernelError => {
        if (pins.has(call.path)) return fail(call, "EEXIST", call.path)
        const object = bound.resolve(call.object)?.object
        if (object === undefined) return fail(call, "EBADF", call.path)
        pins.set(call.path, object)
        entries.push({ _tag: "Pin", path: call.path })
        if (options.mistake === "forgets to unpin") return { result: undefined }
        return {
          result: undefined,
          undo: Effect.sync(() => {
            pins.delete(call.path)
            entries.push({ _tag: "Unpin", path: call.path })
          })
        }
      }),
    ObjUnpin: (call, bound) =>
      attempts(call, call.path, bound, (): Done<void> | KernelError => {
        if (!pins.delete(call.path)) return fail(call, "ENOENT", call.path)
        entries.push({ _tag: "Unpin", path: call.path })
        return { result: undefined }
      }),
    ObjGet: (call, bound) =>
      attempts(call, call.path, bound, (): Done<void> | KernelError => {
        const object = pins.get(call.path)
        if (object === undefined) return fail(call, "ENOENT", call.path)
        return { result: undefined, handle: acquire(object, `pin ${call.path}`) }
      }),
    ...refusing((call) => Effect.fail(fail(call, "EOPNOTSUPP", call._tag)))
  }

  const backend: Session.Backend<LedgerHandle> = {
    handlers,
    release: (handle, ref) =>
      Effect.sync(() => {
        const times = options.mistake === "releases programs twice" && handle.object._tag === "Prog" ? 2 : 1
        for (let time = 0; time < times; time++) {
          entries.push({ _tag: "Release", handle: handle.number, what: Ref.key(ref) })
        }
      }),
    borrow: (handle) =>
      Effect.suspend((): Effect.Effect<LedgerHandle, CallError> => {
        const object = [...maps, ...programs].find((each) => each.id === handle.fd && each._tag === handle.kind)
        return object === undefined
          ? Effect.fail(
            new KernelError({ call: "adopt", errno: "EBADF", errnoNumber: 9, subject: `descriptor ${handle.fd}` })
          )
          : Effect.succeed({ number: -handle.fd, object, borrowed: true })
      }),
    concurrency: options.concurrency ?? 1
  }

  const answers = (requirements: ReadonlyArray<KernelInfo.Requirement>): KernelInfo.Answers => {
    const kconfig = new Map<string, KernelInfo.Fact<KernelInfo.KconfigValue>>()
    const features = new Map<KernelInfo.Feature, KernelInfo.Fact<KernelInfo.Support>>()
    const symbols = new Map<string, KernelInfo.Fact<KernelInfo.SymbolAddress>>()
    const plain: { -readonly [Name in "pageSize" | "possibleCpus" | "kernelVersion"]?: KernelInfo.Fact<number> } = {}
    const types: { -readonly [Name in "vmlinuxTypes" | "moduleTypes"]?: typeof KernelInfo.deferred } = {}
    for (const requirement of requirements) {
      asked.push(requirement)
      if (options.silentOn?.includes(requirement._tag)) continue
      switch (requirement._tag) {
        case "PageSize":
          plain.pageSize = KernelInfo.known(options.pageSize ?? 4096)
          break
        case "PossibleCpus":
          plain.possibleCpus = KernelInfo.known(options.possibleCpus ?? 4)
          break
        case "KernelVersion":
          plain.kernelVersion = KernelInfo.known(options.kernelVersion ?? 0x06_12_05)
          break
        case "Kconfig":
          kconfig.set(requirement.key, KernelInfo.known((options.kconfig ?? defaultKconfig).get(requirement.key)))
          break
        case "Feature":
          features.set(
            requirement.feature,
            KernelInfo.known(KernelInfo.supportOf(options.features?.get(requirement.feature) ?? true))
          )
          break
        case "Symbol":
          symbols.set(requirement.name, KernelInfo.known((options.symbols ?? defaultSymbols).get(requirement.name)))
          break
        case "VmlinuxTypes":
          types.vmlinuxTypes = KernelInfo.deferred
          break
        case "ModuleTypes":
          types.moduleTypes = KernelInfo.deferred
          break
      }
    }
    return { ...plain, ...types, kconfig, features, symbols }
  }

  return {
    kernel: {
      name: "ledger",
      info: Effect.succeed(
        KernelInfo.make({ release: "6.18.5", architecture: "x64", byteOrder: options.byteOrder ?? "little" })
      ),
      ask: (requirements) => Effect.sync(() => answers(requirements)),
      session: (sessionOptions) => Session.make(backend, sessionOptions)
    },
    entries,
    pins,
    maps,
    programs,
    asked,
    mark: (text) => {
      entries.push({ _tag: "Mark", text })
    },
    pinMap: (path, attr) => {
      const map = newMap({ ...plainMap, ...attr }, undefined)
      pins.set(path, map)
      return map
    }
  }
}

/** The symbols of the kernel, as far as fixtures refer to them. */
const defaultSymbols: ReadonlyMap<string, bigint> = new Map([["schedule", 0xffff_ffff_8100_0000n]])

/** The options that the fixtures ask for. */
export const defaultKconfig: ReadonlyMap<string, string> = new Map([
  ["CONFIG_HZ", "250"],
  ["CONFIG_BPF_SYSCALL", "y"],
  ["CONFIG_NET", "y"],
  ["CONFIG_BPF_JIT", "y"],
  ["CONFIG_CC_VERSION_TEXT", "\"gcc (Debian 14.2.0) 14.2.0\""]
])

/**
 * What is wrong with the books of a session that is over, as text for people; empty when all is in order: everything
 * acquired was released exactly once, what was left when the mark `end` was made in reverse order of its acquisition, and
 * pins that the session made are gone, unless `committed`.
 */
export const faults = (ledger: Ledger, committed: boolean): ReadonlyArray<string> => {
  const found: Array<string> = []
  /** What is to be undone, in the order in which it was done: handles by number, pins by path. */
  const open: Array<number | string> = []
  let ended = false
  const undo = (what: number | string, text: string): void => {
    const at = open.lastIndexOf(what)
    if (at < 0) {
      found.push(`${text} was undone, but is not there`)
      return
    }
    if (ended && at !== open.length - 1) found.push(`${text} was undone before ${String(open.at(-1))}`)
    open.splice(at, 1)
  }
  for (const entry of ledger.entries) {
    switch (entry._tag) {
      case "Acquire":
        if (ended) found.push(`${entry.what} was acquired after the end`)
        open.push(entry.handle)
        break
      case "Release":
        undo(entry.handle, `handle ${entry.handle} (${entry.what})`)
        break
      case "Pin":
        if (!committed) open.push(entry.path)
        break
      case "Unpin":
        undo(entry.path, entry.path)
        break
      case "Mark":
        ended ||= entry.text === "end"
        break
    }
  }
  for (const left of open) {
    found.push(typeof left === "number" ? `handle ${left} was never released` : `${left} is still pinned`)
  }
  return found
}
