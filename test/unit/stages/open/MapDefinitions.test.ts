import { assert, describe, it } from "@effect/vitest"
import * as Btf from "../../../../src/btf/Btf.ts"
import type { BtfEditor } from "../../../../src/btf/BtfEdit.ts"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import { findMap } from "../../../../src/stages/open/BpfObject.ts"
import { btf, build, type ObjectSpec, program } from "../ObjectBuilder.ts"
import { opened } from "../Pipeline.ts"
import { open, refusal } from "./opening.ts"
import * as Result from "effect/Result"
import * as Open from "../../../../src/stages/open/Open.ts"

/** What a member of a definition can be made of. */
interface Kit {
  readonly types: BtfEditor
  readonly int: number
  readonly uint: (name: string, value: number) => Btf.Member
  readonly typed: (name: string, type: number) => Btf.Member
  readonly member: (name: string, type: number) => Btf.Member
  readonly values: (type: number) => Btf.Member
  readonly struct: (members: ReadonlyArray<Btf.Member>, size?: number) => number
}

const kit = (types: BtfEditor): Kit => {
  const int = types.addInt("int", 4, Btf.BTF_INT_SIGNED)
  const member = (name: string, type: number): Btf.Member => ({ name, type, bitOffset: 0, bitfieldSize: 0 })
  return {
    types,
    int,
    uint: (name, value) => member(name, types.addPtr(types.addArray(int, int, value))),
    typed: (name, type) => member(name, types.addPtr(type)),
    member,
    values: (type) => member("values", types.addArray(int, types.addPtr(type), 0)),
    struct: (members, size) =>
      types.addStruct(
        "",
        size ?? members.filter((each) => each.name !== "values").length * 8,
        members.map((each, index) => ({ ...each, bitOffset: index * 64 }))
      )
  }
}

/** An object with one definition, `numbers`, of the members that the body makes. */
const definition = (
  members: (kit: Kit) => ReadonlyArray<Btf.Member>,
  more: {
    readonly type?: (kit: Kit) => number
    readonly linkage?: number
    readonly size?: number
    readonly offset?: number
    readonly sectionSize?: number
    readonly structSize?: number
  } = {}
): ObjectSpec => {
  const { section, symbol } = program("socket")
  let size = 0
  const blob = btf((types) => {
    const parts = kit(types)
    const list = members(parts)
    size = more.size ?? list.length * 8
    const type = more.type?.(parts) ?? parts.struct(list, more.structSize)
    const variable = types.addVar("numbers", type, more.linkage ?? Btf.BTF_VAR_GLOBAL_ALLOCATED)
    types.addDatasec(".maps", more.sectionSize ?? size, [{ type: variable, offset: more.offset ?? 0, size }])
  })
  return {
    sections: [section, { name: ".maps", bytes: new Uint8Array(more.sectionSize ?? size) }],
    symbols: [symbol, { name: "numbers", section: ".maps", size, type: Elf.STT_OBJECT }],
    btf: blob
  }
}

const hash = ({ uint }: Kit): ReadonlyArray<Btf.Member> => [uint("type", 1), uint("max_entries", 8)]

