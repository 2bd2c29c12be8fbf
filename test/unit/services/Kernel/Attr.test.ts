/**
 * Exact bytes of the attributes, written down by hand from the kernel's header. (That the offsets of all fields are the
 * kernel's own is judged in test/oracle/BpfAbi.test.ts.)
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Arena from "../../../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../../../src/services/Kernel/abi/Attr.ts"
import { runs } from "../../../support/Require.ts"

const bytesOf = (arena: Arena.Arena): string => Buffer.from(arena.buffer).toString("hex")

const made = <L extends Arena.Layout>(layout: L, values: Arena.Values<L>, little = true): Arena.Arena<L> =>
  Result.getOrThrow(Arena.make(layout, values, little))

/** The golden text without its spaces and remarks in brackets. */
const golden = (...parts: ReadonlyArray<string>): string => parts.join("").replaceAll(/\(.*?\)|\s/g, "")

const base = 0x7f00_1234_5000n

describe("Attr", () => {
  it("encodes BPF_MAP_CREATE", () => {
    const arena = made(Attr.MapCreate, {
      map_type: 2,
      key_size: 4,
      value_size: 8,
      max_entries: 1024,
      map_flags: 0x400,
      inner_map_fd: 7,
      numa_node: 1,
      map_name: "counters",
      map_ifindex: 3,
      btf_fd: 9,
      btf_key_type_id: 10,
      btf_value_type_id: 11,
      btf_vmlinux_value_type_id: 12,
      map_extra: 0x1122_3344_5566_7788n,
      value_type_btf_obj_fd: -1,
      map_token_fd: 5
    })
    assert.strictEqual(
      bytesOf(arena),
      golden(
        "02000000 04000000 08000000 00040000 00040000 07000000 01000000",
        "636f756e74657273 0000000000000000 (name)",
        "03000000 09000000 0a000000 0b000000 0c000000 8877665544332211 ffffffff 05000000",
        "0000000000000000 00000000 (hash and its size) 00000000 (to a multiple of 8)"
      )
    )
    assert.strictEqual(arena.layout.size, 92)
  })

  it("encodes an element call, and pointers become addresses behind the attribute", () => {
    const arena = made(Attr.MapElement, {
      map_fd: 3,
      key: Arena.bytes(Uint8Array.of(1, 2, 3, 4)),
      value: Arena.room(12),
      flags: 1n
    })
    const attribute = "03000000 00000000"
    const rest = "0100000000000000 (flags) 0102030400000000 (key) 00000000000000000000000000000000 (room)"
    assert.strictEqual(bytesOf(arena), golden(attribute, "2000000000000000 2800000000000000", rest))
    assert.deepStrictEqual(arena.pointers, [8, 16])
    Arena.relocate(arena, base, true)
    assert.strictEqual(bytesOf(arena), golden(attribute, "2050341200 7f0000 2850341200 7f0000", rest))
    new Uint8Array(arena.buffer).set([0xaa], 40)
    assert.deepStrictEqual(Arena.region(arena, "value"), Uint8Array.of(0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    assert.deepStrictEqual(Arena.region(arena, "key"), Uint8Array.of(1, 2, 3, 4))
  })

  it("encodes BPF_MAP_GET_NEXT_KEY without a key as a null pointer", () => {
    const arena = made(Attr.MapGetNextKey, { map_fd: 4, next_key: Arena.room(4) })
    assert.strictEqual(
      bytesOf(arena),
      golden("04000000 00000000 0000000000000000 1800000000000000", "0000000000000000")
    )
    assert.deepStrictEqual(Arena.region(arena, "key"), new Uint8Array(0))
  })

  it("encodes BPF_PROG_LOAD", () => {
    const arena = made(Attr.ProgLoad, {
      prog_type: 6,
      insn_cnt: 2,
      insns: Arena.bytes(Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0)),
      license: Arena.text("GPL"),
      log_level: 1,
      log_size: 8,
      log_buf: Arena.room(8),
      kern_version: 0x060102,
      prog_flags: 0x20,
      prog_name: "firewall",
      prog_ifindex: 2,
      expected_attach_type: 37,
      prog_btf_fd: 8,
      func_info: Arena.bytes(Uint8Array.of(0, 0, 0, 0, 5, 0, 0, 0)),
      func_info_cnt: 1,
      func_info_rec_size: 8,
      attach_btf_id: 77,
      attach_prog_fd: 6,
      core_relo_cnt: 3,
      fd_array: Arena.bytes(Uint8Array.of(0, 0, 0, 0, 9, 0, 0, 0)),
      core_relo_rec_size: 16
    })
    assert.strictEqual(
      bytesOf(arena),
      golden(
        "06000000 02000000 a800000000000000 (insns) b800000000000000 (license)",
        "01000000 08000000 c000000000000000 (log) 02010600 20000000",
        "6669726577616c6c 0000000000000000 (name)",
        "02000000 25000000 08000000 08000000 c800000000000000 (func_info) 01000000",
        "00000000 0000000000000000 00000000 (no line_info)",
        "4d000000 06000000 03000000 d000000000000000 (fd_array) 0000000000000000 10000000",
        "00000000 (log_true_size) 00000000 00000000 0000000000000000 00000000 00000000",
        "b700000000000000 9500000000000000 47504c0000000000 0000000000000000 0000000005000000 0000000009000000"
      )
    )
  })

  it("encodes BPF_BTF_LOAD, BPF_OBJ_PIN, BPF_PROG_TEST_RUN", () => {
    assert.strictEqual(
      bytesOf(made(Attr.BtfLoad, {
        btf: Arena.bytes(Uint8Array.of(0x9f, 0xeb)),
        btf_size: 2,
        btf_log_buf: Arena.room(4),
        btf_log_size: 4,
        btf_log_level: 1
      })),
      golden(
        "2800000000000000 3000000000000000 02000000 04000000 01000000 00000000 00000000 00000000",
        "9feb000000000000 0000000000000000"
      )
    )
    assert.strictEqual(
      bytesOf(made(Attr.ObjectPath, { pathname: Arena.text("/a"), bpf_fd: 3, file_flags: 8, path_fd: -100 })),
      golden("1800000000000000 03000000 08000000 9cffffff 00000000 2f61000000000000")
    )
    assert.strictEqual(
      bytesOf(made(Attr.ProgTestRun, {
        prog_fd: 3,
        data_size_in: 1,
        data_in: Arena.bytes(Uint8Array.of(0xff)),
        data_size_out: 2,
        data_out: Arena.room(2),
        repeat: 10,
        ctx_size_in: 1,
        ctx_in: Arena.bytes(Uint8Array.of(0xee)),
        ctx_size_out: 3,
        ctx_out: Arena.room(3),
        flags: 1,
        cpu: 4,
        batch_size: 64
      })),
      golden(
        "03000000 00000000 01000000 02000000 5000000000000000 5800000000000000 0a000000 00000000",
        "01000000 03000000 6000000000000000 6800000000000000 01000000 04000000 40000000 00000000",
        "ff00000000000000 0000000000000000 ee00000000000000 0000000000000000"
      )
    )
  })

  it("encodes an info call: a structure with pointers of its own behind the attribute", () => {
    const arena = made(Attr.GetInfo, {
      bpf_fd: 3,
      info_len: Attr.BtfInfo.size,
      info: Arena.struct(Attr.BtfInfo, { name: Arena.room(16), name_len: 16 })
    })
    assert.strictEqual(
      bytesOf(arena),
      golden(
        "03000000 20000000 1000000000000000",
        "0000000000000000 00000000 00000000 3000000000000000 10000000 00000000",
        "00000000000000000000000000000000"
      )
    )
    assert.deepStrictEqual(arena.pointers, [8, 32])
    assert.strictEqual(Arena.region(arena, "info", "name").length, 16)
    assert.strictEqual(Arena.region(arena, "info").length, 32)
    assert.strictEqual(Arena.region(arena, "info", "btf").length, 0)
  })

  it("encodes tables of pointers, as BPF_LINK_CREATE of many kprobes takes them", () => {
    const arena = made(Attr.LinkCreateKprobeMulti, {
      prog_fd: 3,
      attach_type: 42,
      cnt: 2,
      syms: Arena.table([new TextEncoder().encode("a\0"), new TextEncoder().encode("bc\0")])
    })
    assert.strictEqual(
      bytesOf(arena),
      golden(
        "03000000 00000000 2a000000 00000000 00000000 02000000 4000000000000000",
        "0000000000000000 0000000000000000 0000000000000000 0000000000000000",
        "5000000000000000 5800000000000000 6100000000000000 6263000000000000"
      )
    )
    assert.deepStrictEqual(arena.pointers, [24, 64, 72])
  })

  it("has no layout whose fields end beyond it, or well before", () => {
    for (const [name, layout] of Object.entries(Attr)) {
      const end = Math.max(...Object.values(layout.fields).map((field) => field.offset + field.size))
      // `union bpf_attr` commands end with their last field; two structures and TEST_RUN end on 8 bytes.
      const isWhole = layout.size === end || layout.size === Math.ceil(end / 8) * 8
      const isLink = name.startsWith("LinkCreate") && end <= layout.size
      assert.isTrue(isWhole || isLink || name === "LinkInfo", `${name}: ${layout.size} bytes, fields end at ${end}`)
    }
  })

  it("follows the byte order of the machine", () => {
    const arena = made(Attr.LinkUpdate, { link_fd: 1, new_prog_fd: 2, flags: 4, old_prog_fd: 0x01020304 }, false)
    assert.strictEqual(bytesOf(arena), golden("00000001 00000002 00000004 01020304"))
    const pointers = made(Attr.RawTracepointOpen, { name: Arena.text("x"), cookie: 5n }, false)
    Arena.relocate(pointers, base, false)
    assert.strictEqual(
      bytesOf(pointers),
      golden("00007f0012345018 00000000 00000000 0000000000000005 7800000000000000")
    )
  })

  it("refuses values that do not fit their fields", () => {
    const refused = (result: Result.Result<unknown, Arena.FieldError>) => {
      assert.isTrue(Result.isFailure(result))
      return Result.isFailure(result) ? [result.failure.field, result.failure.reason] : []
    }
    assert.deepStrictEqual(refused(Arena.make(Attr.MapCreate, { max_entries: 2 ** 32 })), ["max_entries", "OutOfRange"])
    assert.deepStrictEqual(refused(Arena.make(Attr.MapCreate, { key_size: -1 })), ["key_size", "OutOfRange"])
    assert.deepStrictEqual(refused(Arena.make(Attr.MapCreate, { key_size: 1.5 })), ["key_size", "OutOfRange"])
    assert.deepStrictEqual(refused(Arena.make(Attr.MapCreate, { map_extra: -1n })), ["map_extra", "OutOfRange"])
    assert.deepStrictEqual(refused(Arena.make(Attr.MapCreate, { map_extra: 2n ** 64n })), ["map_extra", "OutOfRange"])
    assert.deepStrictEqual(refused(Arena.make(Attr.MapCreate, { map_name: "sixteen letters!" })), [
      "map_name",
      "TooLong"
    ])
    assert.deepStrictEqual(refused(Arena.make(Attr.MapCreate, { map_name: "a\0b" })), ["map_name", "ContainsNul"])
    assert.deepStrictEqual(refused(Arena.make(Attr.ObjectPath, { pathname: Arena.text("a\0b") })), [
      "pathname",
      "ContainsNul"
    ])
    for (const length of [-1, 0.5, Number.NaN, Infinity, 2 ** 31]) {
      assert.deepStrictEqual(refused(Arena.make(Attr.MapElement, { value: Arena.room(length) })), [
        "value",
        "OutOfRange"
      ])
    }
    assert.isTrue(
      Result.isSuccess(Arena.make(Attr.MapCreate, { map_name: "fifteen letters", max_entries: 0xffff_ffff }))
    )
  })

  /** Whether no two pointees share a byte, none lies in the structure, and each starts on 8 bytes. */
  const isDisjoint = (arena: Arena.Arena): boolean => {
    const regions = [{ offset: 0, length: arena.layout.size }, ...arena.regions.values()]
      .sort((left, right) => left.offset - right.offset)
    return regions.every(({ length, offset }, index) => {
      const next = regions[index + 1]?.offset ?? arena.buffer.byteLength
      return offset % 8 === 0 && offset + length <= next
    })
  }

  const chunk = fc.uint8Array({ maxLength: 40 })

  it("law: pointees lie apart, on 8 bytes, and hold what they were given", () => {
    fc.assert(
      fc.property(
        chunk,
        chunk,
        chunk,
        fc.boolean(),
        fc.bigInt(0n, 2n ** 47n),
        (insns, license, log, little, address) => {
          const arena = made(
            Attr.ProgLoad,
            { insns: Arena.bytes(insns), license: Arena.bytes(license), log_buf: Arena.room(log.length) },
            little
          )
          assert.isTrue(isDisjoint(arena))
          assert.deepStrictEqual(Arena.region(arena, "insns"), insns)
          assert.deepStrictEqual(Arena.region(arena, "license"), license)
          assert.strictEqual(Arena.region(arena, "log_buf").length, log.length)
          Arena.relocate(arena, address, little)
          const field = new DataView(arena.buffer).getBigUint64(8, little)
          assert.strictEqual(
            field,
            insns.length === 0 ? 0n : address + BigInt(arena.regions.get("insns")?.offset ?? -1)
          )
        }
      ),
      { numRuns: runs(200) }
    )
  })

  it("named fault: regions that overlap are seen", () => {
    const arena = made(Attr.MapElement, { key: Arena.room(8), value: Arena.room(8) })
    const key = arena.regions.get("key")
    assert.isDefined(key)
    if (key === undefined) return
    const broken = { ...arena, regions: new Map([["key", key], ["value", { ...key, offset: key.offset + 4 }]]) }
    assert.isFalse(isDisjoint(broken))
  })

  it("reads what an older kernel leaves out as zero", () => {
    const short = new Uint8Array(80)
    assert.strictEqual(Arena.readNumber(short, Attr.ProgInfo.fields.verified_insns), 0)
    assert.strictEqual(Arena.readBigInt(short, Attr.MapInfo.fields.map_extra), 0n)
    assert.strictEqual(Arena.readName(Uint8Array.of(0x61, 0x62, 0, 0x63), Arena.name(0, 4)), "ab")
    assert.strictEqual(Arena.cString(Uint8Array.of(0x61, 0x62)), "ab")
  })
})
