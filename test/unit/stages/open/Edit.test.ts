import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as Encode from "../../../../src/insn/Encode.ts"
import { MapFlag, ProgType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { type BpfObject, findMap, findProgram } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import * as SectionDefinitions from "../../../../src/stages/open/SectionDefinitions.ts"
import { findVariable } from "../../../../src/stages/open/Variables.ts"
import { fixture } from "../../../support/Require.ts"
import { code, nothing } from "../ObjectBuilder.ts"
import { planned } from "../Pipeline.ts"

/** Freezes an object and all that it is made of but bytes, which the engine cannot freeze, and BTF, which has caches. */
const freeze = (value: unknown, seen = new Set<unknown>()): void => {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || seen.has(value)) return
  seen.add(value)
  Object.freeze(value)
  for (const [name, each] of Object.entries(value)) if (name !== "btf" && name !== "btfExt") freeze(each, seen)
}

/** All bytes of an object: what freezing does not guard. */
const bytesOf = (object: BpfObject): string =>
  [
    ...object.programs.map((each) => each.insns),
    ...object.maps.map((map) => map.initialValue ?? new Uint8Array()),
    object.btf?.bytes ?? new Uint8Array()
  ].map((bytes) => Buffer.from(bytes).toString("hex")).join()

/** A fixture opened for one test, frozen; `unchanged` fails when its bytes have changed. */
const guarded = (name: string) => {
  const object = Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))
  freeze(object)
  const before = bytesOf(object)
  return { object, unchanged: () => assert.strictEqual(bytesOf(object), before) }
}

const success = (result: Result.Result<BpfObject, Edit.EditError>): BpfObject => Result.getOrThrow(result)

const failure = (result: Result.Result<unknown, Edit.EditError>) => {
  if (Result.isSuccess(result)) throw new Error("the edit was made")
  assert.isTrue(result.failure.message.startsWith(`${result.failure.name}: `))
  const { detail, name, reason } = result.failure
  return { reason, name, detail }
}

const mapOf = (object: BpfObject, name: string) => findMap(object, name) ?? assert.fail(name)
const programOf = (object: BpfObject, name: string) => findProgram(object, name) ?? assert.fail(name)

describe("setMap", () => {
  const { object, unchanged } = guarded("xdp_firewall.bpf.o")

  it("changes attributes, and nothing else", () => {
    const edited = success(
      Edit.setMap(object, "stats", { maxEntries: 99, flags: 1, numaNode: 2, ifindex: 3, extra: 4n, type: 9 })
    )
    assert.deepStrictEqual(mapOf(edited, "stats").attr, {
      ...mapOf(object, "stats").attr,
      maxEntries: 99,
      flags: 1,
      numaNode: 2,
      ifindex: 3,
      extra: 4n,
      type: 9
    })
    assert.deepStrictEqual(
      edited.maps.filter((map) => map.name !== "stats"),
      object.maps.filter((map) => map.name !== "stats")
    )
    assert.strictEqual(edited.programs, object.programs)
    unchanged()
  })

  it("sets and drops pins and creation", () => {
    const pinned = success(Edit.setMap(object, "stats", { pinPath: "/sys/fs/bpf/mine" }))
    assert.strictEqual(mapOf(pinned, "stats").pinPath, "/sys/fs/bpf/mine")
    assert.isUndefined(mapOf(success(Edit.setMap(pinned, "stats", { pinPath: null })), "stats").pinPath)
    assert.strictEqual(mapOf(success(Edit.setMap(pinned, "stats", {})), "stats").pinPath, "/sys/fs/bpf/mine")
    assert.isFalse(mapOf(success(Edit.setMap(object, "stats", { autocreate: false })), "stats").autocreate)
  })

  it("drops types that no longer describe the sizes", () => {
    const same = success(Edit.setMap(object, "stats", { keySize: 4, valueSize: 16 }))
    assert.strictEqual(mapOf(same, "stats").valueType, mapOf(object, "stats").valueType)
    const larger = mapOf(success(Edit.setMap(object, "stats", { valueSize: 24 })), "stats")
    assert.deepStrictEqual([larger.keyType, larger.valueType, larger.attr.valueSize], [0, 0, 24])
  })

  it("refuses maps that are not there and numbers that do not fit", () => {
    assert.deepStrictEqual(failure(Edit.setMap(object, "no", { flags: 1 })), {
      reason: "NoSuchMap",
      name: "no",
      detail: "there is no such map"
    })
    const hint = Edit.setMap(object, "no", {})
    assert.match(Result.isFailure(hint) ? hint.failure.message : "", /hint: the object has .*stats/)
    for (const maxEntries of [-1, 1.5, 2 ** 32, NaN, Infinity]) {
      assert.deepInclude(failure(Edit.setMap(object, "stats", { maxEntries })), { reason: "Size", name: "stats" })
    }
    for (const extra of [-1n, 2n ** 64n]) {
      assert.strictEqual(failure(Edit.setMap(object, "stats", { extra })).reason, "Size")
    }
    assert.strictEqual(
      mapOf(success(Edit.setMap(object, "stats", { extra: 2n ** 64n - 1n })), "stats").attr.extra,
      2n ** 64n - 1n
    )
  })

  it("does not resize struct_ops variables", () => {
    const { object: ops } = guarded("struct_ops.bpf.o")
    const name = ops.maps.find((map) => map.origin === "StructOps")?.name ?? assert.fail()
    assert.deepInclude(failure(Edit.setMap(ops, name, { valueSize: 8 })), {
      reason: "Size",
      detail: "its size is that of its struct"
    })
  })
})

