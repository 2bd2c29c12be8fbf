/**
 * The calls on loaded programs.
 */
import * as Effect from "effect/Effect"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { BPF_TAG_SIZE, Command, ProgType } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import type { MachineCode, ProgInfo, ProgTestRun } from "../KernelCall.ts"
import { fromErrno, type KernelError } from "../KernelError.ts"
import type { Handlers, Performed } from "../Session.ts"
import type { Sys } from "../sys/Sys.ts"
import { type Context, handleOf } from "./Context.ts"
import { type Answer, attemptsOf, enter, invalid, once, type Request } from "./Enter.ts"
import * as FdInfo from "./FdInfo.ts"
import type { Handle, ProgHandle } from "./Handle.ts"
import * as Hints from "./Hints.ts"

const done: Performed<Handle, void> = { result: undefined }

/** The answer of a test run that had not enough room, as an error that says how much is needed. */
const roomMissing = (
  call: ProgTestRun,
  prog: ProgHandle,
  arena: Answer<typeof Attr.ProgTestRun>["arena"]
): KernelError => {
  const [data, context] = [Arena.field(arena, "data_size_out"), Arena.field(arena, "ctx_size_out")]
  // The kernel tells the data's length also when no room was given for it, which is no error.
  const needed = call.dataOutSize > 0 && data > call.dataOutSize
    ? `the data has ${data} bytes, and there was room for ${call.dataOutSize}`
    : `the context has ${context} bytes, and there was room for ${call.contextOutSize}`
  return fromErrno("ProgTestRun", prog.name, Errno.numbers.ENOSPC, { hint: `${needed}. The program has run` })
}

/** Programs of type `SYSCALL` change the context where it was given; for others the kernel makes a copy. */
const changesItsContext = (prog: ProgHandle): boolean => prog.type === ProgType.BPF_PROG_TYPE_SYSCALL

const testRunValues = (call: ProgTestRun, prog: ProgHandle): Arena.Values<typeof Attr.ProgTestRun> => {
  const contextOutSize = changesItsContext(prog) ? 0 : call.contextOutSize
  return {
    prog_fd: prog.fd,
    data_size_in: call.dataIn?.length,
    data_in: call.dataIn && Arena.bytes(call.dataIn),
    data_size_out: call.dataOutSize,
    data_out: Arena.room(call.dataOutSize),
    ctx_size_in: call.contextIn?.length,
    ctx_in: call.contextIn && Arena.bytes(call.contextIn),
    ctx_size_out: contextOutSize,
    ctx_out: Arena.room(contextOutSize),
    repeat: call.repeat,
    flags: call.flags,
    cpu: call.cpu,
    batch_size: call.batchSize
  }
}

/** The context as the program left it. */
const contextOut = (call: ProgTestRun, prog: ProgHandle, arena: Arena.Arena<typeof Attr.ProgTestRun>): Uint8Array =>
  changesItsContext(prog)
    ? Arena.region(arena, "ctx_in").slice(0, call.contextOutSize)
    : Arena.region(arena, "ctx_out").slice(0, Arena.field(arena, "ctx_size_out"))

/** Asks for a program's info; rooms for the arrays that are wanted are among the values. */
const infoRequest = (
  call: "ProgGetInfo" | "ObjGet" | "Borrow" | "GetById",
  prog: { readonly fd: number; readonly name: string },
  values: Arena.Values<typeof Attr.ProgInfo>
): Request<typeof Attr.GetInfo> => ({
  call,
  subject: prog.name,
  command: Command.BPF_OBJ_GET_INFO_BY_FD,
  layout: Attr.GetInfo,
  values: { bpf_fd: prog.fd, info_len: Attr.ProgInfo.size, info: Arena.struct(Attr.ProgInfo, values) }
})

const number = (info: Uint8Array, field: keyof typeof Attr.ProgInfo.fields): number =>
  Arena.readNumber(info, Attr.ProgInfo.fields[field])

