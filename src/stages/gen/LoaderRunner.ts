/**
 * Runs a loader program in a session of a kernel that runs loaders itself: its data in a map, itself loaded with that map,
 * run once. Light skeletons are made of this module: it knows neither ELF nor BTF, and no virtual machine.
 *
 * Source: reference page `gen-loader`, section 10.
 */
import * as Effect from "effect/Effect"
import * as VerifierLog from "../../diagnostics/VerifierLog.ts"
import * as Insn from "../../insn/Insn.ts"
import { sha256 } from "../../internal/Sha256.ts"
import { hostIsLittle } from "../../services/Kernel/abi/Arena.ts"
import {
  BPF_LOG_BUF_MAX,
  MapType,
  PROG_LOAD_ATTEMPTS,
  ProgFlag,
  ProgType
} from "../../services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../services/Kernel/abi/Errno.ts"
import { general } from "../../services/Kernel/abi/Hints.ts"
import type { Lent, LoaderMemory, ProgSignature } from "../../services/Kernel/calls/LoaderCalls.ts"
import type { Session } from "../../services/Kernel/Kernel.ts"
import { type CallError, VerifierError } from "../../services/Kernel/KernelError.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import { LoaderError, LoaderOptionsError } from "./LoaderError.ts"
import * as Layout from "./LoaderLayout.ts"
import * as LoaderProgram from "./LoaderProgram.ts"

/** What a map is to be like instead of what the loader says. */
export interface MapOverride {
  readonly maxEntries?: number
  /** As many bytes as the map's value has. */
  readonly initialValue?: Uint8Array
}

/** How a loader is run. */
export interface RunnerOptions {
  /** Changes to maps, by their numbers in the loader. A signed loader takes none. */
  readonly maps?: ReadonlyMap<number, MapOverride>
  /** How much the verifier is asked to say: bits 1, 2, 4. By default it is asked when the load has failed, by a second run. */
  readonly logLevel?: number
  /** 32-bit words by their offsets in the context: what the loader is told of the machine. */
  readonly words?: ReadonlyMap<number, number>
  /** Functions of programs of the session that the loader's own are for, by where the context has them. */
  readonly lends?: ReadonlyArray<Lent>
  /** The signature over the loader, for kernels that want one. */
  readonly signature?: ProgSignature
}

/** What a run has made. It belongs to the session, under the refs of the plan. */
export interface Ran {
  /** By the maps' and programs' numbers in the loader; `undefined` where the loader publishes none. */
  readonly maps: ReadonlyArray<Ref.MapRef | undefined>
  readonly programs: ReadonlyArray<Ref.ProgRef | undefined>
  /** The verifier's words, empty when they were not asked for. */
  readonly log: string
}

/** Refs of the loader itself: beyond those of any plan. */
const loaderMap = Ref.map(0x3fff_ffff)
const loaderProg = Ref.prog(0x3fff_ffff)

/** What is wrong with a run of this loader on a kernel of this byte order, with the changes that it asks for. */
export const complaint = (
  { byteOrder, maps: listed, signed }: Pick<LoaderProgram.LoaderProgram, "byteOrder" | "maps" | "signed">,
  { maps }: RunnerOptions,
  host: LoaderProgram.LoaderProgram["byteOrder"]
): LoaderOptionsError | undefined => {
  if (byteOrder !== host) {
    return new LoaderOptionsError({
      reason: "ByteOrder",
      detail: `it is for ${byteOrder}-endian machines, and this one is ${host}-endian`,
      hint: "record the object that was compiled for this machine"
    })
  }
  for (const [number, { initialValue, maxEntries }] of maps ?? []) {
    const map = listed[number]
    const refuse = (reason: LoaderOptionsError["reason"], detail: string, hint?: string): LoaderOptionsError =>
      new LoaderOptionsError({
        reason,
        map: map?.name ?? String(number),
        detail,
        ...(hint === undefined ? {} : { hint })
      })
    if (map === undefined) return refuse("UnknownMap", `the loader has ${listed.length} maps`)
    if (signed !== undefined) {
      return refuse("Signed", "a signed loader takes no changes", "make the changes to the object, and sign its loader")
    }
    if (maxEntries !== undefined && !(Number.isInteger(maxEntries) && maxEntries > 0 && maxEntries <= 0xffff_ffff)) {
      return refuse("BadNumber", `${maxEntries} is no number of elements`)
    }
    if (initialValue === undefined) continue
    if (map.initialValue === undefined) return refuse("NoInitialValue", "it has no initial value to replace")
    if (initialValue.length !== map.initialValue.size) {
      return refuse("InitialValueSize", `its value has ${map.initialValue.size} bytes, not ${initialValue.length}`)
    }
  }
  return undefined
}