describe("a definition's members", () => {
  it("say what the map is", () => {
    const object = open(definition(({ typed, types, uint }) => [
      uint("type", 1),
      uint("max_entries", 100),
      uint("map_flags", 5),
      uint("numa_node", 3),
      uint("map_extra", 7),
      typed("key", types.addInt("u16", 2, 0)),
      typed("value", types.addInt("u64", 8, 0))
    ]))
    const [map = assert.fail()] = object.maps
    assert.deepStrictEqual(map?.attr, {
      name: "numbers",
      type: 1,
      keySize: 2,
      valueSize: 8,
      maxEntries: 100,
      flags: 5,
      numaNode: 3,
      ifindex: 0,
      extra: 7n
    })
    assert.strictEqual(Btf.nameOf(object.btf ?? assert.fail(), map.keyType), "u16")
    assert.strictEqual(Btf.nameOf(object.btf ?? assert.fail(), map.valueType), "u64")
    assert.isUndefined(map.pinPath)
    assert.isTrue(map.autocreate)
  })

  it("may say sizes by numbers, and again by types when they agree, in any order", () => {
    const [map] = open(definition((parts) => [
      ...hash(parts),
      parts.uint("key_size", 4),
      parts.typed("key", parts.int),
      parts.typed("value", parts.int),
      parts.uint("value_size", 4)
    ])).maps
    assert.deepInclude({ ...map?.attr }, { keySize: 4, valueSize: 4 })
    const place = { reason: "MapDefinition" as const, section: ".maps", offset: 0, name: "numbers" }
    assert.deepInclude(
      refusal(definition((parts) => [...hash(parts), parts.uint("key_size", 8), parts.typed("key", parts.int)])),
      {
        ...place,
        detail: "key says 4 bytes where another member said 8"
      }
    )
    assert.deepInclude(
      refusal(definition((parts) => [...hash(parts), parts.typed("value", parts.int), parts.uint("value_size", 8)])),
      { ...place, detail: "value_size says 8 bytes where another member said 4" }
    )
  })

  it("may have a number of 64 bits as map_extra", () => {
    // An enum of one value is what __ulong makes of it; the editor makes none, so its record is written by hand.
    const spec = definition((
      parts
    ) => [...hash(parts), parts.member("map_extra", parts.types.addStruct("extra", 0x1234, []))])
    const bytes = spec.btf?.slice() ?? assert.fail()
    const parsed = Result.getOrThrow(Btf.parse(bytes))
    const id = Btf.findOne(parsed, "extra") ?? assert.fail()
    const header = 24
    const at = parsed.offsets[id - 1] ?? assert.fail()
    // struct extra {} of 12 bytes becomes enum64 { = 0x1_0000_0002 } of 24.
    const enum64 = new Uint8Array(24)
    const view = new DataView(enum64.buffer)
    view.setUint32(4, (19 << 24) | 1, true)
    view.setUint32(8, 8, true)
    view.setUint32(16, 2, true)
    view.setUint32(20, 1, true)
    const longer = new Uint8Array(bytes.length + 12)
    longer.set(bytes.subarray(0, at))
    longer.set(enum64, at)
    longer.set(bytes.subarray(at + 12), at + 24)
    const head = new DataView(longer.buffer)
    head.setUint32(12, head.getUint32(12, true) + 12, true)
    head.setUint32(16, head.getUint32(16, true) + 12, true)
    assert.isAbove(at, header)
    assert.strictEqual(open({ ...spec, btf: longer }).maps[0]?.attr.extra, 0x1_0000_0002n)
  })

  it("must be written with the macros", () => {
    const place = { reason: "MapDefinition" as const, section: ".maps", offset: 0, name: "numbers" }
    assert.deepInclude(refusal(definition((parts) => [parts.member("type", parts.int)])), {
      ...place,
      detail: "type is not written with __uint"
    })
    assert.deepInclude(refusal(definition((parts) => [parts.typed("type", parts.int)])), {
      ...place,
      detail: "type is not written with __uint"
    })
    assert.deepInclude(refusal(definition((parts) => [...hash(parts), parts.member("key", parts.int)])), {
      ...place,
      detail: "key is not written with __type"
    })
    assert.match(
      refusal(definition((parts) => [...hash(parts), parts.typed("value", 0)])).detail,
      /type of value has no size/
    )
    assert.match(
      refusal(definition((parts) => [parts.uint("type", 13), parts.member("values", parts.types.addPtr(parts.int))]))
        .detail,
      /values is not written with __array/
    )
  })

  it("must say a type", () => {
    assert.deepInclude(refusal(definition(({ uint }) => [uint("max_entries", 8)])), {
      reason: "MapDefinition",
      section: ".maps",
      offset: 0,
      detail: "the definition has no type"
    })
  })

  it("that are not understood are refused, or passed over when that is asked for", () => {
    const spec = definition((parts) => [...hash(parts), parts.uint("colour", 3)])
    assert.deepInclude(refusal(spec), {
      reason: "UnsupportedMapDefinition",
      section: ".maps",
      offset: 0,
      name: "numbers",
      detail: "the member colour is not understood"
    })
    assert.strictEqual(open(spec, { relaxedMaps: true }).maps[0]?.attr.maxEntries, 8)
  })

  it("are at most 64, so that shared types cost nothing", () => {
    const many = definition((parts) => Array.from({ length: 65 }, (_, index) => parts.uint(`m${index}`, 1)))
    assert.match(refusal(many, { relaxedMaps: true }).detail, /more than 64 members/)
  })
})