/** The handle that a program's descriptor makes. */
export const progHandle = (
  sys: Sys,
  call: "ObjGet" | "Borrow" | "GetById",
  subject: string,
  fd: number
): Effect.Effect<ProgHandle, KernelError> =>
  Effect.map(enter(sys, infoRequest(call, { fd, name: subject }, {})), ({ arena }) => {
    const info = Arena.region(arena, "info")
    const name = Arena.readName(info, Attr.ProgInfo.fields.name)
    return { _tag: "Prog", fd, name: name === "" ? subject : name, type: number(info, "type") }
  })

/** What is asked for beyond what is always told. */
interface Wanted {
  readonly instructions: boolean
  readonly machineCode: boolean
}

/** The counts of one answer as the request for the next. */
const roomsFor = (info: Uint8Array, { instructions, machineCode }: Wanted): Arena.Values<typeof Attr.ProgInfo> => {
  const records = (count: number, size: number) => Arena.room(count * size)
  return {
    ...(instructions
      ? {
        xlated_prog_len: number(info, "xlated_prog_len"),
        xlated_prog_insns: Arena.room(number(info, "xlated_prog_len"))
      }
      : {}),
    ...(instructions || machineCode
      ? {
        nr_jited_ksyms: number(info, "nr_jited_ksyms"),
        jited_ksyms: records(number(info, "nr_jited_ksyms"), 8)
      }
      : {}),
    ...(machineCode
      ? {
        jited_prog_len: number(info, "jited_prog_len"),
        jited_prog_insns: Arena.room(number(info, "jited_prog_len")),
        nr_jited_func_lens: number(info, "nr_jited_func_lens"),
        jited_func_lens: records(number(info, "nr_jited_func_lens"), 4),
        nr_jited_line_info: number(info, "nr_jited_line_info"),
        jited_line_info_rec_size: number(info, "jited_line_info_rec_size"),
        jited_line_info: records(number(info, "nr_jited_line_info"), number(info, "jited_line_info_rec_size"))
      }
      : {}),
    nr_map_ids: number(info, "nr_map_ids"),
    map_ids: records(number(info, "nr_map_ids"), 4),
    nr_func_info: number(info, "nr_func_info"),
    func_info_rec_size: number(info, "func_info_rec_size"),
    func_info: records(number(info, "nr_func_info"), number(info, "func_info_rec_size")),
    nr_line_info: number(info, "nr_line_info"),
    line_info_rec_size: number(info, "line_info_rec_size"),
    line_info: records(number(info, "nr_line_info"), number(info, "line_info_rec_size"))
  }
}

/** Whether the arrays of an answer were long enough for what it counts; maps may have been bound meanwhile. */
const isComplete = (asked: Uint8Array, answered: Uint8Array): boolean =>
  (["nr_map_ids", "nr_func_info", "nr_line_info"] as const)
    .every((count) => number(answered, count) <= number(asked, count))

/** Numbers of an array that the kernel filled; none where it hides them: then it takes the address of the room away. */
const numbers = <A>(
  arena: Arena.Arena<typeof Attr.GetInfo>,
  array: "jited_ksyms" | "jited_func_lens" | "jited_line_info",
  count: "nr_jited_ksyms" | "nr_jited_func_lens" | "nr_jited_line_info",
  read: (region: Uint8Array, at: number) => A
): ReadonlyArray<A> => {
  const info = Arena.region(arena, "info")
  if (Arena.readBigInt(info, Attr.ProgInfo.fields[array]) === 0n) return []
  return Array.from({ length: number(info, count) }, (_, at) => read(Arena.region(arena, "info", array), at))
}

