/** Objects of the live kernel by their identifiers, and what the kernel says of them beside their attributes. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import type { Session } from "../../src/services/Kernel/Kernel.ts"
import type { IdKind } from "../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import {
  inSession,
  kernelError,
  liveSession,
  mapCreate,
  openDescriptors,
  progLoad,
  returning,
  u32,
  u64
} from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"

/** All identifiers of a kind, each asked for behind the one before. */
const idsOf = Effect.fnUntraced(function*(session: Session, kind: IdKind) {
  const found: Array<number> = []
  let id = yield* session.call({ _tag: "IdNext", kind, after: 0 })
  while (id !== undefined) {
    found.push(id)
    id = yield* session.call({ _tag: "IdNext", kind, after: id })
  }
  return found
})

// Others than root may not use them.
describeWith({ kind: "live", root: true }, "identifiers of the live kernel", () => {
  it.live("are listed in rising order, and those of this session are among them", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0))
      yield* session.call(progLoad(0, returning(1)))
      const map = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(0) })
      const prog = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
      const maps = yield* idsOf(session, "Map")
      const progs = yield* idsOf(session, "Prog")
      assert.include(maps, map.id)
      assert.include(progs, prog.id)
      for (const ids of [maps, progs]) assert.deepStrictEqual(ids, [...ids].sort((a, b) => a - b))
      assert.isUndefined(yield* session.call({ _tag: "IdNext", kind: "Link", after: 0xffff_ffff }))
    })))

  it.live("open the same object again, and are gone with it", () =>
    Effect.scoped(Effect.gen(function*() {
      const before = openDescriptors().length
      const session = yield* liveSession()
      yield* session.call(mapCreate(0))
      const { id } = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(0) })
      yield* session.call({ _tag: "GetById", as: Ref.map(1), id })
      const value = { bytes: u64(7n), refs: [] }
      yield* session.call({ _tag: "MapUpdate", map: Ref.map(1), key: u32(1), value, flags: 0n })
      const read = { _tag: "MapLookup", map: Ref.map(0), key: u32(1), valueSize: 8, flags: 0n } as const
      assert.deepStrictEqual(yield* session.call(read), u64(7n))
      yield* session.call({ _tag: "Close", ref: Ref.map(0) })
      yield* session.call({ _tag: "Close", ref: Ref.map(1) })
      const gone = yield* kernelError(session.call({ _tag: "GetById", as: Ref.map(2), id }))
      assert.strictEqual(gone.message.split("\n")[0], `GetById of map ${id}: the kernel answers ENOENT`)
      assert.strictEqual(openDescriptors().length, before)
    })))

  it.live("instructions come as the kernel has them, and the file tells memory", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(progLoad(0, returning(7)))
      const plain = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
      assert.notProperty(plain, "instructions")
      assert.notProperty(plain, "file")
      const info = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0), instructions: true, file: true })
      assert.strictEqual(info.instructions?.length, plain.xlatedLength)
      assert.deepStrictEqual(info.instructions?.slice(0, 8), Uint8Array.of(0xb7, 0, 0, 0, 7, 0, 0, 0))
      assert.isAbove(Number(info.file?.memlock), 0)
      assert.isAbove(Number(info.loadTime), 0)
      assert.strictEqual(info.createdByUid, process.getuid?.())

      yield* session.call(mapCreate(0))
      const map = () => session.call({ _tag: "MapGetInfo", map: Ref.map(0), file: true })
      const fresh = yield* map()
      assert.isFalse(fresh.file?.frozen)
      assert.isAbove(Number(fresh.file?.memlock), 0)
      yield* session.call({ _tag: "MapFreeze", map: Ref.map(0) })
      assert.isTrue((yield* map()).file?.frozen)
    })))

  it.live("BTF: whose it is, and its blob", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const [first] = yield* idsOf(session, "Btf")
      yield* session.call({ _tag: "GetById", as: Ref.btf(0), id: first ?? 0 })
      const info = yield* session.call({ _tag: "BtfGetInfo", btf: Ref.btf(0) })
      // The kernel's own is the first of all.
      assert.strictEqual(info.name, "vmlinux")
      assert.isTrue(info.isKernels)
      assert.notProperty(info, "bytes")
      const { bytes } = yield* session.call({ _tag: "BtfGetInfo", btf: Ref.btf(0), bytes: true })
      assert.strictEqual(bytes?.length, info.size)
      const btf = Result.getOrThrow(Btf.parse(bytes ?? new Uint8Array()))
      assert.isDefined(Btf.findOne(btf, "task_struct", Btf.BTF_KIND_STRUCT))
    })))
})
