/** Which attributes of a map the running kernel refuses, found by trying; nothing of it is left. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { MapFlag, MapType, mapTypeName } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Blobs from "../../src/services/Kernel/live/features/Blobs.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import { inSession, mapCreate, openDescriptors } from "../support/LiveKernel.ts"
import * as MapRefusals from "../support/MapRefusals.ts"
import { describeWith } from "../support/Require.ts"

describeWith({ kind: "live", root: true }, "a map that the kernel refuses", () => {
  it.live("is told all that is wrong with it, and nothing is left of the search", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const before = openDescriptors().length
        const found = Effect.runPromiseWith(yield* Effect.context())
        yield* Effect.promise(() =>
          fc.assert(fc.asyncProperty(MapRefusals.cases, (each) => found(MapRefusals.assertFound(session, each))))
        )
        assert.strictEqual(openDescriptors().length, before)
      })
    ))

  it.live("of a type that needs types, or an inner map, is told so", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const storage = { keySize: 4, valueSize: 4, maxEntries: 0, flags: MapFlag.BPF_F_NO_PREALLOC }
        const found = (attr: Parameters<typeof mapCreate>[1]) =>
          Effect.map(MapRefusals.refusalOf(session, mapCreate(0, attr)), ({ attributes = [] }) =>
            MapRefusals.texts(attributes))
        assert.deepStrictEqual(yield* found({ type: MapType.BPF_MAP_TYPE_TASK_STORAGE, ...storage }), ["btf none"])
        assert.deepStrictEqual(
          yield* found({ type: MapType.BPF_MAP_TYPE_SK_STORAGE, ...storage, maxEntries: 1, flags: 0 }),
          ["btf none", "map_flags without BPF_F_NO_PREALLOC", "max_entries 1"]
        )
        assert.deepStrictEqual(
          yield* found({ type: MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS, keySize: 4, valueSize: 4, maxEntries: 1 }),
          ["inner_map none"]
        )
        assert.deepStrictEqual(yield* found({ flags: MapFlag.BPF_F_NUMA_NODE, numaNode: 1000 }), ["numa_node 1000"])
        assert.deepStrictEqual(yield* found({ type: 1000 }), [`type ${mapTypeName(1000)}`])
        assert.deepStrictEqual(yield* found({ extra: 7n }), ["map_extra 7"])
      })
    ))

  it.live("with types of other sizes, or an inner map where there is none, is told so", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const btf = Ref.btf(0)
        yield* session.call({ _tag: "BtfLoad", as: btf, bytes: Blobs.plain })
        yield* session.call(mapCreate(1))
        const types = { btf, key: 1, value: 1 }
        const found = (attr: Parameters<typeof mapCreate>[1], more: Parameters<typeof mapCreate>[2]) =>
          Effect.map(
            MapRefusals.refusalOf(session, mapCreate(0, attr, more)),
            ({ attributes = [] }) => MapRefusals.texts(attributes)
          )
        // The types are numbers of 4 bytes.
        assert.deepStrictEqual(yield* found({ valueSize: 8 }, { types }), ["btf given"])
        assert.deepStrictEqual(yield* found({ keySize: 8, valueSize: 4 }, { types }), ["btf given"])
        const storage = { type: MapType.BPF_MAP_TYPE_TASK_STORAGE, maxEntries: 0, flags: MapFlag.BPF_F_NO_PREALLOC }
        assert.deepStrictEqual(yield* found({ ...storage, valueSize: 16 }, { types }), ["btf given"])
        assert.deepStrictEqual(
          yield* found({ type: MapType.BPF_MAP_TYPE_ARRAY, keySize: 2, valueSize: 4 }, { types }),
          ["key_size 2"]
        )
        const nested = { type: MapType.BPF_MAP_TYPE_HASH_OF_MAPS, valueSize: 8, maxEntries: 0 }
        assert.deepStrictEqual(yield* found(nested, { inner: Ref.map(1) }), ["max_entries 0", "value_size 8"])
      })
    ))

  it.live("of any type that the kernel has is not told that it is the type", () =>
    inSession((session) =>
      Effect.gen(function*() {
        const unknown: Array<string> = []
        // Of struct_ops maps the kernel needs a struct; the others newer kernels than some of these have.
        const types = Object.values(MapType).filter((type) => type !== 0 && type !== MapType.BPF_MAP_TYPE_STRUCT_OPS)
        for (const type of types) {
          const { attributes = [] } = yield* MapRefusals.refusalOf(
            session,
            mapCreate(0, { type, keySize: 3, valueSize: 3, maxEntries: 3, flags: 0x8000_0000 })
          )
          if (attributes.some(({ attribute }) => attribute === "type")) unknown.push(mapTypeName(type))
          else assert.include(MapRefusals.texts(attributes), "map_flags 0x80000000", mapTypeName(type))
        }
        assert.deepStrictEqual(
          unknown.filter((name) => !["rhash", "insn_array", "arena", "cgrp_storage", "xskmap"].includes(name)),
          []
        )
      })
    ))
})
