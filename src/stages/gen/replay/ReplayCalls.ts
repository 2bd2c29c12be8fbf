/**
 * The kernel calls of a replay: out of the loader's memory, under the names of the plan, to whoever makes them.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as Arena from "../../../services/Kernel/abi/Arena.ts"
import * as Attr from "../../../services/Kernel/abi/Attr.ts"
import * as Decode from "../../../services/Kernel/abi/Decode.ts"
import * as Errno from "../../../services/Kernel/abi/Errno.ts"
import { kernelName } from "../../../services/Kernel/abi/Name.ts"
import type { KernelCall, KernelSymbol, ProgFunction } from "../../../services/Kernel/KernelCall.ts"
import type { CallError } from "../../../services/Kernel/KernelError.ts"
import * as Ref from "../../../services/Kernel/Ref.ts"
import * as Memory from "../../../vm/Memory.ts"
import type * as Vm from "../../../vm/Vm.ts"
import * as Layout from "../LoaderLayout.ts"
import type { Created, LoaderProgram } from "../LoaderProgram.ts"
import { BYTES_PER_INSTRUCTION, CALL_COST } from "./ReplayHelpers.ts"
import { bytesAt, type LoaderMemory } from "./ReplayMemory.ts"
import * as ReplayTable from "./ReplayTable.ts"

/** Makes a call. */
export type Perform = (call: KernelCall) => Effect.Effect<void, CallError>

/** What no loader can help: the session does not make such calls, or the call names what it does not have. */
export type Impossible = Exclude<CallError, { readonly _tag: "KernelError" | "VerifierError" }>

/** What a loader's description says, by the numbers of the plan's refs: descriptions may be long, and are looked at once. */
export interface Described {
  /** Where in the data the initial values of maps are. */
  readonly initialValues: ReadonlyMap<number, number>
  /** The members of kernel structs that programs implement, which loaders are told of by their positions alone. */
  readonly members: ReadonlyMap<number, string>
  /** The first number that no map, and no program, of the plan has. */
  readonly maps: number
  readonly programs: number
}

/** Looks at a loader's description. */
export const describe = ({ created, inputs, maps, programs }: LoaderProgram): Described => {
  const behind = (listed: ReadonlyArray<Created>): number =>
    listed.reduce((most, { ref }) => Math.max(most, ref), -1) + 1
  return {
    initialValues: new Map(
      maps.flatMap(({ initialValue, ref }) => initialValue === undefined ? [] : [[ref, initialValue.offset]])
    ),
    members: new Map(inputs.flatMap((input) => {
      const ref = input._tag === "Member" ? programs[input.program]?.ref : undefined
      return input._tag === "Member" && ref !== undefined ? [[ref, input.member]] : []
    })),
    maps: behind(created.maps),
    programs: behind(created.programs)
  }
}

/** The state of a replay beside the machine's. */
export interface State {
  readonly loader: LoaderProgram
  readonly described: Described
  /** The types that the loader has loaded last. */
  types: Uint8Array | undefined
  readonly memory: LoaderMemory
  readonly table: ReplayTable.Table
  readonly perform: Perform
  readonly calls: Array<KernelCall>
  readonly made: { Btf: number; Map: number; Prog: number }
  strayCloses: number
  failure: CallError | Decode.DecodeError | undefined
  /** Bytes that calls have taken along, and so many for each call: they cost as instructions do. */
  copied: number
}

/** The ref that the next object of a kind has in the plan; numbers that no plan has for objects that it does not list. */
const nextRef = (made: number, created: ReadonlyArray<Created>, behind: number): number =>
  created[made]?.ref ?? behind + made

/** The plan's name of an object, which may be longer than what the kernel is told. */
const planName = (told: string, listed: Created | undefined): string =>
  listed !== undefined && kernelName(listed.name) === told ? listed.name : told

/** Whether the value of an update is where the loader has the initial value of this map. */
const isInitial = (
  { described: { initialValues }, loader, memory: { data, memory } }: State,
  map: Ref.MapRef,
  attr: bigint
): boolean => {
  const offset = initialValues.get(map.index)
  const bytes = bytesAt(memory, Memory.lowOf(attr), Memory.highOf(attr), Attr.MapElement.size, false)
  return offset !== undefined && bytes !== undefined &&
    Arena.readBigInt(bytes, Attr.MapElement.fields.value, loader.byteOrder === "little") ===
      Memory.address(data, offset)
}

/** The call as the plan has it: under its names, and with what only the loader's description says. */
const asPlanned = (state: State, call: KernelCall, attr: bigint): KernelCall => {
  const { loader: { created }, made } = state
  switch (call._tag) {
    case "MapCreate":
      return { ...call, attr: { ...call.attr, name: planName(call.attr.name, created.maps[made.Map]) } }
    case "ProgLoad": {
      const { attachTo } = call
      const member = state.described.members.get(call.as.index)
      return {
        ...call,
        ...(attachTo === undefined || member === undefined ? {} : { attachTo: { ...attachTo, member } }),
        attr: { ...call.attr, name: planName(call.attr.name, created.programs[made.Prog]) }
      }
    }
    case "MapUpdate":
      return isInitial(state, call.map, attr) ? { ...call, overridable: true } : call
    default:
      return call
  }
}

/** What was looked up as a symbol of a plan: it is there, so nothing is lost when it is not said that it may be missing. */
const symbolOf = ({ found, kind, name }: ReplayTable.LookedUp): KernelSymbol | undefined =>
  typeof kind === "number"
    ? undefined
    : { name, kind, weak: false, ...(found?.module === undefined ? {} : { module: found.module }) }

