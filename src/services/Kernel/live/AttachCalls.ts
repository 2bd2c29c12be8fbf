/**
 * The calls that attach programs without links, and tell who is attached.
 *
 * Source: reference page `attach`, section 17.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import type { Attached } from "../calls/AttachCalls.ts"
import type { KernelError } from "../KernelError.ts"
import type { Handlers } from "../Session.ts"
import { systemIn } from "../sys/Net.ts"
import { errnoOf, type Sys } from "../sys/Sys.ts"
import { type Context, handleOf } from "./Context.ts"
import { attemptsOf, enter, invalid, once, refused, type Request } from "./Enter.ts"
import type { AttachmentHandle, FileHandle, Handle } from "./Handle.ts"
import * as Points from "./Points.ts"

/** Opens a file or folder that programs are attached to. */
const open = (path: string): Effect.Effect<FileHandle<"Target">, KernelError> =>
  path === "" || path.includes("\0")
    ? Effect.fail(invalid("TargetOpen", JSON.stringify(path), "this is no path"))
    : Effect.try({
      // Node opens everything with O_CLOEXEC. A pipe is not waited for.
      try: (): FileHandle<"Target"> => ({
        _tag: "Target",
        fd: Fs.openSync(path, Fs.constants.O_RDONLY | Fs.constants.O_NONBLOCK),
        name: path
      }),
      catch: (thrown) => refused("TargetOpen", path, -errnoOf(thrown))
    })

/** Closes the descriptors that detaching needs. */
export const letGo = (sys: Sys, handle: AttachmentHandle): void => {
  sys.close(handle.program)
  if (handle.isDescriptor && handle.target >= 0) sys.close(handle.target)
  if (handle.netns !== undefined && handle.netns >= 0) sys.close(handle.netns)
}

/** The system calls where something was attached; `undefined` where they cannot be had. */
const systemOf = (sys: Sys, net: Context["net"], { netns }: AttachmentHandle): Sys | undefined => {
  if (netns === undefined) return sys
  const bound = net()
  return Result.isSuccess(bound) ? systemIn(bound.success, sys, netns) : undefined
}

/** Programs that room is made for at first, and at most: the kernel attaches far fewer in one place. */
const firstRoom = 64
const largestRoom = 65_536

/** The identifier of a program. */
const idOf = (sys: Sys, fd: number): number | undefined => {
  const arena = Arena.make(Attr.GetInfo, {
    bpf_fd: fd,
    info_len: Attr.ProgInfo.size,
    info: Arena.struct(Attr.ProgInfo, {})
  })
  if (Result.isFailure(arena) || sys.bpf(Command.BPF_OBJ_GET_INFO_BY_FD, arena.success) < 0) return undefined
  return Arena.readNumber(Arena.region(arena.success, "info"), Attr.ProgInfo.fields.id)
}

/**
 * Whether somebody else's program is where ours was. A cgroup in which there is one program alone detaches whatever is there,
 * whichever program it is told to.
 */
const isReplaced = (sys: Sys, handle: AttachmentHandle): boolean => {
  const query = Arena.make(Attr.ProgQuery, {
    target_fd: handle.target,
    attach_type: handle.attachType,
    count: firstRoom,
    prog_ids: Arena.room(firstRoom * 4)
  })
  const id = idOf(sys, handle.program)
  if (id === undefined || Result.isFailure(query) || sys.bpf(Command.BPF_PROG_QUERY, query.success) < 0) return false
  const count = Math.min(Arena.field(query.success, "count"), firstRoom)
  return !Array.from({ length: count }, (_, at) => each(query.success, "prog_ids", at)).includes(id)
}

/** Detaches what was attached, if it is still there, and lets go of it. */
export const detach = (sys: Sys, net: Context["net"], handle: AttachmentHandle): void => {
  const arena = Arena.make(Attr.ProgAttach, {
    target_fd: handle.target,
    attach_bpf_fd: handle.program,
    attach_type: handle.attachType
  })
  const inside = systemOf(sys, net, handle)
  if (inside !== undefined && Result.isSuccess(arena) && !isReplaced(inside, handle)) {
    inside.bpf(Command.BPF_PROG_DETACH, arena.success)
  }
  letGo(sys, handle)
}

/** A 32-bit number of each program. */
const each = (arena: Arena.Arena<typeof Attr.ProgQuery>, field: keyof typeof Attr.ProgQuery.fields, at: number) =>
  Arena.readNumber(Arena.region(arena, field), Arena.u32(at * 4))

const decode = (arena: Arena.Arena<typeof Attr.ProgQuery>): Attached => {
  const whole = new Uint8Array(arena.buffer)
  return {
    flags: Arena.field(arena, "attach_flags"),
    revision: Arena.readBigInt(whole, Attr.ProgQuery.fields.revision),
    programs: Array.from({ length: Arena.field(arena, "count") }, (_, at) => ({
      id: each(arena, "prog_ids", at),
      flags: each(arena, "prog_attach_flags", at),
      linkId: each(arena, "link_ids", at),
      linkFlags: each(arena, "link_attach_flags", at)
    }))
  }
}

/**
 * How much the kernel is asked. Cgroups of older kernels know no identifiers of links, and no kernel tells flags of single
 * programs together with those that are inherited.
 */
type Detail = "All" | "Flags" | "Programs"