describe("resizing global data", () => {
  const { object, unchanged } = guarded("global_data.bpf.o")

  it("fills the image up with zeroes, or cuts it", () => {
    const size = mapOf(object, ".data").attr.valueSize
    const larger = mapOf(success(Edit.setMap(object, ".data", { valueSize: size + 8 })), ".data")
    assert.strictEqual(larger.attr.valueSize, size + 8)
    assert.deepStrictEqual([...larger.initialValue ?? []], [
      ...mapOf(object, ".data").initialValue ?? [],
      ...new Uint8Array(8)
    ])
    const smaller = mapOf(success(Edit.setMap(object, ".data", { valueSize: 4 })), ".data")
    assert.deepStrictEqual([...smaller.initialValue ?? []], [
      ...mapOf(object, ".data").initialValue?.subarray(0, 4) ?? []
    ])
    unchanged()
  })

  it("gives the last variable its length when it is an array, else the map loses its types", () => {
    const { object: custom, unchanged: still } = guarded("bss_custom.bpf.o")
    const last = findVariable(custom, "custom_counters") ?? assert.fail()
    assert.strictEqual(last.size, 12)
    const edited = success(Edit.setMap(custom, ".bss.custom", { valueSize: 40 }))
    const variable = findVariable(edited, "custom_counters") ?? assert.fail()
    assert.strictEqual(variable.size, 40)
    const types = edited.btf ?? assert.fail()
    const array = Btf.typeOf(types, Btf.resolveType(types, variable.type))
    assert.strictEqual(array._tag === "Array" ? array.length : 0, 10)
    assert.strictEqual(Btf.sizeOrTypeOf(types, mapOf(edited, ".bss.custom").valueType), 40)
    assert.deepStrictEqual(
      Result.getOrThrow(Edit.getVariable(edited, "custom_counters")),
      Array.from({ length: 10 }, () => 0)
    )
    const filled = success(Edit.setVariable(edited, "custom_counters", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]))
    assert.strictEqual(mapOf(filled, ".bss.custom").initialValue?.at(36), 10)
    // 41 bytes are no whole number of elements.
    assert.strictEqual(
      mapOf(success(Edit.setMap(custom, ".bss.custom", { valueSize: 41 })), ".bss.custom").valueType,
      0
    )
    assert.isDefined(planned(edited))
    still()
  })

  it("refuses keys, nothing, too much and configuration", () => {
    assert.strictEqual(failure(Edit.setMap(object, ".data", { keySize: 8 })).reason, "Size")
    assert.strictEqual(failure(Edit.setMap(object, ".data", { valueSize: 0 })).reason, "Size")
    assert.strictEqual(failure(Edit.setMap(object, ".data", { valueSize: 0x2000_0001 })).reason, "Size")
    assert.deepInclude(failure(Edit.setMap(guarded("externs.bpf.o").object, ".kconfig", { valueSize: 8 })), {
      reason: "ReadOnly",
      detail: "its layout comes from the object's externs"
    })
    const flags = success(
      Edit.setMap(object, ".data", { flags: MapFlag.BPF_F_MMAPABLE | MapFlag.BPF_F_RDONLY_PROG, keySize: 4 })
    )
    assert.strictEqual(mapOf(flags, ".data").attr.flags, MapFlag.BPF_F_MMAPABLE | MapFlag.BPF_F_RDONLY_PROG)
  })
})

