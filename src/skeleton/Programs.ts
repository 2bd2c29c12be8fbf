/**
 * The programs of a skeleton: what can be said of them before the load, and what can be done with them afterwards.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { type AttachFailure, refuse } from "../attach/AttachError.ts"
import type { Link } from "../attach/Link.ts"
import { type Codec, type CodecError, sizeError } from "../btf/Codec.ts"
import type { Kernel } from "../services/Kernel/Kernel.ts"
import type { CallError } from "../services/Kernel/KernelError.ts"
import type { ProgRef } from "../services/Kernel/Ref.ts"
import type { LoadedObject } from "../stages/load/Execute.ts"
import { type BpfObject, findProgram } from "../stages/open/BpfObject.ts"
import * as Edit from "../stages/open/Edit.ts"
import type { TestingError } from "../testing/TestingError.ts"
import * as TestRun from "../testing/TestRun.ts"
import { bytesContext, type ContextCodec, type Kind } from "./Kinds.ts"

/** What can be changed of a program before the load. */
export interface ProgramSettings {
  /** Whether the load takes it. */
  autoload: boolean
  /** The kernel's function, tracepoint or hook that it is loaded for, as behind the slash of its section's name. */
  attachTarget: string | undefined
  /** The program whose function it is loaded for (`freplace`, `fentry`, `fexit`), where that is none of the kernel's. */
  attachTo: Edit.AttachTo | undefined
  /** What the verifier is asked to say: 0 nothing, 1 basic, 2 verbose, 4 statistics. */
  logLevel: number
  /** The network device that it is loaded for, by its number; 0 for none. */
  ifindex: number
}

/** A program before the load. What is assigned here counts when it is loaded. */
export interface OpenedProgram extends ProgramSettings {
  readonly name: string
  /** What SEC() says, without a leading `?`. */
  readonly section: string
}

/** What a program is run on with `PROG_TEST_RUN`. All of it may be left out. */
export interface RunInput<out C> {
  /** The packet, from its Ethernet header on. */
  readonly packet?: Uint8Array
  readonly context?: C
  /** Times to run; default once. */
  readonly repeat?: number
  /** `BPF_F_TEST_*`; default 0. */
  readonly flags?: number
  /** With `BPF_F_TEST_RUN_ON_CPU`: where; default 0. */
  readonly cpu?: number
}

/** What a run came to. */
export interface RunOutput<out C> {
  /** Unsigned 32 bits. */
  readonly retval: number
  /** The name of the return value, where the program's type gives it one: `XDP_DROP`, `TC_ACT_OK`. */
  readonly action: string | undefined
  /** The packet as the program left it; empty without one. */
  readonly packet: Uint8Array
  /** The context as the program left it; `undefined` where none came back. */
  readonly context: C | undefined
  /** Mean nanoseconds of a run. */
  readonly duration: number
}

/** Why a program was not run. */
export type RunError = CallError | TestingError | CodecError

/** A program of a loaded object. `C` is the type of its context in test runs. */
export interface Runnable<in out C = Uint8Array> {
  readonly name: string
  readonly section: string
  /** The program in its session; `undefined` where the load did not take it. */
  readonly ref: ProgRef | undefined
  /** Runs it on a packet and context given. */
  readonly run: (input?: RunInput<C>) => Effect.Effect<RunOutput<C>, RunError>
}

/** A program that is attached to what its user says. */
export interface Attachable<in O, in out C = Uint8Array> extends Runnable<C> {
  /** Attaches it for as long as the scope. */
  readonly attach: (target: O) => Effect.Effect<Link, AttachFailure, Kernel | Scope.Scope>
}

/** A program whose section says to what it is attached. */
export interface SelfAttaching<in O, in out C = Uint8Array> extends Runnable<C> {
  /** Attaches it for as long as the scope; what is given counts instead of what its section says. */
  readonly attach: (target?: Partial<O>) => Effect.Effect<Link, AttachFailure, Kernel | Scope.Scope>
}

/** Any program of a loaded object. */
export interface AnyProgram extends Pick<Runnable, "name" | "ref" | "section"> {
  readonly attach?: (target: never) => Effect.Effect<Link, AttachFailure, Kernel | Scope.Scope>
}

