/**
 * Runs a loader program in the virtual machine and makes the kernel calls that it makes, on any kernel's session.
 *
 * The machine stops at each `bpf_sys_bpf` and `bpf_sys_close`; what the loader has put into its memory is read back as a
 * call, the session makes it, and the machine goes on with the answer. Descriptors that the loader sees are the replay's
 * own, and so are the ids and addresses of kernel symbols that it looks up: to the session everything has a ref, numbered
 * as the plan was that the loader was recorded from, and symbols have their names, which the session binds as in a load
 * without a loader. So a loader can be looked at without a kernel, compared with its plan, or run where no program of type
 * `SYSCALL` can be.
 *
 * Any bytes may come in as a loader: it has no memory but its own, and a budget of instructions, of which the bytes that its
 * calls take along cost their share.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Insn from "../../insn/Insn.ts"
import type * as Decode from "../../services/Kernel/abi/Decode.ts"
import type { Session } from "../../services/Kernel/Kernel.ts"
import type { KernelCall, ProgFunction } from "../../services/Kernel/KernelCall.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import type * as Ref from "../../services/Kernel/Ref.ts"
import * as Memory from "../../vm/Memory.ts"
import * as Vm from "../../vm/Vm.ts"
import * as Layout from "./LoaderLayout.ts"
import * as LoaderProgram from "./LoaderProgram.ts"
import * as ReplayCalls from "./replay/ReplayCalls.ts"
import * as ReplayHelpers from "./replay/ReplayHelpers.ts"
import { type LoaderMemory, layOut, type MapOverrides } from "./replay/ReplayMemory.ts"
import * as ReplayTable from "./replay/ReplayTable.ts"

export type { Found, LookedUp, Lookup } from "./replay/ReplayTable.ts"

/** How a loader is replayed. */
export interface ReplayOptions {
  /** What the context asks for, by the maps' numbers: another size, another initial value. */
  readonly maps?: MapOverrides
  /** How much the verifier is asked to say, as the context has it: 1, 2, 4; default 0. */
  readonly logLevel?: number
  /** Instructions that the loader may execute; default 10 million and one for each byte of its data. */
  readonly budget?: number
  /**
   * Where the kernel has a symbol that the loader looks up; `undefined` where it has none of this name. By default it has
   * them all itself, no module does.
   */
  readonly find?: (lookup: ReplayTable.Lookup) => ReplayTable.Found | undefined
  /** 32-bit words of the context by their offsets: inputs that are not about a map's size or initial value. */
  readonly words?: ReadonlyMap<number, number>
  /** Programs of the session that the loader's own are for, by the numbers of the loader's: inputs as well. */
  readonly programs?: ReadonlyMap<number, ProgFunction>
}

/** What a replay came to. */
export interface Replayed {
  /** 0, or the negated error number that the loader ended with. */
  readonly retval: number
  /** The calls that it made, in order, closes and the failing one included. */
  readonly calls: ReadonlyArray<KernelCall>
  /** The symbols that it looked up, in order, and where they are. */
  readonly lookedUp: ReadonlyArray<ReplayTable.LookedUp>
  /** What it printed. */
  readonly printed: ReadonlyArray<string>
  /** Bytes of the context that it read before it wrote them, by offset: what it takes of its caller. */
  readonly inputs: ReadonlySet<number>
  /** Why the last call failed that did. */
  readonly failure: CallError | Decode.DecodeError | undefined
  /** What the loader handed out, by the maps' and programs' numbers; the session has them. */
  readonly maps: ReadonlyArray<Ref.MapRef | undefined>
  readonly programs: ReadonlyArray<Ref.ProgRef | undefined>
  /** What the loader neither closed nor handed out: a fault of the loader. */
  readonly leaked: ReadonlyArray<Ref.Ref>
  /** Modules whose types the loader left open, once for each time: a fault of the loader. */
  readonly leakedModules: ReadonlyArray<string>
  /** How often it closed what was not open: a fault of the loader, which in a process may hit somebody else's descriptor. */
  readonly strayCloses: number
  readonly context: Uint8Array
}

/** Why a loader cannot be replayed: it broke a rule of the machine, asked for what is not decoded, or the kernel cannot do it. */
export type ReplayError = Vm.VmError | Decode.DecodeError | ReplayCalls.Impossible

const defaultBudget = 10_000_000

const noRoom: Vm.VmError = new Vm.VmError({
  reason: "NotMapped",
  hint: "the machine has no room for the loader's memory"
})

const isEverywhere = (): ReplayTable.Found => ({})

/** The words of the context, with descriptors of the programs that the loader's own are for. */
const lendPrograms = (
  { inputs }: LoaderProgram.LoaderProgram,
  { programs, words }: ReplayOptions,
  table: ReplayTable.Table
): ReadonlyMap<number, number> => {
  const all = new Map(words)
  for (const input of inputs) {
    const target = input._tag === "Program" ? programs?.get(input.program) : undefined
    if (target === undefined) continue
    all.set(input.contextOffset, ReplayTable.lend(table, target))
    all.set(input.contextOffset + 4, 1)
  }
  return all
}

