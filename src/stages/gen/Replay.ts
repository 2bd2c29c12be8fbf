/**
 * Runs a loader program in the virtual machine and makes the kernel calls that it makes, on any kernel's session.
 *
 * The machine stops at each `bpf_sys_bpf` and `bpf_sys_close`; what the loader has put into its memory is read back as a
 * call, the session makes it, and the machine goes on with the answer. Descriptors that the loader sees are the replay's
 * own; to the session everything has a ref, numbered as the plan was that the loader was recorded from. So a loader can be
 * looked at without a kernel, compared with its plan, or run where no program of type `SYSCALL` can be.
 *
 * Any bytes may come in as a loader: it has no memory but its own, and a budget of instructions. Loaders that look up
 * kernel symbols or print are refused by the name of the helper that they call.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Arena from "../../services/Kernel/abi/Arena.ts"
import * as Attr from "../../services/Kernel/abi/Attr.ts"
import * as Decode from "../../services/Kernel/abi/Decode.ts"
import * as Errno from "../../services/Kernel/abi/Errno.ts"
import { kernelName } from "../../services/Kernel/abi/Name.ts"
import type { Session } from "../../services/Kernel/Kernel.ts"
import type { KernelCall, MapAttributes } from "../../services/Kernel/KernelCall.ts"
import type { CallError, ProgramFault, RefError, UnsupportedCall } from "../../services/Kernel/KernelError.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Memory from "../../vm/Memory.ts"
import * as Vm from "../../vm/Vm.ts"
import * as Layout from "./LoaderLayout.ts"
import * as LoaderProgram from "./LoaderProgram.ts"

/** How a loader is replayed. */
export interface ReplayOptions {
  /** What the context asks for, by the maps' numbers: another size, another initial value. */
  readonly maps?: ReadonlyMap<number, { readonly maxEntries?: number; readonly initialValue?: Uint8Array }>
  /** How much the verifier is asked to say, as the context has it: 1, 2, 4; default 0. */
  readonly logLevel?: number
  /** Instructions that the loader may execute; default 10 million. */
  readonly budget?: number
}

/** What a replay came to. */
export interface Replayed {
  /** 0, or the negated error number that the loader ended with. */
  readonly retval: number
  /** The calls that it made, in order, closes and the failing one included. */
  readonly calls: ReadonlyArray<KernelCall>
  /** Why the last call failed that did. */
  readonly failure: CallError | Decode.DecodeError | undefined
  /** What the loader handed out, by the maps' and programs' numbers; the session has them. */
  readonly maps: ReadonlyArray<Ref.MapRef | undefined>
  readonly programs: ReadonlyArray<Ref.ProgRef | undefined>
  /** What the loader neither closed nor handed out: a fault of the loader. */
  readonly leaked: ReadonlyArray<Ref.Ref>
  /** How often it closed what was not open: a fault of the loader, which in a process may hit somebody else's descriptor. */
  readonly strayCloses: number
  readonly context: Uint8Array
}

/** Why a loader cannot be replayed: it broke a rule of the machine, asked for what is not decoded, or the kernel cannot do it. */
export type ReplayError = Vm.VmError | Decode.DecodeError | RefError | UnsupportedCall | ProgramFault

/** What a descriptor of a replay stands for. */
type Open =
  | { readonly ref: Ref.MapRef; readonly attr: MapAttributes }
  | { readonly ref: Ref.BtfRef | Ref.ProgRef; readonly attr?: undefined }

/** A replay's descriptors count from here, so that they are not mistaken for small numbers. */
const FIRST_DESCRIPTOR = 100

const defaultBudget = 10_000_000

/** The state of a replay beside the machine's. */
interface Replay {
  readonly loader: LoaderProgram.LoaderProgram
  readonly memory: Memory.Memory
  readonly data: Memory.Region
  readonly open: Map<number, Open>
  readonly calls: Array<KernelCall>
  readonly made: { Btf: number; Map: number; Prog: number }
  nextDescriptor: number
  strayCloses: number
  failure: CallError | Decode.DecodeError | undefined
}

/** Reads memory into memory, or fills it with zeroes and answers `-EFAULT`: both helpers that copy do that. */
const copy: Vm.Helper = (machine) => {
  const size = machine.low[2] ?? 0
  if (machine.high[2] !== 0 || size < 0) return Vm.refuse(machine, `${Vm.register(machine, 2)} is no size of memory`)
  const into = Vm.writable(machine, 1, size)
  if (into === undefined) return Vm.FAULTED
  const from = Memory.bytesAt(machine.memory, machine.low[3] ?? 0, machine.high[3] ?? 0, size, false)
  if (from === undefined) {
    into.fill(0)
    return Vm.returnNumber(machine, -Errno.numbers.EFAULT)
  }
  into.set(from)
  return Vm.returnNumber(machine, 0)
}