describe("pinning", () => {
  const pinned = (value: number) => definition((parts) => [...hash(parts), parts.uint("pinning", value)])

  it("by name gives a path below the pin root", () => {
    assert.strictEqual(open(pinned(1)).maps[0]?.pinPath, "/sys/fs/bpf/numbers")
    assert.strictEqual(open(pinned(1), { pinRoot: "/run/bpf" }).maps[0]?.pinPath, "/run/bpf/numbers")
    assert.isUndefined(open(pinned(0)).maps[0]?.pinPath)
  })

  it("knows no other way, and paths below 4096 bytes", () => {
    assert.deepInclude(refusal(pinned(2)), {
      reason: "MapDefinition",
      section: ".maps",
      offset: 0,
      detail: "2 is no way of pinning"
    })
    assert.match(refusal(pinned(1), { pinRoot: `/${"x".repeat(4096)}` }).detail, /path of its pin is too long/)
  })

  it("is not for inner maps", () => {
    const spec = definition((parts) => [
      parts.uint("type", 13),
      parts.values(parts.struct([...hash(parts), parts.uint("pinning", 1)]))
    ])
    assert.deepInclude(refusal(spec), { name: "numbers.inner", detail: "an inner map cannot be pinned" })
  })
})

describe("the variable", () => {
  it("must be global, a struct, and inside its section", () => {
    assert.deepInclude(refusal(definition(hash, { linkage: Btf.BTF_VAR_STATIC })), {
      reason: "UnsupportedMapDefinition",
      section: ".maps",
      offset: 0,
      name: "numbers",
      detail: "a map definition must be a global variable"
    })
    assert.deepInclude(refusal(definition(hash, { type: ({ int }) => int })), {
      reason: "MapDefinition",
      detail: "a map definition must be a struct"
    })
    assert.deepInclude(refusal(definition(hash, { size: 16, sectionSize: 8 })), {
      reason: "MapDefinition",
      detail: "the definition reaches beyond its section"
    })
    assert.deepInclude(refusal(definition(hash, { size: 16, offset: 8, sectionSize: 16 })), {
      offset: 8,
      detail: "the definition reaches beyond its section"
    })
    assert.deepInclude(refusal(definition(hash, { structSize: 24 })), {
      detail: "the definition has 16 bytes, its type 24"
    })
  })

  it("may be longer than its type: values follow the struct", () => {
    assert.strictEqual(open(definition(hash, { size: 64 })).maps.length, 1)
  })
})

describe("values", () => {
  it("of maps of maps are definitions, which name inner maps", () => {
    const spec = definition((parts) => [
      parts.uint("type", 12),
      parts.uint("max_entries", 3),
      parts.uint("key_size", 4),
      parts.values(parts.struct([...hash(parts), parts.uint("key_size", 2), parts.uint("value_size", 9)]))
    ])
    const [map = assert.fail()] = open(spec).maps
    assert.strictEqual(map?.attr.valueSize, 4)
    assert.strictEqual(map.inner?.name, "numbers.inner")
    assert.deepInclude({ ...map.inner?.attr }, {
      name: "numbers.inner",
      type: 1,
      keySize: 2,
      valueSize: 9,
      maxEntries: 8
    })
    assert.deepStrictEqual(map.slots, [])
  })

  it("must be last, of a type that was said before, and of 4 bytes", () => {
    const inner = (parts: Kit) => parts.struct(hash(parts))
    assert.deepInclude(
      refusal(
        definition((parts) => [parts.uint("type", 12), parts.values(inner(parts)), parts.uint("max_entries", 1)])
      ),
      {
        reason: "MapDefinition",
        detail: "values must be the last member"
      }
    )
    assert.deepInclude(refusal(definition((parts) => [parts.uint("max_entries", 1), parts.values(inner(parts))])), {
      reason: "UnsupportedMapDefinition",
      detail: "only maps of maps and program arrays can have values"
    })
    assert.match(
      refusal(definition((parts) => [parts.uint("type", 12), parts.uint("value_size", 8), parts.values(inner(parts))]))
        .detail,
      /values says 4 bytes where another member said 8/
    )
  })

  it("nest no deeper", () => {
    const spec = definition((parts) => [
      parts.uint("type", 12),
      parts.values(parts.struct([parts.uint("type", 12), parts.values(parts.struct(hash(parts)))]))
    ])
    assert.deepInclude(refusal(spec), {
      reason: "UnsupportedMapDefinition",
      name: "numbers.inner",
      detail: "maps of maps cannot be nested any deeper"
    })
  })

  it("of program arrays are functions", () => {
    const functions = definition((
      parts
    ) => [parts.uint("type", 3), parts.values(parts.types.addFuncProto(parts.int, []))])
    assert.strictEqual(open(functions).maps[0]?.attr.valueSize, 4)
    assert.match(
      refusal(definition((parts) => [parts.uint("type", 3), parts.values(parts.struct(hash(parts)))])).detail,
      /values of a program array must be functions/
    )
    assert.match(
      refusal(definition((parts) => [parts.uint("type", 12), parts.values(parts.types.addFuncProto(parts.int, []))]))
        .detail,
      /values of a map of maps must be map definitions/
    )
  })
})

