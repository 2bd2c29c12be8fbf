/**
 * A kernel that does nothing but remember: what it was asked to do becomes a loader program, which does it later.
 *
 * Nothing is known of the kernel that the loader will run on, so every question is answered with `Deferred`, unless the
 * recording is for the kernel of a profile. Calls that need an answer now, and those that a program inside the kernel may not
 * make, are `UnsupportedCall`; in an optional step of a plan that is a note of the loader, in a required one it is the end of
 * the recording.
 *
 * A loader has no fallbacks: each call that was recorded is required when it runs, those of optional steps included.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { assemble, type AssembleError, type AssembleOptions } from "../../stages/gen/Assemble.ts"
import type { LoaderProgram, Signed } from "../../stages/gen/LoaderProgram.ts"
import * as PlanCalls from "../../stages/gen/PlanCalls.ts"
import * as Recordable from "../../stages/gen/assemble/Recordable.ts"
import * as Execute from "../../stages/load/Execute.ts"
import type { BpfObject } from "../../stages/open/BpfObject.ts"
import type { PlannedObject } from "../../stages/load/Plan.ts"
import * as Errno from "./abi/Errno.ts"
import { refusing } from "./calls/Attaching.ts"
import { Kernel, type KernelShape } from "./Kernel.ts"
import type { CallTag, KernelCall, MapAttributes, Results } from "./KernelCall.ts"
import { type CallError, fromErrno, UnsupportedCall } from "./KernelError.ts"
import * as KernelInfo from "./KernelInfo.ts"
import * as KernelProfile from "./KernelProfile.ts"
import type * as Ref from "./Ref.ts"
import * as Session from "./Session.ts"

/** What a ref stands for while a loader is recorded: maps are remembered for the sizes of their keys and values. */
type Handle =
  | { readonly _tag: "Map"; readonly attr: MapAttributes }
  | { readonly _tag: "Btf" | "Prog" }
  /** A program that is loaded already: whoever runs the loader has it, by whatever name it goes there. */
  | { readonly _tag: "Lent" }

/** A kernel that records one session, and what it has recorded. */
export interface Recording {
  readonly kernel: KernelShape
  /** The loader of the calls that were made so far. */
  readonly loader: Effect.Effect<LoaderProgram, AssembleError>
}

/** The complaint about a call as a kernel makes it. */
const errorOf = ({ call, detail, hint, name, reason }: AssembleError): CallError =>
  reason === "Unsupported"
    ? new UnsupportedCall({
      call,
      kernel: "recording",
      detail: `cannot make this call on ${name}: ${detail}`,
      ...(hint === undefined ? {} : { hint })
    })
    : fromErrno(call, name, Errno.numbers.EINVAL, { hint: detail })

/** Every question is left for the time when the loader runs. */
const later = (requirements: ReadonlyArray<KernelInfo.Requirement>): KernelInfo.Answers => {
  const { deferred } = KernelInfo
  const asked = (tag: KernelInfo.Requirement["_tag"]): boolean => requirements.some(({ _tag }) => _tag === tag)
  return {
    ...(asked("PageSize") ? { pageSize: deferred } : {}),
    ...(asked("PossibleCpus") ? { possibleCpus: deferred } : {}),
    ...(asked("KernelVersion") ? { kernelVersion: deferred } : {}),
    ...(asked("VmlinuxTypes") ? { vmlinuxTypes: deferred } : {}),
    ...(asked("ModuleTypes") ? { moduleTypes: deferred } : {}),
    kconfig: new Map(requirements.flatMap((each) => each._tag === "Kconfig" ? [[each.key, deferred]] : [])),
    features: new Map(requirements.flatMap((each) => each._tag === "Feature" ? [[each.feature, deferred]] : [])),
    symbols: new Map(requirements.flatMap((each) => each._tag === "Symbol" ? [[each.name, deferred]] : []))
  }
}

/**
 * What a profile knows is decided now, and the rest when the loader runs. Addresses are never taken from a profile: they are
 * others after each start of a kernel.
 */
const baked = (
  profile: KernelProfile.KernelProfile
): (requirements: ReadonlyArray<KernelInfo.Requirement>) => KernelInfo.Answers => {
  const answers = KernelProfile.answers(profile)
  return (requirements) =>
    KernelInfo.together(requirements.map((requirement) => {
      const known = requirement._tag === "Symbol" ? undefined : answers([requirement])
      if (known === undefined || Result.isFailure(known)) return later([requirement])
      return known.success
    }))
}