describe("variables", () => {
  for (const name of ["global_data.bpf.o", "global_data.eb.o"]) {
    const { object, unchanged } = guarded(name)
    const get = (from: BpfObject, variable: string) => Result.getOrThrow(Edit.getVariable(from, variable))

    it(`of ${name} are read by their types`, () => {
      assert.strictEqual(get(object, "answer"), 42)
      assert.strictEqual(get(object, "wide_number"), 0x1122334455667788n)
      assert.strictEqual(get(object, "small_number"), -3)
      assert.strictEqual(get(object, "favourite"), "GREEN")
      // clang describes its values by 32 bits, so none of them is this one.
      assert.strictEqual(get(object, "biggest"), 0xfedcba9876543210n)
      assert.strictEqual(get(object, "enabled"), true)
      assert.deepStrictEqual(get(object, "position"), { x: -1, y: 300 })
      assert.strictEqual(get(object, "greeting"), "hello")
      assert.deepStrictEqual(get(object, "table"), [1n, 10n, 100n, 1000n])
      assert.strictEqual(get(object, "custom_limit"), -5n)
      assert.strictEqual(get(object, "static_data"), 7)
      assert.strictEqual(get(object, "counter"), 0n)
      assert.deepInclude(get(object, "settings") as object, {
        name: "fixture",
        colour: "BLUE",
        enabled: true,
        corners: [{ x: 1, y: 2 }, { x: -3, y: -4 }],
        flags: { low: 5, middle: -7, high: 0x1ffff, wide: 0xabcdef0123n },
        number: 0x01020304
      })
    })

    const values: ReadonlyArray<readonly [string, unknown]> = [
      ["answer", -2147483648],
      ["wide_number", 2n ** 64n - 1n],
      ["small_number", 127],
      ["favourite", "BLUE"],
      ["enabled", false],
      ["position", { x: 5, y: -6 }],
      ["greeting", "longer text"],
      ["table", [4n, 3n, 2n, 1n]],
      ["custom_limit", -(2n ** 63n)],
      ["static_data", 0xffff_ffff],
      ["hidden_data", 1],
      ["counter", 12n],
      ["only_static", 3]
    ]
    it(`of ${name} are set, each in its own bytes`, () => {
      for (const [variable, value] of values) {
        const edited = success(Edit.setVariable(object, variable, value))
        assert.deepStrictEqual(get(edited, variable), value, variable)
        const place = findVariable(object, variable) ?? assert.fail()
        const [before, after] = [object.maps[place.map]?.initialValue, edited.maps[place.map]?.initialValue]
        const outside = (image: Uint8Array | undefined) =>
          [...image ?? []].filter((_, at) => at < place.offset || at >= place.offset + place.size)
        assert.deepStrictEqual(outside(after), outside(before), variable)
        assert.strictEqual(edited.maps.filter((map, at) => map !== object.maps[at]).length, 1)
      }
      unchanged()
    })

    it(`of ${name} may be set in part; the rest is zero`, () => {
      assert.deepStrictEqual(get(success(Edit.setVariable(object, "position", { y: 9 })), "position"), { x: 0, y: 9 })
      assert.deepStrictEqual(get(success(Edit.setVariable(object, "table", [5n])), "table"), [5n, 0n, 0n, 0n])
    })
  }

  const { object } = guarded("global_data.bpf.o")
  const bad: ReadonlyArray<readonly [string, unknown, RegExp]> = [
    ["answer", 2147483648, /answer/],
    ["answer", 1.5, /answer/],
    ["answer", "42", /answer/],
    ["small_number", 128, /small_number/],
    ["enabled", "yes", /enabled/],
    ["favourite", "PURPLE", /PURPLE/],
    ["position", { z: 1 }, /z/],
    ["position", 7, /position/],
    ["table", [1, 2, 3, 4, 5], /table/],
    ["greeting", "far too long for it", /greeting/],
    ["wide_number", -1n, /wide_number/],
    ["settings", { corners: [{ x: 40_000 }] }, /corners\[0\]\.x/],
    ["answer", null, /answer/],
    ["answer", undefined, /answer/]
  ]
  for (const [variable, value, message] of bad) {
    it(`refuse ${variable} = ${typeof value === "bigint" ? value : JSON.stringify(value)}`, () => {
      const refused = failure(Edit.setVariable(object, variable, value))
      assert.strictEqual(refused.reason, "Value")
      assert.match(`${refused.name}: ${refused.detail}`, message)
    })
  }

  it("that are not there are refused, with the names of those that are", () => {
    const refused = Edit.setVariable(object, "no_such_variable", 1)
    assert.strictEqual(failure(refused).reason, "NoSuchVariable")
    assert.match(Result.isFailure(refused) ? refused.failure.message : "", /the object has .*answer/)
    assert.strictEqual(failure(Edit.getVariable(object, "no_such_variable")).reason, "NoSuchVariable")
    assert.strictEqual(failure(Edit.setVariable({ ...object, btf: undefined }, "answer", 1)).reason, "NoSuchVariable")
  })

  it("of the kernel's configuration cannot be set", () => {
    assert.strictEqual(failure(Edit.setVariable(guarded("externs.bpf.o").object, "CONFIG_HZ", 1)).reason, "ReadOnly")
  })
})

