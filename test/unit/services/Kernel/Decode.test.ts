import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Arena from "../../../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../../../src/services/Kernel/abi/Attr.ts"
import { Command, MapType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as Decode from "../../../../src/services/Kernel/abi/Decode.ts"
import type { KernelCall, KernelSymbol } from "../../../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import { plainMap } from "../../../support/LedgerKernel.ts"

/** Where the arena of a test lies. */
const base = 0x7000_0000_1000n

const mapTypes: ReadonlyMap<number, number> = new Map([
  [10, plainMap.type],
  [11, MapType.BPF_MAP_TYPE_PERCPU_HASH],
  [12, MapType.BPF_MAP_TYPE_ARRAY_OF_MAPS],
  [13, MapType.BPF_MAP_TYPE_PROG_ARRAY]
])

const found = (name: string, kind: KernelSymbol["kind"]): KernelSymbol => ({ name, kind, weak: false })

/**
 * Descriptor 10 is a hash, 11 a map per CPU, 12 a map of maps, 13 an array of programs, 20 a BTF object, 30 a program, 40 the
 * types of a module. Type 500 is one of vmlinux, 600 one of the module, 7000 an address.
 */
const descriptors: Decode.Descriptors = {
  map: (fd) => {
    const type = mapTypes.get(fd)
    return type === undefined ? undefined : { ref: Ref.map(fd), attr: { ...plainMap, type } }
  },
  prog: (fd) => fd === 30 ? Ref.prog(30) : undefined,
  btf: (fd) => fd === 20 ? Ref.btf(20) : undefined,
  symbol: (id, fd) => {
    if (id === 500 && fd === 0) return found("here", "Func")
    return id === 600 && fd === 40 ? found("in_module", "Func") : undefined
  },
  address: (address) => address === 7000n ? found("line", "Address") : undefined,
  missing: () => ({ ...found("gone", "Func"), weak: true }),
  programFunction: (fd, id) => fd === 30 && id === 8 ? { program: Ref.prog(30), function: "choose" } : undefined,
  nextBtf: Ref.btf(1),
  nextMap: () => Ref.map(2),
  nextProg: () => Ref.prog(3)
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

  it("have names for symbols of the kernel, as a plan has them", () => {
    const code = [
      Encode.callKfunc(500),
      Encode.callKfunc(600, 1),
      Encode.callKfunc(0),
      Encode.ldBtfId(2, 600, 40),
      Encode.ldImm64(3, 7000n),
      Encode.ldImm64(3, 7001n),
      Encode.ldBtfId(4, 77)
    ]
    const call = Result.getOrThrow(decoded(Command.BPF_PROG_LOAD, Attr.ProgLoad, {
      insn_cnt: 12,
      insns: insns(...code),
      license: Arena.text("GPL"),
      fd_array: Arena.bytes(new Uint8Array(Int32Array.of(0, 40).buffer)),
      attach_btf_id: 600,
      attach_prog_fd: 40
    }))
    const load = call._tag === "ProgLoad" ? call : assert.fail()
    assert.deepStrictEqual(load.attachTo, found("in_module", "Func"))
    const at = (at: number, symbol: KernelSymbol) => ({ _tag: "SymbolRef" as const, at, symbol })
    assert.deepStrictEqual(load.code.refs, [
      at(0, found("here", "Func")),
      at(1, found("in_module", "Func")),
      at(2, { ...found("gone", "Func"), weak: true }),
      at(3, found("in_module", "Func")),
      at(5, found("line", "Address")),
      at(9, { ...found("type 77", "Var"), resolved: { owner: "vmlinux", id: 77 } })
    ])
    const nothing = (register: Encode.Register) => Encode.ldImm64(register, 0n)
    assert.deepStrictEqual(
      load.code.insns,
      Encode.program(
        Encode.callKfunc(0),
        Encode.callKfunc(0),
        Encode.callKfunc(0),
        nothing(2),
        nothing(3),
        Encode.ldImm64(3, 7001n),
        nothing(4),
        Encode.exit()
      )
    )
  })

  it("have refs for programs that they attach to, for maps and programs in maps, and for a map's struct", () => {
    const load = decoded(Command.BPF_PROG_LOAD, Attr.ProgLoad, {
      insn_cnt: 1,
      insns: insns(),
      license: Arena.text("GPL"),
      attach_btf_id: 8,
      attach_prog_fd: 30
    })
    const target = Result.getOrThrow(load)
    assert.deepStrictEqual(target._tag === "ProgLoad" ? target.attachTo : undefined, {
      program: Ref.prog(30),
      function: "choose"
    })
    const valueOf = (fd: number, value: number) => {
      const call = Result.getOrThrow(decoded(Command.BPF_MAP_UPDATE_ELEM, Attr.MapElement, {
        map_fd: fd,
        key: Arena.bytes(new Uint8Array(4)),
        value: Arena.bytes(Uint8Array.of(value, 0, 0, 0))
      }))
      return call._tag === "MapUpdate" ? call.value : undefined
    }
    assert.deepStrictEqual(valueOf(12, 10), { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to: Ref.map(10) }] })
    assert.deepStrictEqual(valueOf(13, 30), { bytes: new Uint8Array(4), refs: [{ at: 0, size: 4, to: Ref.prog(30) }] })
    const create = Result.getOrThrow(decoded(Command.BPF_MAP_CREATE, Attr.MapCreate, {
      map_type: MapType.BPF_MAP_TYPE_STRUCT_OPS,
      map_flags: 0x8000,
      btf_fd: 20,
      btf_vmlinux_value_type_id: 600,
      value_type_btf_obj_fd: 40
    }))
    const struct = create._tag === "MapCreate" ? create : assert.fail()
    assert.deepStrictEqual([struct.valueType, struct.attr.flags], [found("in_module", "Func"), 0])
  })

  it("are read in the byte order of the machine that they are for", () => {
    const buffer = new ArrayBuffer(64)
    const view = new DataView(buffer)
    view.setUint32(0, 10)
    view.setBigUint64(8, base + 32n)
    view.setBigUint64(16, base + 40n)
    view.setBigUint64(24, 2n)
    new Uint8Array(buffer).set([1, 2, 3, 4], 32)
    const call = Decode.decode(Command.BPF_MAP_UPDATE_ELEM, base, 32, memoryOf(buffer), descriptors, "big")
    assert.deepStrictEqual(
      call,
      Result.succeed({
        _tag: "MapUpdate",
        map: Ref.map(10),
        key: Uint8Array.of(1, 2, 3, 4),
        value: { bytes: new Uint8Array(4), refs: [] },
        flags: 2n
      })
    )
    assert.isTrue(Result.isFailure(
      Decode.decode(Command.BPF_MAP_UPDATE_ELEM, base, 32, memoryOf(buffer), descriptors, "little")
    ))
  })

  it("remove elements of maps", () => {
    assert.deepStrictEqual(
      decoded(Command.BPF_MAP_DELETE_ELEM, Attr.MapElement, {
        map_fd: 10,
        key: Arena.bytes(Uint8Array.of(1, 2, 3, 4))
      }),
      Result.succeed({ _tag: "MapDelete", map: Ref.map(10), key: Uint8Array.of(1, 2, 3, 4) })
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
    assert.deepStrictEqual(mapCreate({ btf_vmlinux_value_type_id: 7, value_type_btf_obj_fd: 41 }), [
      "Descriptor",
      "btf_vmlinux_value_type_id",
      9
    ])
    assert.deepStrictEqual(progLoad({ attach_btf_id: 600, attach_prog_fd: 41 }), ["Descriptor", "attach_btf_obj_fd", 9])
    assert.deepStrictEqual(progLoad({ attach_btf_id: 9, attach_prog_fd: 30 }), ["Field", "attach_btf_id", 22])
    assert.deepStrictEqual(mapUpdate({ map_fd: 12, value: Arena.bytes(Uint8Array.of(30, 0, 0, 0)) }), [
      "Descriptor",
      "value",
      9
    ])
    assert.deepStrictEqual(mapUpdate({ map_fd: 13, value: Arena.bytes(Uint8Array.of(10, 0, 0, 0)) }), [
      "Descriptor",
      "value",
      9
    ])
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
    assert.deepStrictEqual(progLoad({ insn_cnt: 3, insns: insns(Encode.ldBtfId(1, 600, 41)) }), [
      "Descriptor",
      "insns",
      9
    ])
    const fdArray = Arena.bytes(new Uint8Array(Int32Array.of(0, 41).buffer))
    const call = Encode.callKfunc(600, 1)
    assert.deepStrictEqual(progLoad({ insn_cnt: 2, insns: insns(call), fd_array: fdArray }), [
      "Descriptor",
      "fd_array",
      9
    ])
    assert.deepStrictEqual(progLoad({ insn_cnt: 2, insns: insns(call) }), ["Fault", "fd_array", 14])
    const below = insns(Encode.callKfunc(600, -1))
    assert.deepStrictEqual(progLoad({ insn_cnt: 2, insns: below, fd_array: fdArray }), ["Fault", "fd_array", 14])
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