/** The weak kernel function that was not found, by its name where it can be but one. */
const missingFunction = ({ missing }: ReplayTable.Table): KernelSymbol => {
  const [name = ""] = missing.size === 1 ? missing : []
  return { name, kind: "Func", weak: true, resolved: { absent: true } }
}

/** The function of this id of a program that the loader has loaded, with the types that it has loaded before. */
const ownFunction = (state: State, fd: number, id: number): ProgFunction | undefined => {
  const { table, types } = state
  const program = table.open.get(fd)
  if (program?._tag !== "Prog" || types === undefined) return undefined
  // Reading types costs as taking them along does.
  state.copied += types.length
  const btf = Result.getOrUndefined(Btf.parse(types))
  if (btf === undefined || id < btf.firstId || id >= btf.endId || Btf.kindOf(btf, id) !== Btf.BTF_KIND_FUNC) {
    return undefined
  }
  return { program: program.ref, function: Btf.nameOf(btf, id) }
}

const descriptorsOf = (state: State): Decode.Descriptors => {
  const { described, loader: { created }, made, table } = state
  return {
    map: (fd) => {
      const found = table.open.get(fd)
      return found?._tag === "Map" ? found : undefined
    },
    prog: (fd) => ReplayTable.programOf(table, fd),
    btf: (fd) => {
      const found = table.open.get(fd)
      return found?._tag === "Btf" ? found.ref : undefined
    },
    symbol: (id, fd) => {
      const looked = ReplayTable.typed(table, id, fd)
      return looked && symbolOf(looked)
    },
    address: (address) => {
      const looked = table.addresses.get(address)
      return looked && symbolOf(looked)
    },
    missing: () => missingFunction(table),
    // Ids of functions of others are those of types that nobody here has; a program is lent for one function alone.
    programFunction: (fd, id) => table.lent.get(fd) ?? ownFunction(state, fd, id),
    nextBtf: Ref.btf(made.Btf),
    nextMap: () => Ref.map(nextRef(made.Map, created.maps, described.maps)),
    nextProg: () => Ref.prog(nextRef(made.Prog, created.programs, described.programs))
  }
}

/** Decodes what the loader asks of the kernel. */
const decode = (
  state: State,
  command: number,
  attr: bigint,
  size: number
): Result.Result<KernelCall, Decode.DecodeError> => {
  const memory: Decode.Memory = {
    read: (address, length) => {
      const bytes = bytesAt(state.memory.memory, Memory.lowOf(address), Memory.highOf(address), length, false)
      state.copied += bytes?.length ?? 0
      return bytes
    }
  }
  return Result.map(
    Decode.decode(command, attr, size, memory, descriptorsOf(state), state.loader.byteOrder),
    (call) => asPlanned(state, call, attr)
  )
}

/** What a call that succeeded answers: a new descriptor where it made something, else 0. */
const register = (state: State, call: KernelCall): number => {
  const { made, table } = state
  switch (call._tag) {
    case "BtfLoad":
      made.Btf++
      state.types = call.bytes
      return ReplayTable.add(table, { _tag: "Btf", ref: call.as })
    case "MapCreate":
      made.Map++
      return ReplayTable.add(table, { _tag: "Map", ref: call.as, attr: call.attr })
    case "ProgLoad":
      made.Prog++
      return ReplayTable.add(table, { _tag: "Prog", ref: call.as })
    default:
      return 0
  }
}

/** Makes a call; what the kernel refuses is an answer, what no kernel of this kind can do is not. */
const make = (state: State, call: KernelCall): Effect.Effect<number, Impossible> => {
  state.calls.push(call)
  return Effect.matchEffect(state.perform(call), {
    onSuccess: () => Effect.succeed(register(state, call)),
    onFailure: (error: CallError) => {
      if (error._tag !== "KernelError" && error._tag !== "VerifierError") return Effect.fail(error)
      state.failure = error
      return Effect.succeed(-error.errnoNumber)
    }
  })
}

/** The low 32 bits of an argument, unsigned: how the kernel takes commands, sizes and descriptors. */
const word = (value: bigint): number => Number(BigInt.asUintN(32, value))

/** Answers `bpf_sys_bpf`. */
const sysBpf = (state: State, args: Vm.PendingCall["args"]): Effect.Effect<number, Impossible | Decode.DecodeError> => {
  const call = decode(state, word(args[0]), args[1], word(args[2]))
  if (Result.isSuccess(call)) return make(state, call.success)
  const { failure } = call
  if (failure.reason === "Command" || failure.reason === "Field") return Effect.fail(failure)
  state.failure = failure
  return Effect.succeed(-failure.errnoNumber)
}

/** Answers `bpf_sys_close`. */
const sysClose = (state: State, fd: number): Effect.Effect<number> => {
  const found = state.table.open.get(fd)
  if (found === undefined) {
    state.strayCloses++
    return Effect.succeed(-Errno.numbers.EBADF)
  }
  state.table.open.delete(fd)
  // The session knows nothing of types that only a look-up has opened.
  if (found._tag === "Module") return Effect.succeed(0)
  const call: KernelCall = { _tag: "Close", ref: found.ref }
  state.calls.push(call)
  // A descriptor is gone whatever closing it says.
  return Effect.match(state.perform(call), { onSuccess: () => 0, onFailure: () => -Errno.numbers.EIO })
}

/** Answers a call that the machine has stopped at; `undefined` where nothing does. */
export const answer = (
  state: State,
  { args, id, kind }: Vm.PendingCall
): Effect.Effect<number, Impossible | Decode.DecodeError> | undefined => {
  if (kind !== "Helper") return undefined
  state.copied += CALL_COST * BYTES_PER_INSTRUCTION
  if (id === Layout.Helper.SYS_BPF) return sysBpf(state, args)
  return id === Layout.Helper.SYS_CLOSE ? sysClose(state, word(args[0])) : undefined
}
