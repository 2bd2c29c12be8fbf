/** Maps of the user's in place of an object's own, on the running kernel. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../../src/services/Kernel/Kernel.ts"
import type { MapAttributes } from "../../src/services/Kernel/KernelCall.ts"
import { RefError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { ReplacedMapError } from "../../src/stages/load/PinnedMap.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import type { Given } from "../../src/stages/open/Given.ts"
import { liveSession, mapCreate, openDescriptors, u32 } from "../support/LiveKernel.ts"
import { loadFixture, planFixture } from "../support/LoadFixture.ts"
import { bpffs, describeWith } from "../support/Require.ts"

/** What `stats` of the firewall is like. */
const stats: Partial<MapAttributes> = {
  name: "mine",
  type: MapType.BPF_MAP_TYPE_HASH,
  keySize: 4,
  valueSize: 16,
  maxEntries: 16
}

const replace = (name: string, handle: Given) => (object: Parameters<typeof Edit.replaceMap>[0]) =>
  Edit.replaceMap(object, name, handle)

const idOf = (session: Session, map: Ref.MapRef) =>
  Effect.map(session.call({ _tag: "MapGetInfo", map }), ({ id }) => id)

/** Makes a call that opens one descriptor, and answers it. */
const opening = <E>(call: Effect.Effect<void, E>): Effect.Effect<number, E> =>
  Effect.suspend(() => {
    const before = new Set(openDescriptors())
    return Effect.map(call, () => openDescriptors().find((fd) => !before.has(fd)) ?? assert.fail("nothing was opened"))
  })

/** A session of the user's with a map like `stats`, pinned. */
const withMap = Effect.fnUntraced(function*(attr: Partial<MapAttributes> = {}) {
  const mine = yield* liveSession()
  const fd = yield* opening(mine.call(mapCreate(0, { ...stats, ...attr })))
  const path = Path.join(bpffs(), `mine_${fd}`)
  yield* mine.call({ _tag: "ObjPin", object: Ref.map(0), path })
  const id = yield* idOf(mine, Ref.map(0))
  const handles: ReadonlyArray<Given> = [
    { _tag: "Descriptor", fd },
    { _tag: "Pin", path },
    { _tag: "Id", id }
  ]
  return { mine, fd, id, handles, path }
})