/** How a skeleton makes the handle of a program when the object is loaded. */
export interface ProgramDescription<out P> {
  /** What it is called in C. */
  readonly name: string
  readonly make: (loaded: LoadedObject) => P
}

/** Contexts of a type of the object's. */
const typed = <C>(codec: Codec<C>): ContextCodec<C> => ({
  encode: codec.encode,
  decode: (bytes) =>
    bytes.length < codec.size
      ? Result.fail(sizeError(codec, bytes.length))
      : Result.succeed(codec.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0))
})

const runner = <C>(loaded: LoadedObject, name: string, context: ContextCodec<C>): Runnable<C> => {
  const run = TestRun.run(loaded)
  return {
    name,
    section: findProgram(loaded.object, name)?.section ?? "",
    ref: loaded.program(name),
    run: Effect.fnUntraced(function*(input: RunInput<C> = {}): Effect.fn.Return<RunOutput<C>, RunError> {
      const { context: given, ...rest } = input
      const encoded = given === undefined ? undefined : yield* Effect.fromResult(context.encode(given))
      const ran = yield* run(name, { ...rest, ...(encoded === undefined ? {} : { context: encoded }) })
      const { action, contextBytes, duration, packet, retval } = ran
      const back = contextBytes.length === 0 ? undefined : yield* Effect.fromResult(context.decode(contextBytes))
      return { retval, action, packet, context: back, duration }
    })
  }
}

const attacher = <O, C>(loaded: LoadedObject, name: string, kind: Kind<O, C>) => (options: O) => {
  const program = findProgram(loaded.object, name)
  return program === undefined
    ? Effect.fail(refuse({ kind: kind.name, target: "", program: name }, "NoSuchProgram", "there is no such program"))
    : kind.attach(loaded, program, options)
}

/** A program that is not attached: it is run, called, or stands in a map. */
export const runnable = (name: string): ProgramDescription<Runnable> => ({
  name,
  make: (loaded) => runner(loaded, name, bytesContext)
})

/** A program that is run on a value of this type. */
export const runnableOn = <C>(name: string, codec: Codec<C>): ProgramDescription<Runnable<C>> => ({
  name,
  make: (loaded) => runner(loaded, name, typed(codec))
})

/** A program that is attached to what its user says. */
export const attachable = <O, C>(name: string, kind: Kind<O, C>): ProgramDescription<Attachable<O, C>> => ({
  name,
  make: (loaded) => ({ ...runner(loaded, name, kind.context), attach: attacher(loaded, name, kind) })
})

/** A program whose section says to what it is attached. */
export const selfAttaching = <O, C>(
  name: string,
  kind: Kind<NoInfer<Partial<O>>, C>
): ProgramDescription<SelfAttaching<O, C>> => ({
  name,
  make: (loaded) => {
    const attach = attacher(loaded, name, kind)
    return { ...runner(loaded, name, kind.context), attach: (target = {}) => attach(target) }
  }
})

/** What a program is like before the load, to be changed. */
export const opened = (object: BpfObject, name: string): OpenedProgram => {
  const program = findProgram(object, name)
  const settings: OpenedProgram = {
    name,
    section: program?.section ?? "",
    autoload: program?.autoload ?? false,
    attachTarget: program?.attachTarget,
    attachTo: undefined,
    logLevel: program?.logLevel ?? 0,
    ifindex: program?.ifindex ?? 0
  }
  return Object.seal(settings)
}

/** The object with the changes that were made to one of its programs. */
export const changed = (object: BpfObject, changes: OpenedProgram): Result.Result<BpfObject, Edit.EditError> => {
  const { attachTarget, attachTo, autoload, ifindex, logLevel, name } = changes
  const before = findProgram(object, name)
  const edits: Edit.ProgramChanges = {
    ...(autoload === before?.autoload ? {} : { autoload }),
    ...(attachTarget === before?.attachTarget || attachTarget === undefined ? {} : { attachTarget }),
    ...(logLevel === before?.logLevel ? {} : { logLevel }),
    ...(ifindex === before?.ifindex ? {} : { ifindex })
  }
  const edited = Object.keys(edits).length === 0 ? Result.succeed(object) : Edit.setProgram(object, name, edits)
  return attachTo === undefined ? edited : Result.flatMap(edited, (object) => Edit.attachTo(object, name, attachTo))
}
