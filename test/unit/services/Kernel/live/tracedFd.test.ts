/** What descriptors of processes trace, and the kernel's own records of maps: answers that no kernel gives at will. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Arena from "../../../../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../../../../src/services/Kernel/abi/Attr.ts"
import { Command } from "../../../../../src/services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../../../../src/services/Kernel/abi/Errno.ts"
import * as Ref from "../../../../../src/services/Kernel/Ref.ts"
import { kernel, type Script, type Trace } from "./fakeSys.ts"

const asked = (script: Script, pid = 7, fd = 3) =>
  Effect.gen(function*() {
    const trace: Trace = []
    const answer = yield* Effect.scoped(Effect.gen(function*() {
      const session = yield* kernel(script, trace).session()
      return yield* session.call({ _tag: "TaskFdQuery", pid, fd })
    }))
    return { answer, trace }
  })

/** Writes what a kernel answers. */
const answering = (name: string, errno = 0): Script => (_, arena) => {
  const { fields } = Attr.TaskFdQuery
  const view = new DataView(arena.buffer)
  view.setUint32(fields.prog_id.offset, 5, Arena.hostIsLittle)
  view.setUint32(fields.fd_type.offset, 4, Arena.hostIsLittle)
  view.setBigUint64(fields.probe_offset.offset, 0x1_0000_0000n, Arena.hostIsLittle)
  view.setBigUint64(fields.probe_addr.offset, 2n, Arena.hostIsLittle)
  const room = Arena.region(arena as Arena.Arena<typeof Attr.TaskFdQuery>, "buf")
  room.set(new TextEncoder().encode(name).subarray(0, room.length))
  return -errno
}

describe("TaskFdQuery", () => {
  const expected = { progId: 5, type: 4, offset: 0x1_0000_0000n, address: 2n }

  it.live("reads what the kernel answers, and no more of a name than there is room for", () =>
    Effect.gen(function*() {
      const { answer } = yield* asked(answering("/bin/x\0left over"))
      assert.deepStrictEqual(answer, { ...expected, name: "/bin/x" })
      const long = yield* asked(answering("y".repeat(5000), numbers.ENOSPC))
      assert.deepStrictEqual(long.answer, { ...expected, name: "y".repeat(4096) })
    }))

  it.live("what has gone, or traces nothing, is nothing; what is forbidden is told", () =>
    Effect.gen(function*() {
      for (const errno of [numbers.ENOENT, numbers.EBADF, numbers.ENOTSUPP]) {
        assert.isUndefined((yield* asked(answering("", errno))).answer)
      }
      const error = yield* Effect.flip(asked(answering("", numbers.EPERM)))
      assert.match(error.message, /TaskFdQuery of descriptor 3 of process 7: .*EPERM/)
    }))

  it.live("refuses what are no numbers of processes and descriptors, without entering the kernel", () =>
    Effect.gen(function*() {
      for (const [pid, fd] of [[-1, 0], [0, -1], [0.5, 0], [0x8000_0000, 0], [0, Number.NaN]] as const) {
        const trace: Trace = []
        const error = yield* Effect.flip(Effect.scoped(Effect.gen(function*() {
          const session = yield* kernel(answering(""), trace).session()
          return yield* session.call({ _tag: "TaskFdQuery", pid, fd })
        })))
        assert.match(error.message, /EINVAL/)
        assert.isFalse(trace.some((entry) => entry._tag === "bpf" && entry.command === Command.BPF_TASK_FD_QUERY))
      }
    }))
})

describe("records of maps", () => {
  it.live("have a length that a kernel may know", () =>
    Effect.gen(function*() {
      const script: Script = (command) => command === Command.BPF_OBJ_GET_INFO_BY_FD ? 0 : 9
      for (const record of [0, 7, 4097, 8.5, Number.NaN]) {
        const error = yield* Effect.flip(Effect.scoped(Effect.gen(function*() {
          const session = yield* kernel(script, []).session()
          const map = Ref.map(0)
          yield* session.call({ _tag: "GetById", as: map, id: 1 })
          return yield* session.call({ _tag: "MapGetInfo", map, record })
        })))
        assert.match(error.message, /8 to 4096 bytes/)
      }
      const info = yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* kernel(script, []).session()
        const map = Ref.map(0)
        yield* session.call({ _tag: "GetById", as: map, id: 1 })
        return yield* session.call({ _tag: "MapGetInfo", map, record: 200 })
      }))
      assert.strictEqual(info.record?.length, 200)
    }))
})