// Maps are given by their identifiers, too, which only root may use.
describeWith({ kind: "live", root: true }, "maps of the user's", () => {
  it.live("take the place of an object's, by descriptor, pin and identifier, and stay open", () =>
    Effect.scoped(Effect.gen(function*() {
      const { fd, handles, id, mine } = yield* withMap()
      yield* mine.call({
        _tag: "MapUpdate",
        map: Ref.map(0),
        key: u32(9),
        value: { bytes: new Uint8Array(16).fill(7), refs: [] },
        flags: 0n
      })
      const before = openDescriptors()
      for (const handle of handles) {
        yield* Effect.scoped(Effect.gen(function*() {
          const loaded = yield* loadFixture("xdp_firewall.bpf.o", { edits: [replace("stats", handle)] })
          const ref = loaded.map("stats") ?? assert.fail("it has no ref")
          assert.strictEqual(yield* idOf(loaded.session, ref), id)
          const prog = loaded.program("xdp_firewall") ?? assert.fail()
          assert.include((yield* loaded.session.call({ _tag: "ProgGetInfo", prog })).mapIds, id)
          // What was in it is in it, and it may be written to.
          const found = yield* loaded.session.call({
            _tag: "MapLookup",
            map: ref,
            key: u32(9),
            valueSize: 16,
            flags: 0n
          })
          assert.deepStrictEqual(found, new Uint8Array(16).fill(7))
        }))
        assert.deepStrictEqual(openDescriptors(), before, handle._tag)
      }
      assert.strictEqual(Fs.readlinkSync(`/proc/self/fd/${fd}`), "anon_inode:bpf-map")
    })))

  it.live("are refused field by field where they are not alike, and nothing stays open", () =>
    Effect.scoped(Effect.gen(function*() {
      const { handles } = yield* withMap({ maxEntries: 7, valueSize: 24, flags: MapFlag.BPF_F_NO_PREALLOC })
      const before = openDescriptors()
      for (const handle of handles) {
        const error = yield* Effect.flip(
          Effect.scoped(loadFixture("xdp_firewall.bpf.o", { edits: [replace("stats", handle)] }))
        )
        if (!(error instanceof ReplacedMapError)) return assert.fail(String(error))
        assert.strictEqual(error.map, "stats")
        assert.deepStrictEqual(error.differences, [
          "value_size is 24, the object wants 16",
          "max_entries is 7, the object wants 16",
          "map_flags is 1, the object wants 0"
        ])
        assert.match(error.message, /hint: give another map/)
        assert.deepStrictEqual(openDescriptors(), before)
      }
    })))

  it.live("that are none are refused by what they are", () =>
    Effect.scoped(Effect.gen(function*() {
      const load = (handle: Given) =>
        Effect.flip(Effect.scoped(loadFixture("xdp_firewall.bpf.o", { edits: [replace("stats", handle)] })))
      const file = Fs.openSync("/dev/null", "r")
      const wrong = yield* load({ _tag: "Descriptor", fd: file })
      Fs.closeSync(file)
      assert.isTrue(wrong instanceof RefError && wrong.reason === "WrongKind", String(wrong))
      assert.match(String(yield* load({ _tag: "Descriptor", fd: 99_999 })), /EBADF/)
      assert.match(String(yield* load({ _tag: "Pin", path: Path.join(bpffs(), "nothing") })), /ENOENT/)
      assert.match(String(yield* load({ _tag: "Id", id: 0x7fff_ffff })), /ENOENT/)
      const { mine } = yield* withMap()
      const programPin = Path.join(bpffs(), "a_program")
      yield* mine.call({
        _tag: "ProgLoad",
        as: Ref.prog(0),
        attr: { name: "p", type: 1, expectedAttachType: 0, license: "GPL", kernelVersion: 0, flags: 0, ifindex: 0 },
        code: { insns: Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0), refs: [] },
        log: { level: 0 }
      })
      yield* mine.call({ _tag: "ObjPin", object: Ref.prog(0), path: programPin })
      const kind = yield* load({ _tag: "Pin", path: programPin })
      assert.isTrue(kind instanceof RefError && kind.reason === "WrongKind", String(kind))
    })))

  it.live("hold global data, which is neither filled nor sealed, and is bound to the programs", () =>
    Effect.scoped(Effect.gen(function*() {
      // The map of one load is that of another, which would fill it with something else.
      const first = yield* loadFixture("global_data.bpf.o")
      const data = first.map(".data") ?? assert.fail()
      const rodata = first.map(".rodata") ?? assert.fail()
      const [dataId, rodataId] = [yield* idOf(first.session, data), yield* idOf(first.session, rodata)]
      const size = first.object.maps[data.index]?.attr.valueSize ?? 0
      const mark = Uint8Array.from({ length: size }, (_, at) => at)
      yield* first.session.call({
        _tag: "MapUpdate",
        map: data,
        key: u32(0),
        value: { bytes: mark, refs: [] },
        flags: 0n
      })
      const second = yield* loadFixture("global_data.bpf.o", {
        edits: [replace(".data", { _tag: "Id", id: dataId }), replace(".rodata", { _tag: "Id", id: rodataId })]
      })
      const shared = second.map(".data") ?? assert.fail()
      assert.strictEqual(yield* idOf(second.session, shared), dataId)
      const found = yield* second.session.call({
        _tag: "MapLookup",
        map: shared,
        key: u32(0),
        valueSize: size,
        flags: 0n
      })
      assert.deepStrictEqual(found, mark)
      const program = second.object.programs.find((each) => each.entry && each.autoload) ?? assert.fail()
      const prog = second.program(program.name) ?? assert.fail()
      assert.include((yield* second.session.call({ _tag: "ProgGetInfo", prog })).mapIds, rodataId)
    })))

  it.live("give maps of maps their shape, and stand in their slots", () =>
    Effect.scoped(Effect.gen(function*() {
      const kernel = yield* KernelLive.make
      const planned = yield* planFixture("map_in_map.bpf.o", { kernel })
      const outer = planned.object.maps.find((map) => map.inner !== undefined) ?? assert.fail()
      const inner = outer.inner ?? assert.fail()
      const mine = yield* liveSession()
      const fd = yield* opening(mine.call(mapCreate(0, { ...inner.attr, name: "shape" })))
      const loaded = yield* loadFixture("map_in_map.bpf.o", {
        edits: [(object) => Edit.setMap(object, outer.name, { innerLike: { _tag: "Descriptor", fd } })]
      })
      const map = loaded.map(outer.name) ?? assert.fail()
      assert.strictEqual((yield* loaded.session.call({ _tag: "MapGetInfo", map })).type, outer.attr.type)
      assert.strictEqual(Fs.readlinkSync(`/proc/self/fd/${fd}`), "anon_inode:bpf-map")
    })))

  it.live("have the shape that the definition was given, too", () =>
    Effect.scoped(Effect.gen(function*() {
      const { handles: [handle], id } = yield* withMap({ maxEntries: 7 })
      const loaded = yield* loadFixture("xdp_firewall.bpf.o", {
        edits: [
          (object) =>
            Edit.setMap(object, "stats", { maxEntries: 7, ...(handle === undefined ? {} : { replacedBy: handle }) })
        ]
      })
      assert.strictEqual(yield* idOf(loaded.session, loaded.map("stats") ?? assert.fail()), id)
    })))
})