describe("the fixture of all kinds of maps", () => {
  const object = opened("map_kinds.bpf.o")
  const attr = (name: string) => ({ ...findMap(object, name)?.attr })

  it("has them in the order of their variables", () => {
    assert.strictEqual(object.maps.filter((map) => map.origin === "Btf").length, 22)
    const offsets = object.maps.map((map) => map.sectionOffset)
    assert.deepStrictEqual(offsets, [...offsets].sort((a, b) => a - b))
  })

  const rows: ReadonlyArray<readonly [string, number, number, number, number, number]> = [
    ["hash", 1, 8, 32, 100, 0],
    ["hash_of_sizes", 1, 6, 10, 100, 1],
    ["hash_with_all", 1, 8, 32, 1, 0xd],
    ["array", 2, 4, 32, 8, 0x400],
    ["percpu_hash", 5, 4, 8, 16, 0],
    ["percpu_array", 6, 4, 32, 4, 0],
    ["lru_hash", 9, 4, 4, 64, 2],
    ["lru_percpu_hash", 10, 4, 4, 64, 0],
    ["lpm_trie", 11, 20, 4, 255, 1],
    ["queue", 22, 0, 8, 10, 0],
    ["stack", 23, 0, 16, 10, 0],
    ["bloom_filter", 30, 0, 4, 100, 0],
    ["stack_trace", 7, 4, 1016, 16, 0],
    ["ringbuf_rounded", 27, 0, 0, 5000, 0],
    ["ringbuf_exact", 27, 0, 0, 4096, 0],
    ["user_ringbuf", 31, 0, 0, 1, 0],
    ["perf_events", 4, 4, 4, 0, 0],
    ["cgroup_array", 8, 4, 4, 2, 0],
    ["devmap", 14, 4, 8, 4, 0],
    ["cpumap", 16, 4, 8, 2, 0],
    ["sockhash", 18, 8, 8, 4, 0],
    ["task_storage", 29, 4, 32, 0, 1]
  ]
  it("has every attribute as the source says", () => {
    assert.strictEqual(rows.length, 22)
    for (const [name, type, keySize, valueSize, maxEntries, flags] of rows) {
      assert.deepInclude(attr(name), { type, keySize, valueSize, maxEntries, flags, name: name.slice(0, 15) }, name)
    }
    assert.strictEqual(attr("bloom_filter").extra, 3n)
  })

  it("has types of keys and values only where they were given", () => {
    const types = object.btf ?? assert.fail()
    assert.strictEqual(Btf.nameOf(types, findMap(object, "hash")?.keyType ?? 0), "key")
    assert.strictEqual(Btf.nameOf(types, findMap(object, "hash")?.valueType ?? 0), "value")
    assert.strictEqual(findMap(object, "hash_of_sizes")?.keyType, 0)
    assert.strictEqual(findMap(object, "hash_of_sizes")?.valueType, 0)
    assert.strictEqual(findMap(object, "lpm_trie")?.keyType, 0)
  })
})