/** Helpers that need no kernel; the machine stops at all others. */
const helpers: ReadonlyArray<Vm.Helper | undefined> = Array.from(
  { length: Layout.Helper.COPY_FROM_USER + 1 },
  (_, id) => id === Layout.Helper.PROBE_READ_KERNEL || id === Layout.Helper.COPY_FROM_USER ? copy : undefined
)

const noRoom: Vm.VmError = new Vm.VmError({
  reason: "NotMapped",
  hint: "the machine has no room for the loader's memory"
})

/** The ref that the next object of a kind has in the plan; numbers that no plan has for objects that the loader does not list. */
const nextRef = (made: number, listed: ReadonlyArray<{ readonly ref: number }>): number =>
  listed[made]?.ref ?? listed.reduce((most, { ref }) => Math.max(most, ref), -1) + 1 + made

/** The plan's name of an object, which may be longer than what the kernel is told. */
const planName = (told: string, listed: { readonly name: string } | undefined): string =>
  listed !== undefined && kernelName(listed.name) === told ? listed.name : told

/** The call as the plan has it: under its names, and with what only the loader's description says. */
const asPlanned = ({ data, loader, made, memory }: Replay, call: KernelCall, attr: bigint): KernelCall => {
  switch (call._tag) {
    case "MapCreate":
      return { ...call, attr: { ...call.attr, name: planName(call.attr.name, loader.created.maps[made.Map]) } }
    case "ProgLoad":
      return { ...call, attr: { ...call.attr, name: planName(call.attr.name, loader.created.programs[made.Prog]) } }
    case "MapUpdate": {
      const bytes = Memory.bytesAt(memory, Memory.lowOf(attr), Memory.highOf(attr), Attr.MapElement.size, false)
      const value = bytes === undefined ? 0n : Arena.readBigInt(bytes, Attr.MapElement.fields.value, true)
      const isInitial = loader.maps.some(({ initialValue, ref }) =>
        initialValue !== undefined && ref === call.map.index && Memory.address(data, initialValue.offset) === value
      )
      return isInitial ? { ...call, overridable: true } : call
    }
    default:
      return call
  }
}

/** Decodes what the loader asks of the kernel. */
const decode = (
  replay: Replay,
  command: number,
  attr: bigint,
  size: number
): Result.Result<KernelCall, Decode.DecodeError> => {
  const { loader, made, memory, open } = replay
  const memoryOf: Decode.Memory = {
    read: (address, length) => Memory.bytesAt(memory, Memory.lowOf(address), Memory.highOf(address), length, false)
  }
  const descriptors: Decode.Descriptors = {
    map: (fd) => {
      const found = open.get(fd)
      return found?.attr === undefined ? undefined : found
    },
    btf: (fd) => {
      const ref = open.get(fd)?.ref
      return ref?._tag === "Btf" ? ref : undefined
    },
    nextBtf: Ref.btf(made.Btf),
    nextMap: Ref.map(nextRef(made.Map, loader.created.maps)),
    nextProg: Ref.prog(nextRef(made.Prog, loader.created.programs))
  }
  return Result.map(
    Decode.decode(command, attr, size, memoryOf, descriptors),
    (call) => asPlanned(replay, call, attr)
  )
}

/** What a call that succeeded answers: a new descriptor where it made something, else 0. */
const register = (replay: Replay, call: KernelCall): number => {
  const { made, open } = replay
  const fd = replay.nextDescriptor
  switch (call._tag) {
    case "BtfLoad":
      made.Btf++
      open.set(fd, { ref: call.as })
      break
    case "MapCreate":
      made.Map++
      open.set(fd, { ref: call.as, attr: call.attr })
      break
    case "ProgLoad":
      made.Prog++
      open.set(fd, { ref: call.as })
      break
    default:
      return 0
  }
  replay.nextDescriptor++
  return fd
}

/** Makes a call; what the kernel refuses is an answer, what no kernel of this kind can do is not. */
const make = (
  session: Session,
  replay: Replay,
  call: KernelCall
): Effect.Effect<number, RefError | UnsupportedCall | ProgramFault> => {
  replay.calls.push(call)
  return Effect.matchEffect(session.call(call), {
    onSuccess: () => Effect.succeed(register(replay, call)),
    onFailure: (error: CallError) => {
      if (error._tag !== "KernelError" && error._tag !== "VerifierError") return Effect.fail(error)
      replay.failure = error
      return Effect.succeed(-error.errnoNumber)
    }
  })
}

/** The low 32 bits of an argument, unsigned: how the kernel takes commands, sizes and descriptors. */
const word = (value: bigint): number => Number(BigInt.asUintN(32, value))