const lesser: Readonly<Record<Detail, Detail | undefined>> = { All: "Flags", Flags: "Programs", Programs: undefined }

/** The handlers of the calls that attach without links. */
export const handlers = (
  context: Context
): Pick<Handlers<Handle>, "TargetOpen" | "ProgAttach" | "ProgDetach" | "ProgQuery"> => {
  const { sys } = context
  return {
    TargetOpen: Effect.fnUntraced(function*(call, bound) {
      return { result: undefined, handle: yield* attemptsOf(bound).persist(undefined, open(call.path)) }
    }),

    ProgAttach: Effect.fnUntraced(function*(call, bound) {
      const prog = yield* handleOf(bound, "ProgAttach", call.prog)
      const target = yield* Points.point(bound, "ProgAttach", call.target)
      const beside = yield* Points.neighbour(bound, "ProgAttach", call.neighbour)
      const replace = call.replace === undefined ? undefined : yield* handleOf(bound, "ProgAttach", call.replace)
      const inside = yield* Points.systemOf(context, bound, "ProgAttach", call.target)
      const attach = Effect.gen(function*() {
        // Descriptors of its own, first: afterwards nothing may fail.
        const program = sys.duplicate(prog.fd)
        if (program < 0) return yield* refused("ProgAttach", prog.name, -program)
        const own = target.isDescriptor ? sys.duplicate(target.number) : target.number
        const netns = inside.netns === undefined ? undefined : sys.duplicate(inside.netns)
        const handle: AttachmentHandle = {
          _tag: "Attachment",
          attachType: call.attachType,
          program,
          target: own,
          isDescriptor: target.isDescriptor,
          ...(netns === undefined ? {} : { netns })
        }
        const missing = own < 0 ? own : netns !== undefined && netns < 0 ? netns : 0
        if (missing < 0) {
          letGo(sys, handle)
          return yield* refused("ProgAttach", prog.name, -missing)
        }
        yield* Effect.onError(
          enter(inside.sys, {
            call: "ProgAttach",
            subject: prog.name,
            command: Command.BPF_PROG_ATTACH,
            layout: Attr.ProgAttach,
            values: {
              target_fd: target.number,
              attach_bpf_fd: prog.fd,
              attach_type: call.attachType,
              attach_flags: call.flags | beside.flags,
              replace_bpf_fd: replace?.fd,
              relative_fd: beside.number,
              expected_revision: call.expectedRevision
            }
          }),
          () => Effect.sync(() => letGo(sys, handle))
        )
        return handle
      })
      return { result: undefined, handle: yield* attemptsOf(bound).persist(undefined, attach) }
    }),

    ProgDetach: Effect.fnUntraced(function*(call, bound) {
      const prog = call.prog === undefined ? undefined : yield* handleOf(bound, "ProgDetach", call.prog)
      const target = yield* Points.point(bound, "ProgDetach", call.target)
      const beside = yield* Points.neighbour(bound, "ProgDetach", call.neighbour)
      const inside = yield* Points.systemOf(context, bound, "ProgDetach", call.target)
      yield* once(inside.sys, bound, {
        call: "ProgDetach",
        subject: prog?.name ?? "the attached program",
        command: Command.BPF_PROG_DETACH,
        layout: Attr.ProgAttach,
        values: {
          target_fd: target.number,
          attach_bpf_fd: prog?.fd,
          attach_type: call.attachType,
          attach_flags: call.flags | beside.flags,
          relative_fd: beside.number,
          expected_revision: call.expectedRevision
        }
      })
      return { result: undefined }
    }),

    ProgQuery: Effect.fnUntraced(function*(call, bound) {
      const target = yield* Points.point(bound, "ProgQuery", call.target)
      const inside = yield* Points.systemOf(context, bound, "ProgQuery", call.target)
      const attempts = attemptsOf(bound)
      const request = (room: number, detail: Detail): Request<typeof Attr.ProgQuery> => ({
        call: "ProgQuery",
        subject: "the programs of an attach point",
        command: Command.BPF_PROG_QUERY,
        layout: Attr.ProgQuery,
        values: {
          target_fd: target.number,
          attach_type: call.attachType,
          query_flags: call.flags,
          count: room,
          prog_ids: Arena.room(room * 4),
          ...(detail === "Programs" ? {} : { prog_attach_flags: Arena.room(room * 4) }),
          ...(detail === "All"
            ? { link_ids: Arena.room(room * 4), link_attach_flags: Arena.room(room * 4) }
            : {})
        },
        accept: [Errno.numbers.ENOSPC, Errno.numbers.EINVAL, Errno.numbers.E2BIG]
      })
      let room = firstRoom
      let detail: Detail = "All"
      for (;;) {
        const because = room === firstRoom ? (detail === "All" ? undefined : "less detail") : "room"
        const { arena, result } = yield* attempts.persist(because, enter(inside.sys, request(room, detail)))
        if (result >= 0) return { result: decode(arena) }
        if (result === -Errno.numbers.ENOSPC && room < largestRoom) {
          room = Math.min(largestRoom, Math.max(room * 2, Arena.field(arena, "count")))
          continue
        }
        const less: Detail | undefined = lesser[detail]
        if (result === -Errno.numbers.ENOSPC || less === undefined) {
          return yield* refused("ProgQuery", "the programs of an attach point", -result)
        }
        detail = less
      }
    })
  }
}
