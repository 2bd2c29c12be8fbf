/**
 * Tests of BPF programs: load an object, set its variables, send packets and contexts to its programs, and look at what they
 * leave behind. Everything is an Effect that needs a kernel: the simulated one runs such tests anywhere, and with the live
 * one they run unchanged on Linux.
 *
 * ```ts
 * it.effect("drops telnet", () =>
 *   Effect.gen(function*() {
 *     const firewall = yield* Testing.load(readFileSync("firewall.bpf.o"), { globals: { blocked_ports: [23] } })
 *     const { action } = yield* firewall.run("xdp_firewall", { packet })
 *     assert.strictEqual(action, "XDP_DROP")
 *   }).pipe(Effect.provide(Testing.simulated())))
 * ```
 *
 * Files: `TestRun` (runs of programs), `TestMap` (maps by values), `Coverage` (lines of C), `TestingError`.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Btf from "../btf/Btf.ts"
import * as BtfValue from "../btf/BtfValue.ts"
import * as RingBuffer from "../events/RingBuffer.ts"
import { Kernel } from "../services/Kernel/Kernel.ts"
import type { CallError, KernelError } from "../services/Kernel/KernelError.ts"
import * as KernelSimulated from "../services/Kernel/KernelSimulated.ts"
import { type ExecuteError, type LoadedObject, toLoaded } from "../stages/load/Execute.ts"
import * as Plan from "../stages/load/Plan.ts"
import { type BpfObject, findMap } from "../stages/open/BpfObject.ts"
import * as Edit from "../stages/open/Edit.ts"
import * as Open from "../stages/open/Open.ts"
import * as Variables from "../stages/open/Variables.ts"
import * as Relocate from "../stages/relocate/Relocate.ts"
import { oneOf, TestingError } from "./TestingError.ts"
import * as TestMap from "./TestMap.ts"
import { type Input, type Run, run } from "./TestRun.ts"

export * as Coverage from "./Coverage.ts"
export { TestingError } from "./TestingError.ts"
export type { Entry, MapError, TestMap } from "./TestMap.ts"
export type { Input, Run } from "./TestRun.ts"

/** How an object is loaded for tests. */
export interface LoadOptions extends Open.OpenOptions {
  /** The object's path, which gives it its name. */
  readonly path?: string
  /** Initial values of global variables, by name: constants of the program included. See `BtfValue.encode` for the values. */
  readonly globals?: Readonly<Record<string, unknown>>
  /** Changes to maps, by name: other sizes, above all. */
  readonly maps?: Readonly<Record<string, Edit.MapChanges>>
  /** The programs to load; default: those that a load takes by itself. */
  readonly programs?: ReadonlyArray<string>
}

/** Why an object was not loaded. */
export type LoadError =
  | Open.OpenFailure
  | Edit.EditError
  | TestingError
  | Effect.Error<ReturnType<typeof Relocate.relocate.run>>
  | Effect.Error<ReturnType<typeof Plan.plan.run>>
  | ExecuteError

/** An object that is loaded for a test, until the test's scope closes. */
export interface TestObject {
  /** What the stages made of it: its session, its refs, its plan. */
  readonly loaded: LoadedObject
  /** Runs a program. */
  readonly run: (program: string, input?: Input) => Effect.Effect<Run, CallError | TestingError>
  /** A map. */
  readonly map: (name: string) => Effect.Effect<TestMap.TestMap, TestingError>
  /** What a global variable is now, `.kconfig` included. */
  readonly global: (name: string) => Effect.Effect<BtfValue.BtfValue, CallError | TestingError>
  /** Sets a global variable of the loaded object; constants are fixed when an object is loaded, and answer `EPERM`. */
  readonly setGlobal: (name: string, value: unknown) => Effect.Effect<void, CallError | TestingError>
  /** Takes the records out of a ring buffer: decoded as the type of this name, bytes without one. */
  readonly events: (
    map: string,
    type?: string
  ) => Effect.Effect<ReadonlyArray<BtfValue.BtfValue>, CallError | TestingError>
  /** Takes the lines that programs have printed since the last look. Only simulated kernels can tell. */
  readonly printk: Effect.Effect<ReadonlyArray<string>, TestingError>
  /** What ran of each program so far; `undefined` where the kernel does not count it. */
  readonly coverage: Effect.Effect<ReadonlyArray<KernelSimulated.ProgramCoverage> | undefined>
}

/** A simulated kernel that counts which lines run. */
export const simulated = (
  options: KernelSimulated.SimulatedOptions = {}
): Layer.Layer<Kernel | KernelSimulated.Simulation, KernelError> =>
  KernelSimulated.layer({ coverage: true, ...options })

const edited = (object: BpfObject, options: LoadOptions): Result.Result<BpfObject, Edit.EditError> =>
  Result.gen(function*() {
    let changed = object
    for (const [name, changes] of Object.entries(options.maps ?? {})) {
      changed = yield* Edit.setMap(changed, name, changes)
    }
    for (const [name, value] of Object.entries(options.globals ?? {})) {
      changed = yield* Edit.setVariable(changed, name, value)
    }
    return options.programs === undefined ? changed : yield* Edit.loadOnly(changed, options.programs)
  })

