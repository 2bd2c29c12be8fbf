import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Arena from "../../../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../../../src/services/Kernel/abi/Attr.ts"
import { Command, MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as Decode from "../../../../src/services/Kernel/abi/Decode.ts"
import type { KernelCall, MapAttributes } from "../../../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import { plainMap } from "../../../support/LedgerKernel.ts"

/** Where the arena of a test lies. */
const base = 0x7000_0000_1000n

/** Descriptor 10 is a hash, 11 a map per CPU, 20 a BTF object. */
const descriptors: Decode.Descriptors = {
  map: (fd) => {
    const attr: MapAttributes = fd === 11 ? { ...plainMap, type: MapType.BPF_MAP_TYPE_PERCPU_HASH } : plainMap
    return fd === 10 || fd === 11 ? { ref: Ref.map(fd), attr } : undefined
  },
  btf: (fd) => fd === 20 ? Ref.btf(20) : undefined,
  nextBtf: Ref.btf(1),
  nextMap: Ref.map(2),
  nextProg: Ref.prog(3)
}

const memoryOf = (buffer: ArrayBuffer): Decode.Memory => ({
  read: (address, length) => {
    const at = Number(address - base)
    return at >= 0 && at + length <= buffer.byteLength ? new Uint8Array(buffer, at, length) : undefined
  }
})

/** Decodes a structure that was laid out, with all that it points to. */
const decoded = <L extends Arena.Layout>(
  command: number,
  layout: L,
  values: Arena.Values<L>,
  size: number = layout.size
): Result.Result<KernelCall, Decode.DecodeError> => {
  const arena = Result.getOrThrow(Arena.make(layout, values, true))
  Arena.relocate(arena, base, true)
  return Decode.decode(command, base, size, memoryOf(arena.buffer), descriptors)
}

const refused = (result: Result.Result<KernelCall, Decode.DecodeError>): readonly [string, string, number] =>
  Result.isFailure(result)
    ? [result.failure.reason, result.failure.field, result.failure.errnoNumber]
    : assert.fail(`it is ${result.success._tag}`)

const insns = (...parts: ReadonlyArray<Uint8Array>) => Arena.bytes(Encode.program(...parts, Encode.exit()))

describe("calls read back out of memory", () => {
  it("are what was put there", () => {
    assert.deepStrictEqual(
      decoded(Command.BPF_BTF_LOAD, Attr.BtfLoad, { btf: Arena.bytes(Uint8Array.of(1, 2, 3)), btf_size: 3 }, 28),
      Result.succeed({ _tag: "BtfLoad", as: Ref.btf(1), bytes: Uint8Array.of(1, 2, 3) })
    )
    const attr = { ...plainMap, name: "a_map", flags: 0x80000000, extra: 1n << 63n, numaNode: 3, ifindex: 4 }
    assert.deepStrictEqual(
      decoded(Command.BPF_MAP_CREATE, Attr.MapCreate, {
        map_type: attr.type,
        key_size: attr.keySize,
        value_size: attr.valueSize,
        max_entries: attr.maxEntries,
        map_flags: attr.flags,
        inner_map_fd: 10,
        numa_node: 3,
        map_name: "a_map",
        map_ifindex: 4,
        btf_fd: 20,
        btf_key_type_id: 5,
        btf_value_type_id: 6,
        map_extra: attr.extra
      }),
      Result.succeed({
        _tag: "MapCreate",
        as: Ref.map(2),
        attr,
        inner: Ref.map(10),
        types: { btf: Ref.btf(20), key: 5, value: 6 }
      })
    )
    assert.deepStrictEqual(
      decoded(Command.BPF_MAP_UPDATE_ELEM, Attr.MapElement, {
        map_fd: 10,
        key: Arena.bytes(Uint8Array.of(1, 2, 3, 4)),
        value: Arena.bytes(Uint8Array.of(5, 6, 7, 8, 9)),
        flags: 2n
      }),
      Result.succeed({
        _tag: "MapUpdate",
        map: Ref.map(10),
        key: Uint8Array.of(1, 2, 3, 4),
        value: { bytes: Uint8Array.of(5, 6, 7, 8), refs: [] },
        flags: 2n
      })
    )
    assert.deepStrictEqual(
      decoded(Command.BPF_MAP_FREEZE, Attr.MapFreeze, { map_fd: 10 }),
      Result.succeed({ _tag: "MapFreeze", map: Ref.map(10) })
    )
  })

  it("have refs for maps, by descriptor and by number", () => {
    const result = decoded(Command.BPF_PROG_LOAD, Attr.ProgLoad, {
      prog_type: 6,
      insn_cnt: 9,
      insns: insns(
        Encode.ldMapFd(1, 10),
        Encode.ldMapValue(2, 11, 0xffff_fff0),
        Encode.ldMapIdx(3, 1),
        Encode.ldMapIdxValue(4, 0, 8)
      ),
      license: Arena.text("GPL"),
      prog_name: "p",
      prog_btf_fd: 20,
      func_info_rec_size: 8,
      func_info_cnt: 2,
      func_info: Arena.bytes(new Uint8Array(16)),
      core_relo_rec_size: 16,
      core_relo_cnt: 1,
      core_relos: Arena.bytes(new Uint8Array(16)),
      fd_array: Arena.bytes(new Uint8Array(Int32Array.of(11, 10).buffer)),
      log_level: 1
    })
    assert.deepStrictEqual(
      result,
      Result.succeed({
        _tag: "ProgLoad",
        as: Ref.prog(3),
        attr: { name: "p", type: 6, expectedAttachType: 0, license: "GPL", kernelVersion: 0, flags: 0, ifindex: 0 },
        code: {
          insns: Encode.program(
            Encode.ldMapFd(1, 0),
            Encode.ldMapValue(2, 0, 0),
            Encode.ldMapFd(3, 0),
            Encode.ldMapValue(4, 0, 0),
            Encode.exit()
          ),
          refs: [
            { _tag: "MapRef", at: 0, map: Ref.map(10) },
            { _tag: "MapValueRef", at: 2, map: Ref.map(11), offset: 0xffff_fff0 },
            { _tag: "MapRef", at: 4, map: Ref.map(10) },
            { _tag: "MapValueRef", at: 6, map: Ref.map(11), offset: 8 }
          ],
          coreRelocations: { recordSize: 16, records: new Uint8Array(16) }
        },
        btf: Ref.btf(20),
        funcInfo: { recordSize: 8, records: new Uint8Array(16) },
        log: { level: 1 }
      })
    )
  })

  it("are copies", () => {
    const arena = Result.getOrThrow(Arena.make(Attr.BtfLoad, { btf: Arena.bytes(Uint8Array.of(1)), btf_size: 1 }, true))
    Arena.relocate(arena, base, true)
    const call = Decode.decode(Command.BPF_BTF_LOAD, base, 40, memoryOf(arena.buffer), descriptors)
    Arena.region(arena, "btf").fill(9)
    assert.deepStrictEqual(call, Result.succeed({ _tag: "BtfLoad", as: Ref.btf(1), bytes: Uint8Array.of(1) }))
  })
})

describe("calls that are not decoded", () => {
  it("say why, with the error number that a kernel gives", () => {
    const load = { insn_cnt: 1, insns: insns(), license: Arena.text("GPL") }
    const progLoad = (values: Arena.Values<typeof Attr.ProgLoad>) =>
      refused(decoded(Command.BPF_PROG_LOAD, Attr.ProgLoad, { ...load, ...values }))
    const element = { key: Arena.bytes(new Uint8Array(4)), value: Arena.bytes(new Uint8Array(4)) }
    const mapUpdate = (values: Arena.Values<typeof Attr.MapElement>) =>
      refused(decoded(Command.BPF_MAP_UPDATE_ELEM, Attr.MapElement, { ...element, ...values }))
    const mapCreate = (values: Arena.Values<typeof Attr.MapCreate>) =>
      refused(decoded(Command.BPF_MAP_CREATE, Attr.MapCreate, values))
    assert.deepStrictEqual(refused(decoded(Command.BPF_LINK_CREATE, Attr.MapFreeze, {})), ["Command", "command", 22])
    assert.deepStrictEqual(refused(decoded(Command.BPF_MAP_FREEZE, Attr.MapFreeze, { map_fd: 9 })), [
      "Descriptor",
      "map_fd",
      9
    ])
    assert.deepStrictEqual(mapUpdate({ map_fd: 20 }), ["Descriptor", "map_fd", 9])
    assert.deepStrictEqual(mapUpdate({ map_fd: 10, key: undefined }), ["Fault", "key", 14])
    assert.deepStrictEqual(mapUpdate({ map_fd: 10, value: undefined }), ["Fault", "value", 14])
    assert.deepStrictEqual(mapUpdate({ map_fd: 11 }), ["Field", "map_fd", 22])
    assert.deepStrictEqual(mapCreate({ inner_map_fd: 7 }), ["Descriptor", "inner_map_fd", 9])
    assert.deepStrictEqual(mapCreate({ btf_key_type_id: 7 }), ["Descriptor", "btf_fd", 9])
    assert.deepStrictEqual(mapCreate({ map_token_fd: 7 }), ["Field", "map_token_fd", 22])
    assert.deepStrictEqual(mapCreate({ btf_vmlinux_value_type_id: 7 }), ["Field", "btf_vmlinux_value_type_id", 22])
    assert.deepStrictEqual(progLoad({ attach_btf_id: 1 }), ["Field", "attach_btf_id", 22])
    assert.deepStrictEqual(progLoad({ signature_size: 1 }), ["Field", "signature_size", 22])
    assert.deepStrictEqual(progLoad({ prog_btf_fd: 10 }), ["Descriptor", "prog_btf_fd", 9])
    assert.deepStrictEqual(progLoad({ insn_cnt: 0xffff_ffff }), ["Fault", "insns", 14])
    assert.deepStrictEqual(progLoad({ license: undefined }), ["Fault", "license", 14])
    assert.deepStrictEqual(progLoad({ func_info_cnt: 0xffff_ffff, func_info_rec_size: 0xffff_ffff }), [
      "Fault",
      "func_info",
      14
    ])
    assert.deepStrictEqual(progLoad({ insn_cnt: 3, insns: insns(Encode.ldMapFd(1, 99)) }), ["Descriptor", "insns", 9])
    assert.deepStrictEqual(progLoad({ insn_cnt: 3, insns: insns(Encode.ldMapIdx(1, 0)) }), ["Fault", "fd_array", 14])
    assert.deepStrictEqual(progLoad({ insn_cnt: 3, insns: insns(Encode.ldBtfId(1, 5)) }), ["Field", "insns", 22])
    assert.deepStrictEqual(progLoad({ insn_cnt: 2, insns: insns(Encode.callKfunc(5)) }), ["Field", "insns", 22])
  })

  it("are too long, too short or nowhere", () => {
    const buffer = new ArrayBuffer(8192)
    const memory = memoryOf(buffer)
    const freeze = (address: bigint, size: number) =>
      refused(Decode.decode(Command.BPF_MAP_FREEZE, address, size, memory, descriptors))
    assert.deepStrictEqual(freeze(base, 4097), ["Size", "attr", 7])
    assert.deepStrictEqual(freeze(0n, 4), ["Fault", "attr", 14])
    assert.deepStrictEqual(freeze(base + 8190n, 4), ["Fault", "attr", 14])
    assert.deepStrictEqual(freeze(base, 0), ["Descriptor", "map_fd", 9])
    new Uint8Array(buffer)[100] = 1
    assert.deepStrictEqual(freeze(base, 128), ["Size", "attr", 7])
    new DataView(buffer).setInt32(0, 10, true)
    assert.isTrue(Result.isSuccess(Decode.decode(Command.BPF_MAP_FREEZE, base, 64, memory, descriptors)))
  })

  it("cut a license that does not end, as the kernel does", () => {
    const result = decoded(Command.BPF_PROG_LOAD, Attr.ProgLoad, {
      insn_cnt: 1,
      insns: insns(),
      license: Arena.text("x".repeat(300))
    })
    const call = Result.getOrThrow(result)
    assert.strictEqual(call._tag === "ProgLoad" ? call.attr.license : "", "x".repeat(127))
  })

  it("are values or errors, whatever the bytes", () => {
    const commands = [Command.BPF_BTF_LOAD, Command.BPF_MAP_CREATE, Command.BPF_MAP_UPDATE_ELEM, Command.BPF_PROG_LOAD]
    fc.assert(fc.property(
      fc.constantFrom(...commands),
      fc.uint8Array({ minLength: 200, maxLength: 400 }),
      fc.array(fc.record({ at: fc.nat(49), to: fc.nat(399) })),
      fc.nat(200),
      (command, bytes, pointers, size) => {
        const view = new DataView(bytes.buffer)
        // Some of it leads somewhere.
        for (const { at, to } of pointers) {
          if (at * 4 + 8 <= bytes.length) view.setBigUint64(at * 4, base + BigInt(to), true)
        }
        const result = Decode.decode(command, base, size, memoryOf(bytes.buffer), descriptors)
        assert.isTrue(Result.isSuccess(result) || result.failure instanceof Decode.DecodeError)
      }
    ))
  })
})
