/**
 * The calls that attach programs by links, and those that read what iterators write.
 *
 * Source: reference page `attach`.
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { AttachFlag, AttachType, Command, LinkFlag } from "../abi/BpfConstants.ts"
import type { LinkCreate, LinkOptions } from "../calls/LinkCalls.ts"
import type { CallError, KernelError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Bound, Handlers } from "../Session.ts"
import { errnoOf } from "../sys/Sys.ts"
import { type Context, handleOf } from "./Context.ts"
import { attemptsOf, enter, invalid, once, type Patience, patience, refused, type Request } from "./Enter.ts"
import type { Handle } from "./Handle.ts"
import * as LinkInfo from "./LinkInfo.ts"
import * as Points from "./Points.ts"

/** Links to more places than this are made on another thread: the kernel takes its time. */
const fewPlaces = 16

const numbers = (values: ReadonlyArray<bigint> | undefined): Arena.Pointee | undefined =>
  values === undefined
    ? undefined
    : Arena.bytes(new Uint8Array(BigUint64Array.from(values, (value) => BigInt.asUintN(64, value)).buffer))

const utf8 = new TextEncoder()

/** What a link is attached to, as the kernel is told. */
interface Told {
  readonly layout: Arena.Layout
  readonly values: Readonly<Record<string, Arena.FieldValue>>
  /** How many places it names. */
  readonly places: number
}

const told = (
  layout: Arena.Layout,
  values: Readonly<Record<string, Arena.FieldValue>> = {},
  places = 1
): Told => ({ layout, values, places })

const iterInfo = Effect.fnUntraced(function*(
  bound: Bound<Handle>,
  over: Extract<LinkOptions, { readonly _tag: "Iter" }>["over"]
) {
  // `union bpf_iter_link_info`: 16 bytes in every case.
  const info = new DataView(new ArrayBuffer(16))
  const little = Arena.hostIsLittle
  switch (over._tag) {
    case "Map":
      info.setUint32(0, (yield* handleOf(bound, "LinkCreate", over.map)).fd, little)
      break
    case "Cgroup":
      info.setUint32(0, over.order, little)
      if (over.target !== undefined) {
        info.setUint32(4, (yield* handleOf(bound, "LinkCreate", over.target)).fd, little)
      }
      info.setBigUint64(8, over.id ?? 0n, little)
      break
    case "Task":
      info.setUint32(0, over.tid, little)
      info.setUint32(4, over.pid, little)
      break
  }
  return new Uint8Array(info.buffer)
})

/** The layout and the values that say what the options say. */
const optionsOf = Effect.fnUntraced(function*(
  bound: Bound<Handle>,
  options: LinkOptions | undefined
): Effect.fn.Return<Told, CallError> {
  switch (options?._tag) {
    case undefined:
      return told(Attr.LinkCreate)
    case "PerfEvent":
      return told(Attr.LinkCreatePerfEvent, { bpf_cookie: options.cookie })
    case "Tracing":
      return told(Attr.LinkCreateTracing, { cookie: options.cookie })
    case "KprobeMulti": {
      const { addresses, cookies, isReturn, symbols } = options
      const count = symbols?.length ?? addresses?.length ?? 0
      return told(Attr.LinkCreateKprobeMulti, {
        kprobe_flags: isReturn ? LinkFlag.BPF_F_KPROBE_MULTI_RETURN : 0,
        cnt: count,
        syms: symbols === undefined ? undefined : Arena.table(symbols.map((name) => utf8.encode(`${name}\0`))),
        addrs: numbers(addresses),
        cookies: numbers(cookies)
      }, count)
    }
    case "UprobeMulti": {
      const { cookies, counterOffsets, isReturn, offsets, path, pid } = options
      return told(Attr.LinkCreateUprobeMulti, {
        path: Arena.text(path),
        offsets: numbers(offsets),
        ref_ctr_offsets: numbers(counterOffsets),
        cookies: numbers(cookies),
        cnt: offsets.length,
        uprobe_flags: isReturn ? LinkFlag.BPF_F_UPROBE_MULTI_RETURN : 0,
        pid
      }, offsets.length)
    }
    case "TracingMulti":
      return told(Attr.LinkCreateTracingMulti, {
        ids: Arena.bytes(new Uint8Array(Uint32Array.from(options.ids).buffer)),
        cookies: numbers(options.cookies),
        cnt: options.ids.length
      }, options.ids.length)
    case "Netfilter":
      return told(Attr.LinkCreateNetfilter, {
        pf: options.protocolFamily,
        hooknum: options.hook,
        priority: options.priority,
        netfilter_flags: options.flags
      })
    case "Placed": {
      const neighbour = yield* Points.neighbour(bound, "LinkCreate", options.neighbour)
      return told(Attr.LinkCreateOrdered, {
        flags: neighbour.flags,
        relative_fd: neighbour.number,
        expected_revision: options.expectedRevision
      })
    }
    case "Iter": {
      const info = yield* iterInfo(bound, options.over)
      return told(Attr.LinkCreateIter, { iter_info: Arena.bytes(info), iter_info_len: info.length })
    }
  }
})

/** A function of another program, as the kernel is told. */
const targetOf = Effect.fnUntraced(function*(context: Context, call: LinkCreate, bound: Bound<Handle>, named: string) {
  if (call.target._tag !== "Function") {
    return { target_fd: (yield* Points.point(bound, "LinkCreate", call.target)).number }
  }
  const program = yield* handleOf(bound, "LinkCreate", call.target.of.program)
  const found = yield* context.functionOf(named, program, call.target.of.function)
  return { target_fd: found.attach_prog_fd, target_btf_id: found.attach_btf_id }
})