/** What has been recorded so far. */
interface Tape {
  readonly calls: Array<KernelCall>
  readonly notes: Array<string>
}

/** The backend of a session that records. `isOver` tells whether its scope closes, which is no call of the loader. */
const backendOf = (tape: Tape, isOver: () => boolean, listed: AssembleOptions["listed"]): Session.Backend<Handle> => {
  const nameOf = ({ _tag, index }: Ref.Ref): string | undefined =>
    (_tag === "Map" ? listed?.maps : _tag === "Prog" ? listed?.programs : undefined)?.find(({ ref }) => ref === index)
      ?.name
  /** Records a call, or says why it cannot be. */
  const record = <A>(
    call: KernelCall,
    bound: Session.Bound<Handle>,
    performed: Session.Performed<Handle, A>
  ): Effect.Effect<Session.Performed<Handle, A>, CallError> =>
    bound.attempt(
      0,
      undefined,
      Effect.suspend(() => {
        const complaint = Recordable.complaint(call, (ref) => {
          const handle = bound.resolve(ref)
          return handle?._tag === "Map" ? handle.attr : undefined
        }, nameOf)
        if (complaint === undefined) {
          tape.calls.push(call)
          return Effect.succeed(performed)
        }
        if (complaint.reason === "Unsupported") tape.notes.push(`left out: ${complaint.message}`)
        return Effect.fail(errorOf(complaint))
      })
    )
  const done = { result: undefined }
  const lent = (bound: Session.Bound<Handle>): Effect.Effect<Session.Performed<Handle, void>, CallError> =>
    bound.attempt(0, undefined, Effect.succeed({ ...done, handle: { _tag: "Lent" } as const }))
  /** The handler of a call that no loader makes. */
  const never = <T extends CallTag>() => (call: KernelCall & { readonly _tag: T }, bound: Session.Bound<Handle>) =>
    Effect.flatMap(
      record(call, bound, done),
      (): Effect.Effect<Session.Performed<Handle, Results[T]>, CallError> =>
        Effect.fail(new UnsupportedCall({ call: call._tag, kernel: "recording", detail: "has no answer to this call" }))
    )
  return {
    handlers: {
      BtfLoad: (call, bound) => record(call, bound, { ...done, handle: { _tag: "Btf" } }),
      MapCreate: (call, bound) => record(call, bound, { ...done, handle: { _tag: "Map", attr: call.attr } }),
      MapUpdate: (call, bound) => record(call, bound, done),
      MapFreeze: (call, bound) => record(call, bound, done),
      ProgLoad: (call, bound) => record(call, bound, { result: { log: "" }, handle: { _tag: "Prog" } }),
      MapLookup: never(),
      MapDelete: (call, bound) => record(call, bound, done),
      MapNextKey: never(),
      MapLookupAndDelete: never(),
      MapLookupBatch: never(),
      MapUpdateBatch: never(),
      MapDeleteBatch: never(),
      MapMmap: never(),
      ViewWrite: never(),
      MapGetInfo: never(),
      ProgBindMap: never(),
      ProgTestRun: never(),
      LoaderRun: never(),
      ProgGetInfo: never(),
      ProgStreamRead: never(),
      StatsEnable: never(),
      BtfGetInfo: never(),
      IdNext: never(),
      GetById: (call, bound) => call.as._tag === "Prog" ? lent(bound) : never<"GetById">()(call, bound),
      ObjPin: never(),
      ObjUnpin: never(),
      Wait: never(),
      ObjGet: (call, bound) => call.as._tag === "Prog" ? lent(bound) : never<"ObjGet">()(call, bound),
      ...refusing((call) => {
        const complaint = Recordable.complaint(call, () => undefined)
        if (complaint === undefined) return Effect.die(new Error(`a loader cannot make the call ${call._tag}`))
        tape.notes.push(`left out: ${complaint.message}`)
        return Effect.fail(errorOf(complaint))
      })
    },
    // A `Close` of the plan is one of the loader; what ends with the session is handed out by it instead.
    release: (handle, ref) =>
      Effect.sync(() => {
        if (!isOver() && handle._tag !== "Lent") tape.calls.push({ _tag: "Close", ref })
      }),
    borrow: ({ fd, kind }) =>
      kind === "Prog" ? Effect.succeed({ _tag: "Lent" }) : Effect.fail(
        new UnsupportedCall({
          call: "adopt",
          kernel: "recording",
          detail: `cannot take descriptor ${fd} along: a loader runs later, elsewhere`
        })
      ),
    // A loader makes its calls in listed order.
    concurrency: 1,
    takesPending: true
  }
}

