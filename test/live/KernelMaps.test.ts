import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Encode from "../../src/insn/Encode.ts"
import { ElementFlag, MapFlag, MapType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { MapUpdate } from "../../src/services/Kernel/KernelCall.ts"
import type { MemoryView } from "../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import {
  inSession,
  kernelError,
  mapCreate,
  mappings,
  openDescriptors,
  progLoad,
  returning,
  testRun,
  u32,
  u64
} from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"

const page = 4096

const update = (index: number, key: Uint8Array, bytes: Uint8Array, flags: bigint = ElementFlag.BPF_ANY): MapUpdate => ({
  _tag: "MapUpdate",
  map: Ref.map(index),
  key,
  value: { bytes, refs: [] },
  flags
})

const lookup = (index: number, key: Uint8Array, valueSize = 8) =>
  ({ _tag: "MapLookup", map: Ref.map(index), key, valueSize, flags: 0n }) as const

describeWith({ kind: "live" }, "maps of the live kernel", () => {
  it.live("are created with their attributes, and a name that the kernel takes", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const wanted = { name: "a name/of 18 chars", maxEntries: 100, flags: MapFlag.BPF_F_NO_PREALLOC }
      yield* session.call(mapCreate(0, wanted))
      const info = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(0) })
      assert.isAbove(info.id, 0)
      assert.deepStrictEqual(info, {
        ...mapCreate(0, wanted).attr,
        name: "a_name_of_18_ch",
        id: info.id,
        btfId: 0,
        btfKeyTypeId: 0,
        btfValueTypeId: 0
      })
    })))

  it.live("take, give, list and remove elements", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0))
      assert.strictEqual(yield* session.call(lookup(0, u32(1))), undefined)
      for (const key of [1, 2, 3]) yield* session.call(update(0, u32(key), u64(BigInt(key * 10))))
      assert.deepStrictEqual(yield* session.call(lookup(0, u32(2))), u64(20n))
      yield* session.call({ _tag: "MapDelete", map: Ref.map(0), key: u32(2) })
      const keys: Array<number> = []
      let key: Uint8Array | undefined
      do {
        key = yield* session.call({
          _tag: "MapNextKey",
          map: Ref.map(0),
          keySize: 4,
          ...(key === undefined ? {} : { key })
        })
        if (key !== undefined) keys.push(new Uint32Array(key.buffer)[0] ?? -1)
      } while (key !== undefined)
      assert.deepStrictEqual(keys.sort((left, right) => left - right), [1, 3])
      const missing = yield* kernelError(session.call({ _tag: "MapDelete", map: Ref.map(0), key: u32(2) }))
      assert.strictEqual(missing.errno, "ENOENT")
    })))

  it.live("say what is wrong with an update", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0))
      for (const key of [1, 2, 3, 4]) yield* session.call(update(0, u32(key), u64(0n)))
      const refused = (call: MapUpdate) =>
        Effect.map(kernelError(session.call(call)), ({ errno, hint }) => [errno, hint])
      assert.deepStrictEqual(yield* refused(update(0, u32(1), u64(1n), ElementFlag.BPF_NOEXIST)), [
        "EEXIST",
        "the element exists, and the call asked for a new one (BPF_NOEXIST)"
      ])
      assert.strictEqual((yield* refused(update(0, u32(9), u64(1n), ElementFlag.BPF_EXIST)))[0], "ENOENT")
      assert.deepStrictEqual(yield* refused(update(0, u32(5), u64(1n))), [
        "E2BIG",
        "the map is full, or the index is beyond its last element"
      ])
    })))

  it.live("are frozen for good", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0, { type: MapType.BPF_MAP_TYPE_ARRAY, flags: MapFlag.BPF_F_RDONLY_PROG }))
      yield* session.call(update(0, u32(0), u64(7n)))
      yield* session.call({ _tag: "MapFreeze", map: Ref.map(0) })
      const error = yield* kernelError(session.call(update(0, u32(0), u64(8n))))
      assert.strictEqual(error.errno, "EPERM")
      assert.match(error.hint ?? "", /frozen/)
      assert.deepStrictEqual(yield* session.call(lookup(0, u32(0))), u64(7n))
    })))

  it.live("of each CPU take and give all values at once", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const cpus = navigator.hardwareConcurrency
      yield* session.call(mapCreate(0, { type: MapType.BPF_MAP_TYPE_PERCPU_ARRAY, valueSize: 4 }))
      const error = yield* kernelError(session.call(lookup(0, u32(0), 4)))
      const size = Number(/have (\d+) bytes/.exec(error.hint ?? "")?.[1])
      assert.strictEqual(size % 8, 0)
      assert.isAtLeast(size, cpus * 8)
      const values = Uint8Array.from({ length: size }, (_, at) => at % 8 < 4 ? at + 1 : 0)
      yield* session.call(update(0, u32(1), values))
      assert.deepStrictEqual(yield* session.call(lookup(0, u32(1), size)), values)
    })))

  it.live("without keys push, peek and pop", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const empty = new Uint8Array(0)
      yield* session.call(mapCreate(0, { type: MapType.BPF_MAP_TYPE_QUEUE, keySize: 0 }))
      yield* session.call(update(0, empty, u64(5n)))
      assert.deepStrictEqual(yield* session.call(lookup(0, empty)), u64(5n))
    })))

  it.live("hold maps and programs by their refs, 0 where those do not exist", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0, { type: MapType.BPF_MAP_TYPE_ARRAY }))
      yield* session.call(
        mapCreate(1, { type: MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, valueSize: 4 }, { inner: Ref.map(0) })
      )
      const slot = (map: number, to: Ref.MapRef | Ref.ProgRef): MapUpdate => ({
        ...update(map, u32(1), new Uint8Array(4)),
        value: { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to }] }
      })
      yield* session.call(slot(1, Ref.map(0)))
      const { id } = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(0) })
      assert.deepStrictEqual(yield* session.call(lookup(1, u32(1), 4)), u32(id))

      yield* session.call(progLoad(0, returning(0)))
      yield* session.call(mapCreate(2, { type: MapType.BPF_MAP_TYPE_PROG_ARRAY, valueSize: 4 }))
      yield* session.call(slot(2, Ref.prog(0)))
      const prog = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
      assert.deepStrictEqual(yield* session.call(lookup(2, u32(1), 4)), u32(prog.id))

      yield* Effect.flip(session.call(progLoad(1, returning(0), { type: 9999 })))
      const absent = yield* kernelError(session.call(slot(2, Ref.prog(1))))
      assert.strictEqual(absent.call, "MapUpdate")
      const outside = yield* kernelError(session.call({
        ...slot(2, Ref.prog(0)),
        value: { bytes: new Uint8Array(4), refs: [{ at: 1, size: 4, to: Ref.prog(0) }] }
      }))
      assert.match(outside.hint ?? "", /byte 1 lies outside/)
    })))

  it.live("that make no sense are refused with the reason", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const hint = (attr: Parameters<typeof mapCreate>[1]) =>
        Effect.map(kernelError(session.call(mapCreate(0, attr))), (error) => error.hint ?? "")
      assert.match(yield* hint({ maxEntries: 0 }), /max_entries is 0/)
      assert.match(
        yield* hint({ type: MapType.BPF_MAP_TYPE_RINGBUF, keySize: 0, valueSize: 0, maxEntries: 5000 }),
        /power of two/
      )
      assert.match(yield* hint({ type: MapType.BPF_MAP_TYPE_RINGBUF, maxEntries: page }), /neither keys nor values/)
      assert.match(yield* hint({ type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 8 }), /indices of 4 bytes/)
      assert.match(yield* hint({ type: MapType.BPF_MAP_TYPE_HASH_OF_MAPS, valueSize: 4 }), /shape of its inner maps/)
      assert.match(yield* hint({ type: MapType.BPF_MAP_TYPE_LPM_TRIE, keySize: 8 }), /BPF_F_NO_PREALLOC/)
      assert.match(yield* hint({ type: 250 }), /may not know map type type 250/)
      const error = yield* kernelError(session.call(mapCreate(0, { maxEntries: 2 ** 32 })))
      assert.match(error.hint ?? "", /max_entries: .*does not fit/)
    })))

  const arrayOfPages = { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 1024, flags: MapFlag.BPF_F_MMAPABLE }

  const mmap = (more: { readonly length?: number; readonly writable?: boolean; readonly offset?: number } = {}) =>
    ({
      _tag: "MapMmap",
      map: Ref.map(0),
      as: Ref.view(0),
      offset: 0,
      length: 2 * page,
      writable: true,
      ...more
    }) as const

  it.live("share their memory, in both directions", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0, arrayOfPages))
      const view = yield* session.call(mmap())
      assert.strictEqual(view.bytes.length, 2 * page)
      view.storeRelease64(8, 0x1122_3344_5566_7788n)
      assert.deepStrictEqual(yield* session.call(lookup(0, u32(1))), u64(0x1122_3344_5566_7788n))
      yield* session.call(update(0, u32(600), u64(0xffff_fffe_ffff_fffdn)))
      assert.strictEqual(view.loadAcquire64(600 * 8), 0xffff_fffe_ffff_fffdn)
      assert.strictEqual(view.loadAcquire32(600 * 8 + 4), 0xffff_fffe)
      for (const offset of [-8, 4, 2 * page, 0.5, Number.NaN]) {
        assert.throws(() => view.loadAcquire64(offset), RangeError)
        assert.throws(() => view.storeRelease64(offset, 0n), RangeError)
      }
      assert.throws(() => view.loadAcquire32(2), RangeError)
    })))

  it.live("share it with running programs", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0, arrayOfPages))
      const insns = Encode.program(
        Encode.ldImm64(1, 0n),
        Encode.ldx(0x18, 0, 1, 0),
        Encode.st(0x18, 1, 8, 42),
        Encode.exit()
      )
      const refs = [{ _tag: "MapValueRef", at: 0, map: Ref.map(0), offset: 16 }] as const
      yield* Effect.flip(session.call(progLoad(0, { insns, refs })))
      yield* session.call(mapCreate(1, { ...arrayOfPages, maxEntries: 1, valueSize: 64 }))
      const view = yield* session.call({ ...mmap({ length: page }), map: Ref.map(1) })
      view.storeRelease64(16, 99n)
      const valueRef = { ...refs[0], map: Ref.map(1) }
      yield* session.call(progLoad(0, { insns, refs: [valueRef] }, { type: ProgType.BPF_PROG_TYPE_SCHED_CLS }))
      const { retval } = yield* session.call(testRun(0))
      assert.strictEqual(retval, 99)
      assert.strictEqual(view.loadAcquire64(24), 42n)
    })))

  it.live("give views that fail safely when they are closed", () =>
    Effect.gen(function*() {
      const before = mappings()
      const views: Array<MemoryView> = []
      yield* inSession(Effect.fnUntraced(function*(session) {
        yield* session.call(mapCreate(0, arrayOfPages))
        const first = yield* session.call(mmap())
        first.bytes[0] = 5
        yield* session.call({ _tag: "Close", ref: Ref.view(0) })
        assert.strictEqual(mappings(), before)
        const second = yield* session.call({ ...mmap(), as: Ref.view(1) })
        assert.strictEqual(mappings(), before + 1)
        assert.strictEqual(second.bytes[0], 5)
        views.push(first, second)
      }))
      assert.strictEqual(mappings(), before)
      for (const view of views) {
        assert.strictEqual(view.bytes.length, 0)
        assert.strictEqual(view.bytes[0], undefined)
        assert.throws(() => view.loadAcquire32(0), /was closed/)
        assert.throws(() => view.loadAcquire64(0), /was closed/)
        assert.throws(() => view.storeRelease64(0, 1n), /was closed/)
      }
    }))

  it.live("outlive their descriptor as long as a view is open, and nothing is left over in the end", () =>
    Effect.gen(function*() {
      const before = openDescriptors().length
      yield* inSession(Effect.fnUntraced(function*(session) {
        yield* session.call(mapCreate(0, arrayOfPages))
        const view = yield* session.call(mmap())
        yield* session.call({ _tag: "Close", ref: Ref.map(0) })
        assert.strictEqual(openDescriptors().length, before)
        view.storeRelease64(0, 3n)
        assert.strictEqual(view.loadAcquire64(0), 3n)
      }))
      assert.strictEqual(openDescriptors().length, before)
    }))

  it.live("refuse to be mapped wrongly, or for writing when they are frozen", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0, arrayOfPages))
      const hint = (call: ReturnType<typeof mmap>) =>
        Effect.map(kernelError(session.call(call)), ({ errno, hint }) => `${errno} ${hint}`)
      for (const more of [{ length: 100 }, { length: 0 }, { offset: 8 }, { offset: -page }, { length: Number.NaN }]) {
        assert.match(yield* hint(mmap(more)), /EINVAL .*multiples of the page size/)
      }
      assert.match(yield* hint(mmap({ length: 3 * page })), /EINVAL/)
      yield* session.call({ _tag: "MapFreeze", map: Ref.map(0) })
      assert.match(yield* hint(mmap()), /EPERM .*for reading/)
      const view = yield* session.call(mmap({ writable: false }))
      assert.strictEqual(view.loadAcquire64(0), 0n)
      assert.throws(() => view.storeRelease64(0, 1n), /for reading only/)
      yield* session.call(mapCreate(1))
      assert.match(
        yield* hint({ ...mmap(), map: Ref.map(1), as: Ref.view(7) }),
        /only array maps/
      )
    })))

  it.live("name what they are about in errors", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0, { name: "counters" }))
      const error = yield* kernelError(session.call({ _tag: "MapDelete", map: Ref.map(0), key: u32(9) }))
      assert.match(error.message, /^MapDelete of counters: the kernel answers ENOENT/)
    })))
})