/** Answers a call that the machine has stopped at; `undefined` where nothing does. */
const answer = (
  session: Session,
  replay: Replay,
  { args, id, kind }: Vm.PendingCall
): Effect.Effect<number, RefError | UnsupportedCall | ProgramFault | Decode.DecodeError> | undefined => {
  if (kind === "Helper" && id === Layout.Helper.SYS_BPF) {
    const call = decode(replay, word(args[0]), args[1], word(args[2]))
    if (Result.isSuccess(call)) return make(session, replay, call.success)
    const { failure } = call
    if (failure.reason === "Command" || failure.reason === "Field") return Effect.fail(failure)
    replay.failure = failure
    return Effect.succeed(-failure.errnoNumber)
  }
  if (kind === "Helper" && id === Layout.Helper.SYS_CLOSE) {
    const fd = word(args[0])
    const found = replay.open.get(fd)
    if (found === undefined) {
      replay.strayCloses++
      return Effect.succeed(-Errno.numbers.EBADF)
    }
    replay.open.delete(fd)
    const call: KernelCall = { _tag: "Close", ref: found.ref }
    replay.calls.push(call)
    // A descriptor is gone whatever closing it says.
    return Effect.match(session.call(call), { onSuccess: () => 0, onFailure: () => -Errno.numbers.EIO })
  }
  return undefined
}

/** The memory of a loader: its data, its context, and the initial values that the context brings. */
const layOut = (loader: LoaderProgram.LoaderProgram, options: ReplayOptions) => {
  const memory = Memory.make()
  const data = Memory.add(memory, { name: "data of the loader", bytes: new Uint8Array(loader.data) })
  const maps = new Map<number, { readonly maxEntries?: number; readonly initialValue?: bigint }>()
  for (const [number, { initialValue, maxEntries }] of options.maps ?? []) {
    const name = `initial value of ${loader.maps[number]?.name ?? `map ${number}`}`
    const region = initialValue && Memory.add(memory, { name, bytes: initialValue, writable: false })
    maps.set(number, {
      ...(maxEntries === undefined ? {} : { maxEntries }),
      ...(region === undefined ? {} : { initialValue: Memory.address(region) })
    })
  }
  const log = { address: 0n, size: 0, level: options.logLevel ?? 0 }
  const bytes = LoaderProgram.context(loader, { log, maps })
  const context = Memory.add(memory, { name: "context", bytes })
  return data === undefined || context === undefined ? undefined : { memory, data, context }
}

/** The machine at the start of the loader. */
const machineOf = (
  loader: LoaderProgram.LoaderProgram,
  { context, data, memory }: NonNullable<ReturnType<typeof layOut>>
): Result.Result<Vm.Machine, Vm.VmError> =>
  Result.flatMap(
    Vm.decode(loader.insns, {
      name: Layout.LOADER_PROGRAM_NAME,
      resolve: ({ imm, kind, nextImm }) =>
        kind === "MapIdxValue" && imm === 0 ? Memory.address(data, nextImm >>> 0) : undefined
    }),
    (program) => {
      const machine = Vm.make({ memory, host: { helpers, kfuncs: new Map() } })
      if (machine === undefined) return Result.fail(noRoom)
      Vm.start(machine, program, [Memory.address(context)])
      return Result.succeed(machine)
    }
  )

/**
 * Replays a loader on a session. What it makes belongs to the session, under the refs of the plan: the session must not
 * have these already. Fails when the loader cannot be replayed; that a call of the loader fails is a result.
 */
export const replay = Effect.fnUntraced(function*(
  loader: LoaderProgram.LoaderProgram,
  session: Session,
  options: ReplayOptions = {}
): Effect.fn.Return<Replayed, ReplayError> {
  const laidOut = layOut(loader, options)
  if (laidOut === undefined) return yield* noRoom
  const machine = yield* Effect.fromResult(machineOf(loader, laidOut))
  const state: Replay = {
    loader,
    memory: laidOut.memory,
    data: laidOut.data,
    open: new Map(),
    calls: [],
    made: { Btf: 0, Map: 0, Prog: 0 },
    nextDescriptor: FIRST_DESCRIPTOR,
    strayCloses: 0,
    failure: undefined
  }
  const budget = options.budget ?? defaultBudget
  let outcome = Vm.run(machine, budget)
  while (outcome._tag === "Calls") {
    const answered = answer(session, state, outcome.call)
    outcome = answered === undefined
      ? Vm.refuseCall(machine)
      : Vm.resume(machine, BigInt(yield* answered), budget - machine.executed)
  }
  if (outcome._tag === "Fault") return yield* outcome.error
  if (outcome._tag === "OutOfBudget") {
    return yield* new Vm.VmError({ reason: "Budget", program: Layout.LOADER_PROGRAM_NAME, slot: machine.pc >> 2 })
  }
  const context = laidOut.context.bytes
  const published = LoaderProgram.descriptors(loader, context)
  const take = (fd: number): Ref.Ref | undefined => {
    const ref = state.open.get(fd)?.ref
    state.open.delete(fd)
    return ref
  }
  const maps = published.maps.map(take).map((ref) => ref?._tag === "Map" ? ref : undefined)
  const programs = published.programs.map(take).map((ref) => ref?._tag === "Prog" ? ref : undefined)
  return {
    retval: Number(BigInt.asIntN(32, outcome.r0)),
    calls: state.calls,
    failure: state.failure,
    maps,
    programs,
    leaked: [...state.open.values()].map(({ ref }) => ref),
    strayCloses: state.strayCloses,
    context
  }
})