/** The session, with the loader's data in a map that only the loader may use when it is signed. */
const loadData = Effect.fnUntraced(function*(session: Session, loader: LoaderProgram.LoaderProgram, signed: boolean) {
  yield* session.call({
    _tag: "MapCreate",
    as: loaderMap,
    attr: {
      name: Layout.LOADER_MAP_NAME,
      type: MapType.BPF_MAP_TYPE_ARRAY,
      keySize: 4,
      valueSize: loader.data.length,
      maxEntries: 1,
      flags: 0,
      numaNode: 0,
      ifindex: 0,
      extra: 0n
    },
    ...(signed ? { exclusiveTo: { prog: loaderProg, hash: sha256(loader.insns) } } : {})
  })
  const value = { bytes: loader.data, refs: [] }
  yield* session.call({ _tag: "MapUpdate", map: loaderMap, key: new Uint8Array(4), value, flags: 0n })
  yield* session.call({ _tag: "MapFreeze", map: loaderMap })
  // In the older form the loader compares the digest of its data, which the kernel only has when somebody has asked for it.
  if (loader.signed?.covers === "insns") yield* session.call({ _tag: "MapGetInfo", map: loaderMap, digest: true })
})

/** Bytes of log: what the kernel takes at most, since there is no telling how much it will say. */
const LOG_SIZE = Math.min(BPF_LOG_BUF_MAX, 0xff_ffff)

/** What a loader left: what it returned, and the log. */
interface Left {
  readonly retval: number
  readonly log: string
}

/** Runs a loader whose data and program are in the kernel. */
const runLoaded = Effect.fnUntraced(function*(
  session: Session,
  loader: LoaderProgram.LoaderProgram,
  options: RunnerOptions,
  level: number
): Effect.fn.Return<Left, CallError> {
  const memory: Array<LoaderMemory> = []
  for (const [number, { initialValue }] of options.maps ?? []) {
    const at = Layout.contextMap(number) + Layout.MapDescriptor.INITIAL_VALUE
    if (initialValue !== undefined) memory.push({ at, bytes: initialValue })
  }
  const maps = new Map(
    [...options.maps ?? []].map(([number, { maxEntries }]) => [number, maxEntries === undefined ? {} : { maxEntries }])
  )
  const log = level > 0 ? { address: 0n, size: LOG_SIZE, level } : undefined
  return yield* session.call({
    _tag: "LoaderRun",
    prog: loaderProg,
    context: LoaderProgram.context(loader, {
      maps,
      ...(log === undefined ? {} : { log }),
      ...(options.words === undefined ? {} : { words: options.words })
    }),
    memory,
    ...(options.lends === undefined ? {} : { lends: options.lends }),
    ...(log === undefined ? {} : { log: { at: Layout.Context.LOG_BUF, size: LOG_SIZE } }),
    publishes: [
      ...loader.maps.flatMap(({ contextOffset, published, ref }) =>
        published ? [{ at: contextOffset + Layout.MapDescriptor.MAP_FD, as: Ref.map(ref) }] : []
      ),
      ...loader.programs.flatMap(({ contextOffset, published, ref }) =>
        published ? [{ at: contextOffset, as: Ref.prog(ref) }] : []
      )
    ]
  })
})

/** What the kernel means that does not take a signature. */
const signatureHint = (errno: Errno.Errno): string | undefined => {
  switch (errno) {
    case "EOPNOTSUPP":
      return "this kernel checks no signatures: it was built without CONFIG_SYSTEM_DATA_VERIFICATION; run the loader unsigned"
    case "EKEYREJECTED":
    case "EBADMSG":
      return "the signature is not one of this loader: it was changed, or signed in the other form"
    case "ENOKEY":
      return "the keyring has no certificate for the key that signed the loader"
    case "EINVAL":
      return "the kernel does not take the signature: it is too long, the keyring does not exist, or the kernel is too old"
    default:
      return undefined
  }
}