/** The name of what is attached, for messages. */
const nameOf = (handle: { readonly name: string }, attachType: number): string =>
  attachType === AttachType.BPF_STRUCT_OPS ? `struct ${handle.name}` : handle.name

/** Iterators are disturbed by signals, and give up for a while when they go over much and find little. */
const readPatience: Patience = { ...patience, EAGAIN: 1000 }

/** Reads from a descriptor on another thread. */
const readFile = (subject: string, fd: number, length: number): Effect.Effect<Uint8Array, KernelError> =>
  Effect.uninterruptible(Effect.callback<Uint8Array, KernelError>((resume) => {
    const room = new Uint8Array(length)
    Fs.read(fd, room, 0, length, null, (error, count) => {
      resume(
        error === null
          ? Effect.succeed(room.subarray(0, count))
          : Effect.fail(refused("IterRead", subject, -errnoOf(error)))
      )
    })
  }))

type Handled =
  | "LinkCreate"
  | "LinkUpdate"
  | "LinkDetach"
  | "LinkGetInfo"
  | "RawTracepointOpen"
  | "IterCreate"
  | "IterRead"

/** The handlers of the calls on links. */
export const handlers = (context: Context): Pick<Handlers<Handle>, Handled> => {
  const { sys } = context
  const link = (fd: number): Handle => ({ _tag: "Link", fd })
  return {
    LinkCreate: Effect.fnUntraced(function*(call, bound) {
      const handle = yield* handleOf(bound, "LinkCreate", call.of)
      const subject = nameOf(handle, call.attachType)
      const { layout, places, values } = yield* optionsOf(bound, call.options)
      const target = yield* targetOf(context, call, bound, handle.name)
      const request: Request<Arena.Layout> = {
        call: "LinkCreate",
        subject,
        command: Command.BPF_LINK_CREATE,
        layout,
        values: {
          ...values,
          ...target,
          prog_fd: handle.fd,
          attach_type: call.attachType,
          flags: call.flags | (typeof values["flags"] === "number" ? values["flags"] : 0)
        },
        answer: "Descriptor"
      }
      const named = call.target._tag === "Device" ? call.target : call.options
      const inside = yield* Points.systemOf(context, bound, "LinkCreate", named)
      const create = places > fewPlaces ? context.enterAsync(request) : enter(inside.sys, request)
      const { result } = yield* attemptsOf(bound).persist(undefined, create)
      return { result: undefined, handle: link(result) }
    }),

    LinkUpdate: Effect.fnUntraced(function*(call, bound) {
      const { fd } = yield* handleOf(bound, "LinkUpdate", call.link)
      const to = yield* handleOf(bound, "LinkUpdate", call.to)
      const old = call.old === undefined ? undefined : yield* handleOf(bound, "LinkUpdate", call.old)
      yield* once(sys, bound, {
        call: "LinkUpdate",
        subject: to.name,
        command: Command.BPF_LINK_UPDATE,
        layout: Attr.LinkUpdate,
        values: {
          link_fd: fd,
          new_prog_fd: to.fd,
          flags: call.flags | (old === undefined ? 0 : AttachFlag.BPF_F_REPLACE),
          old_prog_fd: old?.fd
        }
      })
      return { result: undefined }
    }),

    LinkDetach: Effect.fnUntraced(function*(call, bound) {
      const { fd } = yield* handleOf(bound, "LinkDetach", call.link)
      yield* once(sys, bound, {
        call: "LinkDetach",
        subject: Ref.key(call.link),
        command: Command.BPF_LINK_DETACH,
        layout: Attr.LinkDetach,
        values: { link_fd: fd }
      })
      return { result: undefined }
    }),

    LinkGetInfo: Effect.fnUntraced(function*(call, bound) {
      const { fd } = yield* handleOf(bound, "LinkGetInfo", call.link)
      return { result: yield* LinkInfo.read(sys, attemptsOf(bound), Ref.key(call.link), fd) }
    }),

    RawTracepointOpen: Effect.fnUntraced(function*(call, bound) {
      const prog = yield* handleOf(bound, "RawTracepointOpen", call.prog)
      const { result } = yield* once(sys, bound, {
        call: "RawTracepointOpen",
        subject: call.name ?? prog.name,
        command: Command.BPF_RAW_TRACEPOINT_OPEN,
        layout: Attr.RawTracepointOpen,
        values: {
          name: call.name === undefined ? undefined : Arena.text(call.name),
          prog_fd: prog.fd,
          cookie: call.cookie
        },
        answer: "Descriptor"
      })
      return { result: undefined, handle: link(result) }
    }),

    IterCreate: Effect.fnUntraced(function*(call, bound) {
      const { fd } = yield* handleOf(bound, "IterCreate", call.link)
      const subject = Ref.key(call.link)
      const { result } = yield* once(sys, bound, {
        call: "IterCreate",
        subject,
        command: Command.BPF_ITER_CREATE,
        layout: Attr.IterCreate,
        values: { link_fd: fd },
        answer: "Descriptor"
      })
      return { result: undefined, handle: { _tag: "Iter", fd: result, name: `run of ${subject}` } }
    }),

    IterRead: Effect.fnUntraced(function*(call, bound) {
      const { fd, name } = yield* handleOf(bound, "IterRead", call.iter)
      if (!Number.isInteger(call.length) || call.length <= 0) {
        return yield* invalid("IterRead", name, `${call.length} bytes are no room to read into`)
      }
      const result = yield* attemptsOf(bound).persist(undefined, readFile(name, fd, call.length), readPatience)
      return { result }
    })
  }
}