describe("setInitialValue", () => {
  const { object, unchanged } = guarded("global_data.bpf.o")

  it("replaces the whole image by a copy", () => {
    const size = mapOf(object, ".bss").attr.valueSize
    const bytes = new Uint8Array(size).fill(7)
    const edited = success(Edit.setInitialValue(object, ".bss", bytes))
    bytes.fill(0)
    assert.isTrue(mapOf(edited, ".bss").initialValue?.every((each) => each === 7))
    unchanged()
  })

  it("takes an arena's variables, too", () => {
    const { object: arena } = guarded("arena.bpf.o")
    const size = mapOf(arena, "arena").initialValue?.length ?? 0
    assert.strictEqual(
      mapOf(success(Edit.setInitialValue(arena, "arena", new Uint8Array(size).fill(1))), "arena").initialValue?.[0],
      1
    )
  })

  it("refuses maps without one, and other sizes", () => {
    assert.strictEqual(failure(Edit.setInitialValue(object, "no", new Uint8Array())).reason, "NoSuchMap")
    assert.match(failure(Edit.setInitialValue(object, ".bss", new Uint8Array(1))).detail, /1 bytes, the map/)
    assert.strictEqual(
      failure(Edit.setInitialValue(guarded("xdp_firewall.bpf.o").object, "stats", new Uint8Array(16))).reason,
      "ReadOnly"
    )
    assert.strictEqual(
      failure(Edit.setInitialValue(guarded("externs.bpf.o").object, ".kconfig", new Uint8Array(9))).reason,
      "ReadOnly"
    )
  })
})