describe("legacy definitions", () => {
  const record = (words: ReadonlyArray<number>): Uint8Array => new Uint8Array(Uint32Array.from(words).buffer)
  const { section, symbol } = program("socket")
  const legacy = (bytes: Uint8Array, places: ReadonlyArray<number>, name = "maps"): ObjectSpec => ({
    sections: [section, { name, bytes }],
    symbols: [
      symbol,
      ...places.map((value, index) => ({ name: `map${index}`, section: name, value, type: Elf.STT_OBJECT }))
    ]
  })

  it("are taken from the fixture, and refused when that is asked for", () => {
    for (const name of ["legacy_maps.bpf.o", "legacy_maps_extended.bpf.o"]) {
      const { maps, programs } = opened(name)
      assert.isAbove(maps.length, 1)
      assert.isTrue(maps.every((map) => map.origin === "Legacy" && map.keyType === 0 && map.autocreate))
      assert.isTrue(programs.some((each) => each.relocations.some((relocation) => relocation._tag === "Map")))
    }
    const extended = opened("legacy_maps_extended.bpf.o").maps
    assert.deepStrictEqual(
      extended.map(({ attr }) => [attr.name, attr.type, attr.keySize, attr.valueSize, attr.maxEntries, attr.flags]),
      [
        ["packets", 2, 4, 8, 16, 0],
        ["addresses", 1, 4, 12, 100, 1]
      ]
    )
    assert.deepInclude(refusal(legacy(record([1, 4, 8, 16, 0]), [0]), { legacyMaps: "refuse" }), {
      reason: "LegacyMaps",
      section: "maps"
    })
  })

  it("stand one after another, all of one size of 20 bytes or more", () => {
    const two = record([1, 4, 8, 16, 0, 2, 4, 4, 1, 0])
    assert.deepStrictEqual(open(legacy(two, [0, 20])).maps.map((map) => map.attr.type), [1, 2])
    assert.deepStrictEqual(open(legacy(two, [20, 0])).maps.map((map) => map.name), ["map1", "map0"])
    assert.deepInclude(refusal(legacy(two, [0, 24])), {
      reason: "LegacyMaps",
      section: "maps",
      offset: 20,
      name: "map1",
      detail: "the definition stands at byte 24"
    })
    assert.match(refusal(legacy(two, [0, 20, 30])).detail, /40 bytes are not 3 definitions/)
    assert.match(refusal(legacy(record([1, 2, 3, 4]), [0])).detail, /16 bytes are not 1 definitions/)
    assert.match(refusal(legacy(two, [])).detail, /40 bytes are not 0 definitions/)
  })

  it("may have further fields as long as they are zero", () => {
    assert.strictEqual(open(legacy(record([1, 4, 8, 16, 0, 0, 0]), [0])).maps.length, 1)
    assert.deepInclude(refusal(legacy(record([1, 4, 8, 16, 0, 0, 1]), [0])), {
      reason: "LegacyMaps",
      section: "maps",
      offset: 0,
      name: "map0",
      detail: "the definition has fields that only its own loader knows"
    })
  })

  it("are in the file's byte order, and also in sections maps/…", () => {
    const big = new Uint8Array(20)
    const view = new DataView(big.buffer)
    for (const [index, word] of [1, 4, 8, 16, 0].entries()) view.setUint32(index * 4, word, false)
    assert.strictEqual(open({ ...legacy(big, [0], "maps/mine"), byteOrder: "big" }).maps[0]?.attr.maxEntries, 16)
  })
})

describe("the arena", () => {
  const arena = ({ uint }: Kit): ReadonlyArray<Btf.Member> => [uint("type", 33), uint("max_entries", 2)]
  const variables = { name: ".addr_space.1", bytes: Uint8Array.of(1, 2, 3) }

  it("starts with the variables of .addr_space.1", () => {
    const spec = definition(arena)
    assert.deepStrictEqual([
      ...open({ ...spec, sections: [...spec.sections ?? [], variables] }).maps[0]?.initialValue ?? []
    ], [1, 2, 3])
    assert.isUndefined(open(spec).maps[0]?.initialValue)
    assert.isDefined(findMap(opened("arena.bpf.o"), "arena")?.initialValue)
  })

  it("must be there for them, and alone", () => {
    const spec = definition(hash)
    assert.deepInclude(refusal({ ...spec, sections: [...spec.sections ?? [], variables] }), {
      reason: "MapDefinition",
      section: ".addr_space.1",
      detail: "the object has variables in an arena, but defines no arena map"
    })
    const { section, symbol } = program("socket")
    const two = btf((types) => {
      const parts = kit(types)
      const entries = ["one", "two"].map((name, index) => ({
        type: types.addVar(name, parts.struct(arena(parts)), Btf.BTF_VAR_GLOBAL_ALLOCATED),
        offset: index * 16,
        size: 16
      }))
      types.addDatasec(".maps", 32, entries)
    })
    const symbols = ["one", "two"].map((name, index) => ({
      name,
      section: ".maps",
      value: index * 16,
      size: 16,
      type: Elf.STT_OBJECT
    }))
    assert.deepInclude(
      refusal({
        sections: [section, { name: ".maps", bytes: new Uint8Array(32) }],
        symbols: [symbol, ...symbols],
        btf: two
      }),
      {
        reason: "MapDefinition",
        section: ".maps",
        offset: 16,
        name: "two",
        detail: "is a second arena beside one; an object can have one"
      }
    )
  })
})

describe("finding maps", () => {
  it("compares names that start with a dot with sections, others with the maps' own", () => {
    const object = Result.getOrThrow(Open.fromBytes(
      build({
        sections: [
          program("socket").section,
          { name: ".bss", type: Elf.SHT_NOBITS, size: 8 },
          { name: ".data.foo", bytes: new Uint8Array(4) }
        ],
        symbols: [program("socket").symbol]
      }),
      { name: "my_object_name" }
    ))
    assert.strictEqual(findMap(object, ".bss"), object.maps[0])
    assert.strictEqual(findMap(object, "my_objec.bss"), object.maps[0])
    assert.strictEqual(findMap(object, ".data.foo"), object.maps[1])
    assert.isUndefined(findMap(object, "bss"))
  })
})