/** The machine at the start of the loader. */
const machineOf = (
  loader: LoaderProgram.LoaderProgram,
  { context, data, map, memory }: LoaderMemory,
  helpers: ReadonlyArray<Vm.Helper | undefined>
): Result.Result<Vm.Machine, Vm.VmError> =>
  Result.flatMap(
    Vm.decode(Insn.fromByteOrder(loader.insns, loader.byteOrder), {
      name: Layout.LOADER_PROGRAM_NAME,
      resolve: ({ imm, kind, nextImm }) => {
        if (imm !== 0) return undefined
        return kind === "MapIdxValue"
          ? Memory.address(data, nextImm >>> 0)
          : kind === "MapIdx"
          ? Memory.address(map)
          : undefined
      }
    }),
    (program) => {
      const machine = Vm.make({ memory, host: { helpers, kfuncs: new Map() } })
      if (machine === undefined) return Result.fail(noRoom)
      Vm.start(machine, program, [Memory.address(context)])
      return Result.succeed(machine)
    }
  )

/** Runs the machine to its end, and answers with what the loader returns. */
const execute = Effect.fnUntraced(function*(machine: Vm.Machine, state: ReplayCalls.State, budget: number) {
  let outcome = Vm.run(machine, budget)
  while (outcome._tag === "Calls") {
    const answered = ReplayCalls.answer(state, outcome.call)
    const left = (): number =>
      budget - machine.executed - Math.floor(state.copied / ReplayHelpers.BYTES_PER_INSTRUCTION)
    outcome = answered === undefined
      ? Vm.refuseCall(machine)
      : Vm.resume(machine, BigInt(yield* answered), left())
  }
  if (outcome._tag === "Fault") return yield* outcome.error
  if (outcome._tag === "Done") return Number(BigInt.asIntN(32, outcome.r0))
  return yield* new Vm.VmError({ reason: "Budget", program: Layout.LOADER_PROGRAM_NAME, slot: machine.pc >> 2 })
})

/** What the loader has handed out; it is not open for the replay any more. */
const published = (loader: LoaderProgram.LoaderProgram, context: Uint8Array, { open }: ReplayTable.Table) => {
  const descriptors = LoaderProgram.descriptors(loader, context)
  const take = (fd: number): ReplayTable.Open | undefined => {
    const found = open.get(fd)
    open.delete(fd)
    return found
  }
  return {
    maps: descriptors.maps.map(take).map((found) => found?._tag === "Map" ? found.ref : undefined),
    programs: descriptors.programs.map(take).map((found) => found?._tag === "Prog" ? found.ref : undefined)
  }
}

/**
 * Replays a loader; `perform` makes its calls. Fails when the loader cannot be replayed; that a call of the loader fails is a
 * result.
 */
export const replayWith = Effect.fnUntraced(function*(
  loader: LoaderProgram.LoaderProgram,
  perform: ReplayCalls.Perform,
  options: ReplayOptions = {}
): Effect.fn.Return<Replayed, ReplayError> {
  const table = ReplayTable.make()
  const words = lendPrograms(loader, options, table)
  const memory = layOut(loader, { maps: options.maps ?? new Map(), words, logLevel: options.logLevel ?? 0 })
  if (memory === undefined) return yield* noRoom
  const printed: Array<string> = []
  const little = loader.byteOrder === "little"
  const helpers = ReplayHelpers.make({ table, little, find: options.find ?? isEverywhere, printed })
  const machine = yield* Effect.fromResult(machineOf(loader, memory, helpers))
  const state: ReplayCalls.State = {
    loader,
    described: ReplayCalls.describe(loader),
    types: undefined,
    memory,
    table,
    perform,
    calls: [],
    made: { Btf: 0, Map: 0, Prog: 0 },
    strayCloses: 0,
    failure: undefined,
    copied: 0
  }
  const retval = yield* execute(machine, state, options.budget ?? defaultBudget + loader.data.length)
  const context = memory.context.bytes
  const { maps, programs } = published(loader, context, table)
  const left = [...table.open.values()]
  return {
    retval,
    calls: state.calls,
    lookedUp: table.lookedUp,
    printed,
    inputs: memory.inputs,
    failure: state.failure,
    maps,
    programs,
    leaked: left.flatMap((open) => open._tag === "Module" ? [] : [open.ref]),
    leakedModules: left.flatMap((open) => open._tag === "Module" ? [open.name] : []),
    strayCloses: state.strayCloses,
    context
  }
})

/**
 * Replays a loader on a session. What it makes belongs to the session, under the refs of the plan: the session must not
 * have these already. Fails when the loader cannot be replayed; that a call of the loader fails is a result.
 */
export const replay = (
  loader: LoaderProgram.LoaderProgram,
  session: Session,
  options: ReplayOptions = {}
): Effect.Effect<Replayed, ReplayError> => replayWith(loader, (call) => Effect.asVoid(session.call(call)), options)