/** How a loader is recorded. */
export interface RecordingOptions extends Omit<AssembleOptions, "notes" | "signed"> {
  /**
   * A kernel that plans are made for as far as it is known: what the profile has is decided when the plan is made, and is then
   * in the loader, which suits that kernel and those like it. CO-RE relocations are applied, configuration and sizes are fixed,
   * what the kernel lacks is left out.
   */
  readonly profile?: KernelProfile.KernelProfile
  /** What of the loader will be signed; `true` stands for instructions and data. It takes then neither changes nor inputs. */
  readonly signed?: boolean | Signed["covers"]
}

/** The options as the assembler has them. */
const assembleOptions = (
  { byteOrder, listed, logLevel, signed }: RecordingOptions
): AssembleOptions => ({
  ...(byteOrder === undefined ? {} : { byteOrder }),
  ...(listed === undefined ? {} : { listed }),
  ...(logLevel === undefined ? {} : { logLevel }),
  ...(signed === undefined || signed === false ? {} : { signed: signed === true ? "insns_and_data" : signed })
})

/** Starts a recording. Its kernel has one session. */
export const makeWith = (options: RecordingOptions = {}): Effect.Effect<Recording> =>
  Effect.sync(() => {
    const tape: Tape = { calls: [], notes: [] }
    const { listed } = options
    const answers = options.profile === undefined ? later : baked(options.profile)
    const { architecture, byteOrder, release } = options.profile ??
      { architecture: "", byteOrder: "little" as const, release: "" }
    let opened = false
    const session: KernelShape["session"] = Effect.fnUntraced(function*(options) {
      if (opened) {
        return yield* fromErrno("session", "the recording kernel", Errno.numbers.EBUSY, {
          hint: "a recording is one session; make another recording"
        })
      }
      if (options?.token !== undefined && options.token !== "default") {
        return yield* fromErrno("session", "the recording kernel", Errno.numbers.EOPNOTSUPP, {
          hint: "a loader has no use for a BPF token: it runs with the rights of the program that loads it"
        })
      }
      opened = true
      const scope = yield* Effect.scope
      const backend = backendOf(tape, () => scope.state._tag === "Closed", listed)
      return yield* Session.make(backend, options)
    })
    return {
      kernel: {
        name: "recording",
        info: Effect.succeed(KernelInfo.make({ release, architecture, byteOrder: options.byteOrder ?? byteOrder })),
        ask: (requirements) => Effect.sync(() => answers(requirements)),
        session
      },
      loader: Effect.suspend(() =>
        Effect.fromResult(assemble(tape.calls, { ...assembleOptions(options), notes: tape.notes }))
      )
    }
  })

/** Starts a recording of a loader for little-endian machines. */
export const make: Effect.Effect<Recording> = makeWith()

/** What of an object the context of its loader speaks of: all of it, whether or not it is loaded. */
const listedOf = ({ maps, programs }: BpfObject): NonNullable<AssembleOptions["listed"]> => ({
  maps: maps.map(({ attr, name }, ref) => ({ name, ref, maxEntries: attr.maxEntries })),
  programs: programs.flatMap(({ entry, name }, ref) => entry ? [{ name, ref }] : [])
})

/**
 * The loader program of a plan: executes the plan on a recording kernel. Its context speaks of all of the object's maps and
 * programs, in the object's order; what the plan leaves out keeps its place, which stays empty.
 */
export const record = Effect.fnUntraced(function*(
  planned: PlannedObject,
  options: RecordingOptions = {}
): Effect.fn.Return<LoaderProgram, Execute.ExecuteError | AssembleError> {
  const { object } = planned
  const whole = { byteOrder: object.byteOrder, listed: listedOf(object), ...options }
  const made = PlanCalls.of(planned.plan)
  if (made !== undefined) {
    return yield* Effect.fromResult(assemble(made.calls, { ...assembleOptions(whole), notes: made.notes }))
  }
  const recording = yield* makeWith(whole)
  yield* Effect.scoped(Execute.toLoaded(planned)).pipe(Effect.provideService(Kernel, recording.kernel))
  return yield* recording.loader
})
