/**
 * What a descriptor of a process traces by a program.
 *
 * Source: `bpf_task_fd_query` in `kernel/bpf/syscall.c`.
 */
import * as Effect from "effect/Effect"
import * as Arena from "../abi/Arena.ts"
import * as Attr from "../abi/Attr.ts"
import { Command } from "../abi/BpfConstants.ts"
import * as Errno from "../abi/Errno.ts"
import type { TaskFdQuery, TracedFd } from "../calls/EventCalls.ts"
import type { CallError } from "../KernelError.ts"
import type { Bound, Performed } from "../Session.ts"
import type { Sys } from "../sys/Sys.ts"
import { invalid, once } from "./Enter.ts"
import type { Handle } from "./Handle.ts"

/** Room for a name: as long as a path may be. */
const nameRoom = 4096

/** The process, or its descriptor, has gone; or it is nothing that a program is attached to. */
const nothing: ReadonlyArray<number> = [Errno.numbers.ENOENT, Errno.numbers.EBADF, Errno.numbers.ENOTSUPP]

const isNumber = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= 0x7fff_ffff

/** Performs the call. */
export const taskFdQuery = (
  sys: Sys,
  call: TaskFdQuery,
  bound: Bound<Handle>
): Effect.Effect<Performed<Handle, TracedFd | undefined>, CallError> =>
  Effect.gen(function*() {
    const subject = `descriptor ${call.fd} of process ${call.pid}`
    if (!isNumber(call.pid) || !isNumber(call.fd)) {
      return yield* invalid("TaskFdQuery", subject, "processes and descriptors have numbers from 0 on")
    }
    const { arena, result } = yield* once(sys, bound, {
      call: "TaskFdQuery",
      subject,
      command: Command.BPF_TASK_FD_QUERY,
      layout: Attr.TaskFdQuery,
      values: { pid: call.pid, fd: call.fd, buf_len: nameRoom, buf: Arena.room(nameRoom) },
      // A name that is too long comes as far as there is room.
      accept: [...nothing, Errno.numbers.ENOSPC]
    })
    if (nothing.includes(-result)) return { result: undefined }
    const whole = new Uint8Array(arena.buffer)
    const { fields } = Attr.TaskFdQuery
    return {
      result: {
        progId: Arena.field(arena, "prog_id"),
        type: Arena.field(arena, "fd_type"),
        name: Arena.cString(Arena.region(arena, "buf")),
        offset: Arena.readBigInt(whole, fields.probe_offset),
        address: Arena.readBigInt(whole, fields.probe_addr)
      }
    }
  })