describe("programs", () => {
  const { object, unchanged } = guarded("tracepoint.bpf.o")

  it("are turned on and off, one by one or all but some", () => {
    const on = (edited: BpfObject) =>
      edited.programs.filter((each) => each.entry && each.autoload).map((each) => each.name)
    assert.deepStrictEqual(on(success(Edit.setAutoload(object, "count_getpid", false))), [
      "count_any_call",
      "keep_first_bytes"
    ])
    assert.include(on(success(Edit.setAutoload(object, "count_getppid", true))), "count_getppid")
    assert.deepStrictEqual(on(success(Edit.loadOnly(object, ["count_getppid"]))), ["count_getppid"])
    assert.deepStrictEqual(on(success(Edit.loadOnly(object, []))), [])
    assert.deepInclude(failure(Edit.loadOnly(object, ["count_getpid", "no"])), { reason: "NoSuchProgram", name: "no" })
    unchanged()
  })

  it("get types, flags and what they are for", () => {
    const edited = success(Edit.setProgram(object, "count_getpid", {
      type: ProgType.BPF_PROG_TYPE_KPROBE,
      expectedAttachType: 42,
      flags: 2,
      ifindex: 3,
      attachTarget: "x",
      logLevel: 4,
      autoload: false
    }))
    assert.deepInclude({ ...programOf(edited, "count_getpid") }, {
      type: 2,
      expectedAttachType: 42,
      flags: 2,
      ifindex: 3,
      attachTarget: "x",
      logLevel: 4,
      autoload: false,
      definition: undefined
    })
    assert.isDefined(
      programOf(success(Edit.setProgram(object, "count_getpid", { flags: 2 })), "count_getpid").definition
    )
    assert.isDefined(
      programOf(success(Edit.setProgram(object, "count_getpid", { type: 5 })), "count_getpid").definition
    )
  })

  it("lose the flags of their section with its type, and keep those that the user gave", () => {
    const frags = success(Edit.setSection(object, "count_getpid", "xdp.frags"))
    assert.strictEqual(programOf(frags, "count_getpid").flags, 0x20)
    const retyped = success(
      Edit.setProgram(success(Edit.setProgram(frags, "count_getpid", { flags: 0x22 })), "count_getpid", { type: 3 })
    )
    assert.strictEqual(programOf(retyped, "count_getpid").flags, 2)
    const explicit = success(Edit.setProgram(frags, "count_getpid", { type: 3, flags: 0x20 }))
    assert.strictEqual(programOf(explicit, "count_getpid").flags, 0x20)
  })

  it("get the meaning of another section name", () => {
    const edited = programOf(success(Edit.setSection(object, "count_getpid", "?lsm.s/file_open")), "count_getpid")
    assert.deepInclude({ ...edited }, {
      type: 29,
      expectedAttachType: 27,
      flags: 0x10,
      attachTarget: "file_open",
      autoload: true
    })
    assert.strictEqual(edited.section, programOf(object, "count_getpid").section)
    const own = { ...(SectionDefinitions.find("xdp") ?? assert.fail()), pattern: "mine+" }
    assert.strictEqual(
      programOf(success(Edit.setSection(object, "count_getpid", "mine/x", [own])), "count_getpid").type,
      6
    )
    assert.deepStrictEqual(failure(Edit.setSection(object, "count_getpid", "xdp/foo")), {
      reason: "NoSuchSection",
      name: "count_getpid",
      detail: "SEC(\"xdp/foo\") is no known section"
    })
  })

  it("that are not there, or are subprograms, are refused", () => {
    assert.strictEqual(failure(Edit.setAutoload(object, "no", true)).reason, "NoSuchProgram")
    assert.strictEqual(failure(Edit.setProgram(object, "no", {})).reason, "NoSuchProgram")
    assert.strictEqual(failure(Edit.setSection(object, "no", "xdp")).reason, "NoSuchProgram")
    assert.strictEqual(failure(Edit.setInstructions(object, "no", nothing)).reason, "NoSuchProgram")
    assert.strictEqual(
      failure(Edit.setAutoload(guarded("subprograms.bpf.o").object, "leaf", true)).reason,
      "NoSuchProgram"
    )
  })

  it("have numbers that fit", () => {
    for (const changes of [{ type: -1 }, { flags: 2 ** 32 }, { logLevel: 0.5 }, { ifindex: NaN }]) {
      assert.strictEqual(failure(Edit.setProgram(object, "count_getpid", changes)).reason, "Size")
    }
  })
})