const machineCodeOf = (arena: Arena.Arena<typeof Attr.GetInfo>): MachineCode | undefined => {
  const info = Arena.region(arena, "info")
  const length = number(info, "jited_prog_len")
  if (length === 0 || Arena.readBigInt(info, Attr.ProgInfo.fields.jited_prog_insns) === 0n) return undefined
  const stride = number(info, "jited_line_info_rec_size")
  return {
    bytes: Arena.region(arena, "info", "jited_prog_insns").slice(0, length),
    functionLengths: numbers(
      arena,
      "jited_func_lens",
      "nr_jited_func_lens",
      (region, at) => Arena.readNumber(region, Arena.u32(at * 4))
    ),
    lineAddresses: stride < 8 ? [] : numbers(
      arena,
      "jited_line_info",
      "nr_jited_line_info",
      (region, at) => Arena.readBigInt(region, Arena.u64(at * stride))
    )
  }
}

const decode = (
  arena: Arena.Arena<typeof Attr.GetInfo>,
  { instructions, machineCode: isCompiledWanted }: Wanted
): ProgInfo => {
  const info = Arena.region(arena, "info")
  const { fields } = Attr.ProgInfo
  const machineCode = isCompiledWanted ? machineCodeOf(arena) : undefined
  const mapIds = Arena.region(arena, "info", "map_ids")
  const tag = info.subarray(fields.tag.offset, fields.tag.offset + BPF_TAG_SIZE)
  const records = (
    array: "func_info" | "line_info",
    size: "func_info_rec_size" | "line_info_rec_size",
    count: "nr_func_info" | "nr_line_info"
  ) => ({
    recordSize: number(info, size),
    records: Arena.region(arena, "info", array).slice(0, number(info, size) * number(info, count))
  })
  return {
    id: number(info, "id"),
    type: number(info, "type"),
    name: Arena.readName(info, fields.name),
    tag: Array.from(tag, (byte) => byte.toString(16).padStart(2, "0")).join(""),
    gplCompatible: (number(info, "bits") & 1) !== 0,
    xlatedLength: number(info, "xlated_prog_len"),
    jitedLength: number(info, "jited_prog_len"),
    mapIds: Array.from({ length: number(info, "nr_map_ids") }, (_, i) => Arena.readNumber(mapIds, Arena.u32(i * 4))),
    btfId: number(info, "btf_id"),
    funcInfo: records("func_info", "func_info_rec_size", "nr_func_info"),
    lineInfo: records("line_info", "line_info_rec_size", "nr_line_info"),
    verifiedInstructions: number(info, "verified_insns"),
    loadTime: Arena.readBigInt(info, fields.load_time),
    createdByUid: number(info, "created_by_uid"),
    ifindex: number(info, "ifindex"),
    runTime: Arena.readBigInt(info, fields.run_time_ns),
    runCount: Arena.readBigInt(info, fields.run_cnt),
    recursionMisses: Arena.readBigInt(info, fields.recursion_misses),
    attachBtfObjectId: number(info, "attach_btf_obj_id"),
    attachBtfId: number(info, "attach_btf_id"),
    ...(instructions
      ? {
        // A kernel that hides them takes the address of the room out of the answer.
        instructions: Arena.readBigInt(info, fields.xlated_prog_insns) === 0n
          ? new Uint8Array()
          : Arena.region(arena, "info", "xlated_prog_insns").slice(0, number(info, "xlated_prog_len"))
      }
      : {}),
    ...(instructions || isCompiledWanted
      ? {
        jitedSymbols: numbers(
          arena,
          "jited_ksyms",
          "nr_jited_ksyms",
          (region, at) => Arena.readBigInt(region, Arena.u64(at * 8))
        )
      }
      : {}),
    ...(machineCode === undefined ? {} : { machineCode })
  }
}

const BPF_STREAM_STDOUT = 1
const BPF_STREAM_STDERR = 2

/** The most that is read of a stream at once, bytes: the kernel keeps 100,000 of each. */
const longestRead = 0x10_0000

/** Asking again for longer arrays ends after this many times. */
const maximumInfoRounds = 8

