/**
 * Runs loader programs, and takes over the descriptors that they publish.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import type { LoaderRun, Published } from "../calls/LoaderCalls.ts"
import { type KernelError, RefError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Bound, Handlers } from "../Session.ts"
import type { Sys } from "../sys/Sys.ts"
import { type Context, handleOf } from "./Context.ts"
import { attemptsOf, invalid, refused } from "./Enter.ts"
import type { Handle, ProgHandle } from "./Handle.ts"
import { describeDescriptor } from "./PinCalls.ts"

/** A handle for what a program published. */
interface Taken {
  readonly ref: Ref.Ref
  readonly handle: Handle
}

/** The context as a structure whose pointers are the addresses that the call puts into it. */
const contextOf = (call: LoaderRun): Arena.Pointee => {
  const pointers = [
    ...call.memory.map(({ at, bytes }, number) => ({ name: `memory${number}`, at, to: Arena.bytes(bytes) })),
    ...(call.log === undefined ? [] : [{ name: "log", at: call.log.at, to: Arena.room(call.log.size) }])
  ]
  return Arena.struct(
    {
      size: call.context.length,
      fields: Object.fromEntries(pointers.map(({ at, name }) => [name, Arena.pointer(at)]))
    },
    Object.fromEntries(pointers.map(({ name, to }) => [name, to])),
    call.context
  )
}

/** What is wrong with the places in the context that a call names. */
const complaintOf = ({ context, lends = [], log, memory, publishes }: LoaderRun): string | undefined => {
  const isInside = (at: number, size: number): boolean =>
    Number.isInteger(at) && at >= 0 && at % 4 === 0 && at + size <= context.length
  const isFine = memory.every(({ at }) => isInside(at, 8)) && publishes.every(({ at }) => isInside(at, 4)) &&
    lends.every(({ at }) => isInside(at, 8)) &&
    (log === undefined || (isInside(log.at, 8) && Number.isInteger(log.size) && log.size >= 0))
  return isFine ? undefined : `a place that the call names is outside of the context's ${context.length} bytes`
}

/**
 * Descriptors for the standard ones that this process has closed, for as long as a loader runs: to a loader descriptor 0
 * is none, so that what got this number would never be closed.
 */
const standardDescriptors: Effect.Effect<ReadonlyArray<number>> = Effect.sync(() => {
  const opened: Array<number> = []
  try {
    // The lowest number that is free is the one that is given out.
    do opened.push(Fs.openSync("/dev/null", "r"))
    while ((opened.at(-1) ?? 3) <= 2)
  } catch {
    // Without /dev/null, or at the limit of descriptors: the loader will fail where it matters.
  }
  return opened
})

const closeAll = (sys: Sys, descriptors: ReadonlyArray<number>): Effect.Effect<void> =>
  Effect.sync(() => {
    for (const fd of descriptors) sys.close(fd)
  })

/** What a program published, as handles. When one of them is not what it should be, all are closed. */
const take = Effect.fnUntraced(function*(
  sys: Sys,
  publishes: ReadonlyArray<Published>,
  context: Uint8Array
): Effect.fn.Return<ReadonlyArray<Taken>, KernelError | RefError> {
  const view = new DataView(context.buffer, context.byteOffset, context.byteLength)
  const found: Array<{ readonly as: Published["as"]; readonly fd: number }> = []
  /** Descriptors of the kind that was promised: only these can be the program's to hand out. */
  const open = new Set<number>()
  let fault: KernelError | RefError | undefined
  for (const { as, at } of publishes) {
    const fd = view.getInt32(at, Arena.hostIsLittle)
    if (fd === 0) continue
    const kind = sys.kindOf(fd)
    if (typeof kind === "number") fault ??= refused("LoaderRun", `descriptor ${fd}`, -kind)
    else if (kind !== as._tag || open.has(fd)) {
      fault ??= new RefError({ call: "LoaderRun", ref: Ref.key(as), reason: "WrongKind" })
    } else {
      open.add(fd)
      found.push({ as, fd })
    }
  }
  if (fault !== undefined) {
    yield* closeAll(sys, [...open])
    return yield* fault
  }
  return yield* Effect.onError(
    Effect.forEach(found, ({ as, fd }) =>
      Effect.map(
        describeDescriptor(sys, "Borrow", `descriptor ${fd}`, as._tag, fd),
        (handle) => ({ ref: as, handle })
      )),
    () => closeAll(sys, [...open])
  )
})

const runValues = (call: LoaderRun, prog: ProgHandle): Arena.Values<typeof Attr.ProgTestRun> => ({
  prog_fd: prog.fd,
  ctx_size_in: call.context.length,
  ctx_in: contextOf(call)
})

/** The context as the program left it, without addresses. */
const contextAfter = (call: LoaderRun, region: Uint8Array): Uint8Array => {
  const context = region.slice()
  for (const { at, bytes } of call.memory) if (bytes.length > 0) context.fill(0, at, at + 8)
  if (call.log !== undefined && call.log.size > 0) context.fill(0, call.log.at, call.log.at + 8)
  return context
}

/** The handler of `LoaderRun`. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "LoaderRun"> => {
  const { sys } = context
  const run = Effect.fnUntraced(function*(call: LoaderRun, prog: ProgHandle) {
    const { arena } = yield* context.enterAsync({
      call: "LoaderRun",
      subject: prog.name,
      command: Command.BPF_PROG_TEST_RUN,
      layout: Attr.ProgTestRun,
      values: runValues(call, prog)
    })
    const after = contextAfter(call, Arena.region(arena, "ctx_in"))
    const retval = Arena.field(arena, "retval") | 0
    const published = retval === 0 ? yield* take(sys, call.publishes, after) : []
    const log = Arena.cString(Arena.region(arena, "ctx_in", "log"))
    return { result: { retval, context: after, log }, published }
  })
  /** The call with the programs that it lends in its context. */
  const withLent = Effect.fnUntraced(function*(call: LoaderRun, bound: Bound<Handle>, prog: ProgHandle) {
    if (call.lends === undefined || call.lends.length === 0) return call
    const told = new Uint8Array(call.context)
    const view = new DataView(told.buffer)
    for (const { at, function: name, program } of call.lends) {
      const target = yield* handleOf(bound, "LoaderRun", program)
      const { attach_btf_id, attach_prog_fd } = yield* context.functionOf(prog.name, target, name)
      view.setInt32(at, attach_prog_fd, Arena.hostIsLittle)
      view.setUint32(at + 4, attach_btf_id, Arena.hostIsLittle)
    }
    return { ...call, context: told }
  })
  return {
    LoaderRun: Effect.fnUntraced(function*(call, bound) {
      const prog = yield* handleOf(bound, "LoaderRun", call.prog)
      const complaint = complaintOf(call)
      if (complaint !== undefined) return yield* invalid("LoaderRun", prog.name, complaint)
      const told = yield* withLent(call, bound, prog)
      return yield* attemptsOf(bound).persist(
        undefined,
        Effect.acquireUseRelease(
          standardDescriptors,
          () => run(told, prog),
          (descriptors) => closeAll(sys, descriptors)
        ),
        // Whatever disturbed it, the loader's data may be used up: it is not for this call to run it again.
        {}
      )
    })
  }
}
