/**
 * Objects by identifier: listing them, opening them, and what BTF objects are.
 *
 * Identifiers are handed out in rising order and used again only when all have been used. Whatever is listed may have gone
 * when it is opened.
 */
import * as Effect from "effect/Effect"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import type { BtfInfo, GetById, IdKind } from "../KernelCall.ts"
import type { CallError, KernelError } from "../KernelError.ts"
import * as Ref from "../Ref.ts"
import type { Handlers } from "../Session.ts"
import type { Sys } from "../sys/Sys.ts"
import { type Context, handleOf } from "./Context.ts"
import { attemptsOf, enter, once, refused, type Request } from "./Enter.ts"
import type { Handle } from "./Handle.ts"
import { describeDescriptor } from "./PinCalls.ts"

const nextCommand: Readonly<Record<IdKind, number>> = {
  Map: Command.BPF_MAP_GET_NEXT_ID,
  Prog: Command.BPF_PROG_GET_NEXT_ID,
  Btf: Command.BPF_BTF_GET_NEXT_ID,
  Link: Command.BPF_LINK_GET_NEXT_ID
}

const openCommand: Readonly<Record<IdKind, number>> = {
  Map: Command.BPF_MAP_GET_FD_BY_ID,
  Prog: Command.BPF_PROG_GET_FD_BY_ID,
  Btf: Command.BPF_BTF_GET_FD_BY_ID,
  Link: Command.BPF_LINK_GET_FD_BY_ID
}

/** Identifiers are 32 bits, and the kernel wants room for the next. */
const largest = 0xffff_ffff

/** Opens an identifier; the descriptor is closed again where it cannot be described. */
const open = (sys: Sys, call: GetById): Effect.Effect<Handle, CallError> => {
  const kind = call.as._tag
  const subject = `${kind.toLowerCase()} ${call.id}`
  const request = {
    call: "GetById",
    subject,
    command: openCommand[kind],
    layout: Attr.Ids,
    values: { start_id: call.id },
    answer: "Descriptor"
  } satisfies Request<typeof Attr.Ids>
  return Effect.flatMap(enter(sys, request), ({ result: fd }): Effect.Effect<Handle, KernelError> => {
    const handle: Effect.Effect<Handle, KernelError> = kind === "Btf"
      ? Effect.succeed({ _tag: "Btf", fd })
      : describeDescriptor(sys, "GetById", subject, kind, fd)
    return Effect.onError(handle, () => Effect.sync(() => sys.close(fd)))
  })
}

/** Room for a name, bytes: those of modules have 64 at most, with the closing NUL. */
const nameLength = 64

/** The largest blob that room is made for, bytes: the kernel's own limit is far below. */
const maximumSize = 0x1000_0000

const infoRequest = (
  subject: string,
  fd: number,
  values: Arena.Values<typeof Attr.BtfInfo>
): Request<typeof Attr.GetInfo> => ({
  call: "BtfGetInfo",
  subject,
  command: Command.BPF_OBJ_GET_INFO_BY_FD,
  layout: Attr.GetInfo,
  values: {
    bpf_fd: fd,
    info_len: Attr.BtfInfo.size,
    info: Arena.struct(Attr.BtfInfo, { name: Arena.room(nameLength), name_len: nameLength, ...values })
  }
})

const decode = (arena: Arena.Arena<typeof Attr.GetInfo>): BtfInfo => {
  const info = Arena.region(arena, "info")
  const { fields } = Attr.BtfInfo
  return {
    id: Arena.readNumber(info, fields.id),
    name: Arena.cString(Arena.region(arena, "info", "name")),
    isKernels: Arena.readNumber(info, fields.kernel_btf) !== 0,
    size: Arena.readNumber(info, fields.btf_size)
  }
}

/** The handlers of the calls on identifiers. */
export const handlers = (context: Context): Pick<Handlers<Handle>, "IdNext" | "GetById" | "BtfGetInfo"> => {
  const { sys } = context
  return {
    IdNext: Effect.fnUntraced(function*(call, bound) {
      // Behind the last number there is nothing to ask for.
      if (call.after >= largest) return { result: undefined }
      const { arena, result } = yield* once(sys, bound, {
        call: "IdNext",
        subject: `identifiers of ${call.kind.toLowerCase()} objects`,
        command: nextCommand[call.kind],
        layout: Attr.Ids,
        values: { start_id: call.after },
        accept: [Errno.numbers.ENOENT]
      })
      if (result < 0) return { result: undefined }
      const next = Arena.field(arena, "next_id")
      // They only rise; another answer would never end.
      if (next <= call.after) {
        return yield* refused("IdNext", `identifier ${next} after ${call.after}`, Errno.numbers.EIO)
      }
      return { result: next }
    }),

    GetById: Effect.fnUntraced(function*(call, bound) {
      return { result: undefined, handle: yield* attemptsOf(bound).persist(undefined, open(sys, call)) }
    }),

    BtfGetInfo: Effect.fnUntraced(function*(call, bound) {
      const { fd } = yield* handleOf(bound, "BtfGetInfo", call.btf)
      const subject = Ref.key(call.btf)
      const attempts = attemptsOf(bound)
      const first = yield* attempts.persist(undefined, enter(sys, infoRequest(subject, fd, {})))
      const info = decode(first.arena)
      if (call.bytes !== true) return { result: info }
      if (info.size > maximumSize) return yield* refused("BtfGetInfo", subject, Errno.numbers.EFBIG)
      const { arena } = yield* attempts.persist(
        "blob",
        enter(sys, infoRequest(subject, fd, { btf: Arena.room(info.size), btf_size: info.size }))
      )
      const read = decode(arena)
      if (read.size !== info.size) return yield* refused("BtfGetInfo", subject, Errno.numbers.ESTALE)
      return { result: { ...read, bytes: Arena.region(arena, "info", "btf").slice() } }
    })
  }
}