/** The handlers of the calls on loaded programs. */
export const handlers = (
  context: Context
): Pick<Handlers<Handle>, "ProgBindMap" | "ProgTestRun" | "ProgGetInfo" | "ProgStreamRead"> => {
  const { sys } = context
  return {
    ProgBindMap: Effect.fnUntraced(function*(call, bound) {
      const prog = yield* handleOf(bound, "ProgBindMap", call.prog)
      const map = yield* handleOf(bound, "ProgBindMap", call.map)
      yield* once(sys, bound, {
        call: "ProgBindMap",
        subject: prog.name,
        command: Command.BPF_PROG_BIND_MAP,
        layout: Attr.ProgBindMap,
        values: { prog_fd: prog.fd, map_fd: map.fd }
      })
      return done
    }),

    ProgTestRun: Effect.fnUntraced(function*(call, bound) {
      const prog = yield* handleOf(bound, "ProgTestRun", call.prog)
      const request: Request<typeof Attr.ProgTestRun> = {
        call: "ProgTestRun",
        subject: prog.name,
        command: Command.BPF_PROG_TEST_RUN,
        layout: Attr.ProgTestRun,
        values: testRunValues(call, prog),
        accept: [Errno.numbers.ENOSPC],
        hint: Hints.testRun(call)
      }
      // Many runs take long, and the event loop should not wait for them; a single one is over sooner than a thread starts.
      const run = call.repeat > 1 ? context.enterAsync(request) : enter(sys, request)
      const arena = yield* attemptsOf(bound).persist(
        undefined,
        Effect.flatMap(
          run,
          ({ arena, result }) => result < 0 ? Effect.fail(roomMissing(call, prog, arena)) : Effect.succeed(arena)
        )
      )
      return {
        result: {
          retval: Arena.field(arena, "retval"),
          duration: Arena.field(arena, "duration"),
          dataOut: Arena.region(arena, "data_out").slice(0, Arena.field(arena, "data_size_out")),
          contextOut: contextOut(call, prog, arena)
        }
      }
    }),

    ProgGetInfo: Effect.fnUntraced(function*(call, bound) {
      const prog = yield* handleOf(bound, "ProgGetInfo", call.prog)
      const attempts = attemptsOf(bound)
      const wanted = { instructions: call.instructions === true, machineCode: call.machineCode === true }
      let { arena } = yield* attempts.persist(undefined, enter(sys, infoRequest("ProgGetInfo", prog, {})))
      for (let round = 0; round < maximumInfoRounds; round++) {
        const counted = Arena.region(arena, "info")
        const answer = yield* attempts.persist(
          "arrays",
          enter(sys, infoRequest("ProgGetInfo", prog, roomsFor(counted, wanted)))
        )
        arena = answer.arena
        if (isComplete(counted, Arena.region(arena, "info"))) break
      }
      const info = decode(arena, wanted)
      const file = call.file === true ? FdInfo.ofProg(prog.fd) : undefined
      return { result: file === undefined ? info : { ...info, file } }
    }),

    ProgStreamRead: Effect.fnUntraced(function*(call, bound) {
      const prog = yield* handleOf(bound, "ProgStreamRead", call.prog)
      const { length, stream } = call
      if (!(Number.isInteger(length) && length > 0 && length <= longestRead)) {
        return yield* invalid("ProgStreamRead", prog.name, `there is room to read into for 1 to ${longestRead} bytes`)
      }
      const { arena, result } = yield* once(sys, bound, {
        call: "ProgStreamRead",
        subject: prog.name,
        command: Command.BPF_PROG_STREAM_READ_BY_FD,
        layout: Attr.ProgStreamRead,
        values: {
          stream_buf: Arena.room(length),
          stream_buf_len: length,
          stream_id: stream === "Stdout" ? BPF_STREAM_STDOUT : BPF_STREAM_STDERR,
          prog_fd: prog.fd
        }
      })
      return { result: Arena.region(arena, "stream_buf").slice(0, result) }
    })
  }
}