/** A global variable with what is needed to reach it. */
const globalOf = (loaded: LoadedObject, name: string) => {
  const variable = Variables.findVariable(loaded.object, name)
  const map = variable === undefined ? undefined : loaded.object.maps[variable.map]
  const ref = map === undefined ? undefined : loaded.map(map.name)
  if (variable === undefined || map === undefined || ref === undefined) {
    const names = Variables.variables(loaded.object).map((each) => each.name)
    const detail = variable === undefined ? "there is no such global variable" : "its section was not loaded"
    return Result.fail(new TestingError({ reason: "NoGlobal", subject: name, detail, ...oneOf("variables", names) }))
  }
  return Result.succeed({ variable, ref, size: map.attr.valueSize })
}

const firstKey = new Uint8Array(4)

/** The section that a global variable is in, as it is now, and the codec of the variable. */
const section = Effect.fnUntraced(function*(loaded: LoadedObject, name: string) {
  const { ref, size, variable } = yield* Effect.fromResult(globalOf(loaded, name))
  const bytes = yield* loaded.session.call({ _tag: "MapLookup", map: ref, key: firstKey, valueSize: size, flags: 0n })
  const image = bytes ?? new Uint8Array(size)
  return { ref, image, variable, codec: TestMap.codec(loaded.object, variable.type, variable.size, name) }
})

const records = (loaded: LoadedObject, scope: Scope.Scope, kernel: Kernel["Service"]) => {
  const open = new Map<string, RingBuffer.RingBuffer>()
  const failed = (map: string) => (error: RingBuffer.RingBufferError) =>
    new TestingError({ reason: "Records", subject: map, detail: error.message })
  return Effect.fnUntraced(function*(
    map: string,
    type?: string
  ): Effect.fn.Return<ReadonlyArray<BtfValue.BtfValue>, CallError | TestingError> {
    const ref = loaded.map(map)
    if (ref === undefined) return yield* noMap(loaded, map)
    const { btf, byteOrder } = loaded.object
    const id = type === undefined || btf === undefined
      ? undefined
      : Btf.findOne(btf, type.replace(/^(struct|union) /, ""))
    if (type !== undefined && (btf === undefined || id === undefined)) {
      return yield* new TestingError({
        reason: "NoType",
        subject: type,
        detail: "the object's BTF has no one type of this name"
      })
    }
    const ring = open.get(map) ?? (yield* RingBuffer.open(loaded.session, ref).pipe(
      Scope.provide(scope),
      Effect.provideService(Kernel, kernel),
      Effect.catchTag("RingBufferError", (error) => Effect.fail(failed(map)(error)))
    ))
    open.set(map, ring)
    const found = yield* Effect.mapError(Effect.fromResult(RingBuffer.drain(ring)), failed(map))
    if (btf === undefined || id === undefined) return found
    return yield* Effect.forEach(found, (bytes) =>
      Effect.mapError(
        Effect.fromResult(BtfValue.decode(btf, id, bytes, byteOrder)),
        (error) => new TestingError({ reason: "Value", subject: `record of ${map}`, detail: error.message })
      ))
  })
}

const noMap = ({ object }: LoadedObject, name: string): TestingError =>
  new TestingError({
    reason: "NoMap",
    subject: name,
    detail: findMap(object, name) === undefined ? "the object has no such map" : "it was not created",
    ...oneOf("maps", object.maps.map((map) => map.name))
  })

const notObservable = (kernel: string): TestingError =>
  new TestingError({
    reason: "NotObservable",
    subject: "printed lines",
    detail: `the ${kernel} kernel does not hand them to a test`,
    hint: "run this test on the simulated kernel, or look at /sys/kernel/tracing/trace_pipe"
  })

/** Loads an object, or the bytes of one, into the kernel that is provided. It is unloaded when the scope closes. */
export const load = Effect.fnUntraced(function*(
  source: Uint8Array | BpfObject,
  options: LoadOptions = {}
): Effect.fn.Return<TestObject, LoadError, Kernel | Scope.Scope> {
  const opened = source instanceof Uint8Array ? yield* Effect.fromResult(Open.fromBytes(source, options)) : source
  const object = yield* Effect.fromResult(edited(opened, options))
  const planned = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
  const loaded = yield* toLoaded(planned)
  const kernel = yield* Kernel
  const scope = yield* Effect.scope
  const simulation = yield* Effect.serviceOption(KernelSimulated.Simulation)
  const { possibleCpus } = yield* kernel.ask([{ _tag: "PossibleCpus" }])
  const cpus = possibleCpus?._tag === "Known" ? possibleCpus.value : 1
  return {
    loaded,
    run: run(loaded),
    map: (name) => {
      const ref = loaded.map(name)
      const definition = findMap(object, name)
      return ref === undefined || definition === undefined
        ? Effect.fail(noMap(loaded, name))
        : Effect.succeed(TestMap.make(loaded.session, object, definition, ref, cpus))
    },
    global: (name) =>
      Effect.flatMap(
        section(loaded, name),
        ({ codec, image, variable }) =>
          Effect.fromResult(codec.decode(image.subarray(variable.offset, variable.offset + variable.size)))
      ),
    setGlobal: (name, value) =>
      Effect.gen(function*() {
        const { codec, image, ref, variable } = yield* section(loaded, name)
        image.set(yield* Effect.fromResult(codec.encode(value)), variable.offset)
        yield* loaded.session.call({
          _tag: "MapUpdate",
          map: ref,
          key: firstKey,
          value: { bytes: image, refs: [] },
          flags: 0n
        })
      }),
    events: records(loaded, scope, kernel),
    printk: Option.match(simulation, {
      onNone: () => Effect.fail(notObservable(kernel.name)),
      onSome: ({ printk }) => printk
    }),
    coverage: Option.match(simulation, {
      onNone: () => Effect.succeed(undefined),
      onSome: ({ coverage }) => coverage
    })
  }
})