/** A refusal of a signed loader, with what it means. */
const explained = (error: CallError): CallError => {
  const hint = error._tag === "VerifierError" && error.log === "" ? signatureHint(error.errno) : undefined
  if (hint === undefined || error._tag !== "VerifierError") return error
  const { capabilities, errno, errnoNumber, log, program, reason, summary } = error
  return new VerifierError({
    program,
    errno,
    errnoNumber,
    log,
    summary,
    hint,
    ...(reason === undefined ? {} : { reason }),
    ...(capabilities === undefined ? {} : { capabilities })
  })
}

/** One run, from nothing. The loader itself is gone afterwards. */
const runOnce = (
  session: Session,
  loader: LoaderProgram.LoaderProgram,
  options: RunnerOptions,
  level: number
): Effect.Effect<Left, CallError> => {
  const signature = options.signature
  return Effect.ensuring(
    Effect.gen(function*() {
      yield* loadData(session, loader, signature !== undefined || loader.signed !== undefined)
      const load = session.call({
        _tag: "ProgLoad",
        as: loaderProg,
        attr: {
          name: Layout.LOADER_PROGRAM_NAME,
          type: ProgType.BPF_PROG_TYPE_SYSCALL,
          expectedAttachType: 0,
          license: loader.license,
          kernelVersion: 0,
          flags: ProgFlag.BPF_F_SLEEPABLE,
          ifindex: 0
        },
        code: { insns: Insn.fromByteOrder(loader.insns, loader.byteOrder), refs: [] },
        fdArray: [loaderMap],
        ...(signature === undefined ? {} : { signature }),
        log: { level: 0 }
      })
      yield* signature === undefined ? load : Effect.mapError(load, explained)
      return yield* runLoaded(session, loader, options, level)
    }),
    // What was not made, or is closed by the end of the session, cannot be closed.
    Effect.andThen(
      Effect.ignore(session.call({ _tag: "Close", ref: loaderProg })),
      Effect.ignore(session.call({ _tag: "Close", ref: loaderMap }))
    )
  )
}

/** A loader's failure. */
export const failure = (retval: number, log: string): LoaderError => {
  const errno = Errno.fromNumber(-retval)
  const hint = VerifierLog.meaning(log) ?? general(errno)
  return new LoaderError({
    errno,
    errnoNumber: -retval,
    log,
    summary: VerifierLog.summarise(log),
    ...(hint === undefined ? {} : { hint })
  })
}

/** Error numbers that have nothing to do with what a verifier says. */
const unexplained: ReadonlySet<Errno.Errno> = new Set(["EAGAIN", "ENOMEM", "EMFILE", "ENFILE", "EINTR"])

/**
 * Runs a loader in a session. The kernel gives up verifying with `EAGAIN` when a signal is pending, which it stays until
 * the loader has returned: so the loader is then run again, on fresh data. A loader that fails without a log having been
 * asked for is run once more for the log.
 */
export const run = Effect.fnUntraced(function*(
  session: Session,
  loader: LoaderProgram.LoaderProgram,
  options: RunnerOptions = {}
): Effect.fn.Return<Ran, CallError | LoaderError | LoaderOptionsError> {
  const refused = complaint(loader, options, hostIsLittle ? "little" : "big")
  if (refused !== undefined) return yield* refused
  const asked = options.logLevel ?? 0
  const persistent = Effect.fnUntraced(function*(level: number): Effect.fn.Return<Left, CallError> {
    let left: Left
    let attempts = PROG_LOAD_ATTEMPTS
    do left = yield* runOnce(session, loader, options, level)
    while (left.retval === -Errno.numbers.EAGAIN && --attempts > 0)
    return left
  })
  let left = yield* persistent(asked)
  if (left.retval < 0 && asked === 0 && !unexplained.has(Errno.fromNumber(-left.retval))) left = yield* persistent(1)
  if (left.retval !== 0) return yield* failure(left.retval > 0 ? -Errno.numbers.EPROTO : left.retval, left.log)
  const existing = <R extends Ref.MapRef | Ref.ProgRef>(ref: R): R | undefined =>
    session.exists(ref) ? session.stamp(ref) : undefined
  return {
    maps: loader.maps.map(({ published, ref }) => published ? existing(Ref.map(ref)) : undefined),
    programs: loader.programs.map(({ published, ref }) => published ? existing(Ref.prog(ref)) : undefined),
    log: left.log
  }
})