describe("setInstructions", () => {
  const { object, unchanged } = guarded("tracepoint.bpf.o")
  const name = "keep_first_bytes"

  it("replaces the code by a copy", () => {
    const insns = nothing.slice()
    const edited = success(Edit.setInstructions(object, name, insns))
    insns.fill(0)
    assert.deepStrictEqual([...programOf(edited, name).insns], [...nothing])
    assert.strictEqual(programOf(edited, name).sectionSlots, programOf(object, name).sectionSlots)
    unchanged()
  })

  it("keeps relocations where they fit, or takes others, in the order of their places", () => {
    const getpid = programOf(object, "count_getpid")
    assert.strictEqual(
      programOf(success(Edit.setInstructions(object, "count_getpid", getpid.insns)), "count_getpid").relocations.length,
      getpid.relocations.length
    )
    assert.match(
      failure(Edit.setInstructions(object, "count_getpid", nothing)).detail,
      /instruction \d+ cannot have its \w+ relocation/
    )
    const insns = code(Encode.ldImm64(1, 0), Encode.ldImm64(2, 0), Encode.exit())
    const edited = success(Edit.setInstructions(object, "count_getpid", insns, [
      { _tag: "Map", at: 2, map: 0 },
      { _tag: "MapValue", at: 0, map: 1, offset: 4 }
    ]))
    assert.deepStrictEqual(programOf(edited, "count_getpid").relocations.map((each) => each.at), [0, 2])
    assert.deepStrictEqual(
      programOf(success(Edit.setInstructions(object, "count_getpid", nothing, [])), "count_getpid").relocations,
      []
    )
  })

  it("refuses what is no code, and relocations that fit nowhere", () => {
    assert.strictEqual(
      failure(Edit.setInstructions(object, name, new Uint8Array())).detail,
      "a program needs at least one instruction"
    )
    assert.strictEqual(failure(Edit.setInstructions(object, name, new Uint8Array(12))).reason, "Instructions")
    assert.strictEqual(failure(Edit.setInstructions(object, name, new Uint8Array(8).fill(0xff))).reason, "Instructions")
    assert.strictEqual(
      failure(Edit.setInstructions(object, name, Encode.ldImm64(1, 0).subarray(0, 8))).reason,
      "Instructions"
    )
    const insns = code(Encode.ldImm64(1, 0), Encode.callSubprogram(-1), Encode.exit())
    const at = (relocation: Open.Relocation) => failure(Edit.setInstructions(object, name, insns, [relocation])).detail
    assert.match(at({ _tag: "Map", at: 1, map: 0 }), /instruction 1 cannot have its Map relocation/)
    assert.match(at({ _tag: "Map", at: -1, map: 0 }), /instruction -1 cannot/)
    assert.match(at({ _tag: "Map", at: 99, map: 0 }), /instruction 99 cannot/)
    assert.match(at({ _tag: "Call", at: 0, section: 1, slot: 0 }), /cannot have its Call relocation/)
    assert.match(at({ _tag: "Function", at: 2, section: 1, slot: 0 }), /cannot have its Function relocation/)
    assert.match(at({ _tag: "Extern", at: 3, extern: 0 }), /names what the object does not have/)
    assert.match(
      at({ _tag: "Map", at: 0, map: 99 }),
      /the Map relocation of instruction 0 names what the object does not have/
    )
    assert.match(at({ _tag: "MapValue", at: 0, map: -1, offset: 0 }), /names what the object does not have/)
  })
})
