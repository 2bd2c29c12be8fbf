import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as BtfExt from "../../../../src/btf/BtfExt.ts"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Insn from "../../../../src/insn/Insn.ts"
import * as KernelInfo from "../../../../src/services/Kernel/KernelInfo.ts"
import { type BpfObject, findMap, type Program } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as Relocate from "../../../../src/stages/relocate/Relocate.ts"
import * as CallGraph from "../CallGraph.ts"
import { code, nothing } from "../ObjectBuilder.ts"
import { opened, relocated } from "../Pipeline.ts"
import { assertQuick, cpuTime } from "../../../support/CpuTime.ts"

const info = KernelInfo.make({ release: "6.18", architecture: "x64", byteOrder: "little" })

const failure = (object: BpfObject) => {
  const answer = Relocate.toObject(object, info)
  if (Result.isSuccess(answer)) throw new Error("the object was relocated")
  const { detail, name, reason, slot } = answer.failure
  return { reason, name, slot, detail }
}

const done = (object: BpfObject): Relocate.RelocatedObject => {
  const answer = Result.getOrThrow(Relocate.toObject(object, info))
  return answer._tag === "Done" ? answer.value : assert.fail("it asks")
}

const programOf = (object: Relocate.RelocatedObject, name: string): Relocate.RelocatedProgram =>
  object.programs.find(({ program }) => object.object.programs[program]?.name === name) ?? assert.fail(name)

const names = (object: BpfObject, program: Relocate.RelocatedProgram): ReadonlyArray<string> =>
  program.layout.map((placement) => object.programs[placement.program]?.name ?? "")

describe("layout", () => {
  const object = opened("subprograms.bpf.o")
  const whole = relocated(object)

  it("puts functions in the order in which calls reach them, depth first", () => {
    assert.deepStrictEqual(names(object, programOf(whole, "nested_calls")), [
      "nested_calls",
      "global_sum",
      "middle",
      "leaf",
      "weak_double"
    ])
    assert.deepStrictEqual(names(object, programOf(whole, "shared_calls")), [
      "shared_calls",
      "middle",
      "leaf",
      "hidden_negate"
    ])
    assert.deepStrictEqual(names(object, programOf(whole, "static_callback")), ["static_callback", "add_index", "leaf"])
    assert.deepStrictEqual(names(object, programOf(whole, "global_callback")), ["global_callback", "add_element"])
    assert.deepStrictEqual(names(object, programOf(whole, "no_calls")), ["no_calls"])
  })

  it("takes programs that are to be loaded, and no subprogram by itself", () => {
    assert.deepStrictEqual(whole.programs.map(({ program }) => object.programs[program]?.name), [
      "nested_calls",
      "shared_calls",
      "static_callback",
      "global_callback",
      "no_calls"
    ])
    const optional = opened("tracepoint.bpf.o")
    assert.notInclude(
      relocated(optional).programs.map(({ program }) => optional.programs[program]?.name),
      "count_getppid"
    )
  })

  it("refuses calls into the middle of a function and to nowhere", () => {
    const [entry, sub] = CallGraph.make([[{ _tag: "Call", to: 1 }], [{ _tag: "Plain", value: 1 }]]).programs
    const leading = (tag: "Call" | "Function", slot: number, section = CallGraph.textSection) =>
      CallGraph.object([
        CallGraph.program({
          name: "entry",
          insns: tag === "Call" ? entry?.insns ?? nothing : code(Encode.ldImm64(1, 0), Encode.exit()),
          relocations: [{ _tag: tag, at: 0, section, slot }]
        }),
        sub ?? assert.fail()
      ])
    assert.deepStrictEqual(failure(leading("Call", 1)), {
      reason: "CallTarget",
      name: "entry",
      slot: 0,
      detail: "the call leads into the middle of f1"
    })
    assert.strictEqual(failure(leading("Function", 1)).detail, "the call leads into the middle of f1")
    for (const slot of [-1, 2, 2 ** 31]) {
      assert.match(failure(leading("Call", slot)).detail, /leads to no function \(section 2, instruction/)
    }
    assert.match(failure(leading("Call", 0, 99)).detail, /leads to no function \(section 99, instruction 0\)/)
  })

  it("does not care how deep calls nest, nor that they recurse", () => {
    const count = 20_000
    const chain = CallGraph.make(
      Array.from({ length: count }, (_, index) => [{ _tag: "Call", to: (index + 1) % count }])
    )
    const start = cpuTime()
    const [program = assert.fail()] = done(chain).programs
    assertQuick(cpuTime() - start, 4000)
    assert.strictEqual(program.layout.length, count)
    assert.strictEqual(Insn.count(program.code.insns), 2 * count)
    // The last calls the first.
    assert.strictEqual(Insn.imm(program.code.insns, 2 * (count - 1)), -2 * (count - 1) - 1)
  })

  it("is bounded, for each program and for all together", () => {
    const long = (slots: number, name: string, section: number): Program =>
      CallGraph.program({ name, insns: new Uint8Array(slots * 8).fill(0xb7), sectionIndex: section })
    assert.deepInclude(failure(CallGraph.object([long(1_000_001, "long", 1)])), { reason: "TooLarge", name: "long" })
    const many = Array.from({ length: 5 }, (_, index) => long(900_000, `long${index}`, index + 1))
    assert.deepInclude(failure(CallGraph.object(many)), { reason: "TooLarge", name: "made" })
    assert.strictEqual(done(CallGraph.object(many.slice(0, 2))).programs.length, 2)
  })
})

describe("function and line information", () => {
  const wordAt = (records: Uint8Array, index: number, size: number, word: number, little: boolean): number =>
    new DataView(records.buffer, records.byteOffset).getUint32(index * size + word * 4, little)

  for (const name of ["subprograms.bpf.o", "subprograms.eb.o", "xdp_firewall.bpf.o"]) {
    it(`of ${name} says where each function starts`, () => {
      const object = opened(name)
      const little = object.byteOrder === "little"
      for (const program of relocated(object).programs) {
        const { funcInfo, layout, lineInfo } = program
        if (funcInfo === undefined || lineInfo === undefined) assert.fail("no info")
        assert.strictEqual(funcInfo.records.length, layout.length * funcInfo.recordSize)
        for (const [index, placement] of layout.entries()) {
          assert.strictEqual(wordAt(funcInfo.records, index, funcInfo.recordSize, 0, little), placement.slot)
          const type = wordAt(funcInfo.records, index, funcInfo.recordSize, 1, little)
          assert.strictEqual(Btf.nameOf(object.btf ?? assert.fail(), type), object.programs[placement.program]?.name)
        }
        const lines = lineInfo.records.length / lineInfo.recordSize
        const starts = new Set(layout.map((placement) => placement.slot))
        let before = -1
        for (let index = 0; index < lines; index++) {
          const slot = wordAt(lineInfo.records, index, lineInfo.recordSize, 0, little)
          assert.isAbove(slot, before)
          assert.isBelow(slot, Insn.count(program.code.insns))
          starts.delete(slot)
          before = slot
        }
        // The kernel wants a line for the first instruction of each function.
        assert.strictEqual(starts.size, 0)
      }
    })
  }

  it("keeps all that a record says but its place", () => {
    const object = opened("subprograms.bpf.o")
    const ext = object.btfExt ?? assert.fail()
    const { lineInfo } = programOf(relocated(object), "no_calls")
    const [own] = ext.lineInfo?.sections.filter((each) => each.section === "xdp") ?? []
    assert.deepStrictEqual(lineInfo?.records, own?.records)
    const first = BtfExt.lineInfoAt(ext, own ?? assert.fail(), 0)
    assert.match(first.fileName, /subprograms\.bpf\.c$/)
  })

  /** The object without what `.BTF.ext` says of one section's functions. */
  const without = (object: BpfObject, kind: "funcInfo" | "lineInfo", section: string): BpfObject => {
    const ext = object.btfExt ?? assert.fail()
    const segment = ext[kind]
    if (segment === undefined) assert.fail()
    return {
      ...object,
      btfExt: { ...ext, [kind]: { ...segment, sections: segment.sections.filter((each) => each.section !== section) } }
    }
  }

  it("is all or nothing for a program: without records of one function it is left out, with a note", () => {
    const object = without(opened("subprograms.bpf.o"), "funcInfo", ".text")
    const whole = relocated(object)
    const nested = programOf(whole, "nested_calls")
    assert.isUndefined(nested.funcInfo)
    assert.isDefined(nested.lineInfo)
    assert.deepStrictEqual(nested.notes, [
      "function info was left out: there is none for global_sum, middle, leaf, weak_double"
    ])
    assert.isDefined(programOf(whole, "no_calls").funcInfo)
    const main = relocated(without(opened("subprograms.bpf.o"), "lineInfo", "socket"))
    assert.isUndefined(programOf(main, "nested_calls").lineInfo)
    assert.isDefined(programOf(main, "static_callback").lineInfo)
  })

  it("does not exist in an object without it", () => {
    const { btfExt: _, ...rest } = opened("subprograms.bpf.o")
    for (const program of relocated({ ...rest, btfExt: undefined }).programs) {
      assert.isUndefined(program.funcInfo)
      assert.isUndefined(program.lineInfo)
      assert.deepStrictEqual(program.notes, [])
    }
  })

  it("is found for sections with a question mark, too", () => {
    const object = opened("tracepoint.bpf.o")
    const on = Result.getOrThrow(Edit.setAutoload(object, "count_getppid", true))
    assert.isDefined(programOf(relocated(on), "count_getppid").funcInfo)
  })

  it("cannot be multiplied without bound by functions that many share", () => {
    const object = CallGraph.make([[{ _tag: "Call", to: 1 }], []])
    const recordSize = 0x400_0004
    const records = new Uint8Array(recordSize)
    const ext = opened("subprograms.bpf.o").btfExt ?? assert.fail()
    const huge: BpfObject = {
      ...object,
      btfExt: { ...ext, funcInfo: { recordSize, sections: [{ section: "socket", nameOffset: 0, count: 1, records }] } }
    }
    assert.deepInclude(failure(huge), { reason: "TooLarge", name: "f0" })
    const some = new Uint8Array(0x300_0000)
    const many: BpfObject = {
      ...CallGraph.object(
        Array.from(
          { length: 6 },
          (_, index) => CallGraph.program({ name: `p${index}`, insns: nothing, sectionIndex: index + 1 })
        )
      ),
      btfExt: {
        ...ext,
        funcInfo: { recordSize: some.length, sections: [{ section: "socket", nameOffset: 0, count: 1, records: some }] }
      }
    }
    assert.deepInclude(failure(many), { reason: "TooLarge", name: "made" })
  })
})

describe("CO-RE records", () => {
  for (const name of ["core_reads.bpf.o", "core_reads.eb.o"]) {
    it(`of ${name} travel with the program, counted in bytes`, () => {
      const object = opened(name)
      const [program] = relocated(object).programs
      const core = program?.code.coreRelocations ?? assert.fail()
      const count = core.records.length / core.recordSize
      assert.isAbove(count, 5)
      const sections = object.btfExt?.coreRelocations?.sections ?? []
      assert.strictEqual(sections.reduce((sum, each) => sum + each.count, 0), count)
      assert.match(program?.notes.join() ?? "", new RegExp(`${count} CO-RE relocations are left to the kernel`))
      const view = new DataView(core.records.buffer, core.records.byteOffset)
      for (let index = 0; index < count; index++) {
        const offset = view.getUint32(index * core.recordSize, object.byteOrder === "little")
        assert.strictEqual(offset % 8, 0)
        assert.isBelow(offset, program?.code.insns.length ?? 0)
      }
    })
  }

  it("of subprograms move with them", () => {
    const object = opened("core_reads.bpf.o")
    const ext = object.btfExt ?? assert.fail()
    const segment = ext.coreRelocations ?? assert.fail()
    const [section] = segment.sections
    const target = object.programs.find((each) => each.section === section?.section) ?? assert.fail()
    // The same function, but called: it comes behind two instructions of its caller.
    const caller = CallGraph.program({
      name: "caller",
      section: "caller",
      insns: code(Encode.callSubprogram(-1), Encode.exit()),
      sectionIndex: 1000,
      relocations: [{ _tag: "Call", at: 0, section: target.sectionIndex, slot: target.sectionSlot }]
    })
    const called = { ...object, programs: [...object.programs.map((each) => ({ ...each, entry: false })), caller] }
    const [before] = relocated(object).programs
    const [after] = relocated(called).programs
    const read = (program: Relocate.RelocatedProgram | undefined) => {
      const core = program?.code.coreRelocations ?? assert.fail()
      const view = new DataView(core.records.buffer, core.records.byteOffset)
      return Array.from(
        { length: core.records.length / core.recordSize },
        (_, index) => view.getUint32(index * core.recordSize, true)
      )
    }
    assert.deepStrictEqual(read(after), read(before).map((offset) => offset + 16))
  })
})

describe("references", () => {
  it("are named beside instructions that are cleared for them", () => {
    const object = opened("xdp_firewall.bpf.o")
    for (const { code: { insns, refs } } of relocated(object).programs) {
      assert.isAbove(refs.length, 3)
      for (const ref of refs) {
        assert.isTrue(Insn.isLdImm64(insns, ref.at))
        assert.strictEqual(Insn.imm(insns, ref.at), 0)
        assert.strictEqual(Insn.nextImm(insns, ref.at), 0)
        if (ref._tag === "SymbolRef") assert.fail()
        assert.strictEqual(Insn.src(insns, ref.at), ref._tag === "MapRef" ? 1 : 2)
        const origin = object.maps[ref.map.index]?.origin
        assert.strictEqual(origin === "Btf", ref._tag === "MapRef")
      }
    }
  })

  it("of configuration values lead into their map", () => {
    const object = opened("externs.bpf.o")
    const kconfig = object.maps.findIndex((map) => map.origin === "Kconfig")
    const [program] = relocated(object).programs
    const offsets =
      program?.code.refs.flatMap((ref) =>
        ref._tag === "MapValueRef" && ref.map.index === kconfig ? [ref.offset] : []
      ) ?? []
    const expected = object.externs.map((extern) => extern._tag === "Kconfig" ? extern.dataOffset : -1)
    for (const offset of offsets) assert.isTrue(expected.some((each) => offset === each), String(offset))
    assert.isAbove(offsets.length, 8)
  })

  it("of kernel symbols say what is searched for", () => {
    const object = opened("ksyms.bpf.o")
    const whole = relocated(object)
    const symbols = whole.programs.flatMap(({ code: { insns, refs } }) =>
      refs.flatMap((ref) => {
        if (ref._tag !== "SymbolRef") return []
        const isCall = Insn.isCall(insns, ref.at)
        assert.strictEqual(Insn.src(insns, ref.at), isCall ? 2 : 0)
        assert.strictEqual(Insn.imm(insns, ref.at), 0)
        const { expected, kind, name, weak } = ref.symbol
        return [
          `${isCall ? "call" : "load"} ${kind} ${name}${weak ? " weak" : ""}${expected === undefined ? "" : " typed"}`
        ]
      })
    )
    assert.sameMembers([...new Set(symbols)], [
      "load Address schedule",
      "load Address there_is_no_such_address weak",
      "load Func bpf_rcu_read_lock weak typed",
      "load Func there_is_no_such_function weak typed",
      "call Func bpf_rcu_read_lock typed",
      "call Func bpf_rcu_read_unlock typed",
      "call Func there_is_no_such_function weak typed"
    ])
  })

  it("of maps that are not created become calls that no kernel has", () => {
    const object = opened("xdp_firewall.bpf.o")
    const position = object.maps.findIndex((map) => map.name === "events")
    const without = Result.getOrThrow(Edit.setMap(object, "events", { autocreate: false }))
    const [before] = relocated(object).programs
    const [after] = relocated(without).programs
    const gone = before?.code.refs.filter((ref) => ref._tag !== "SymbolRef" && ref.map.index === position) ?? []
    assert.isAbove(gone.length, 0)
    assert.strictEqual(after?.code.refs.length, (before?.code.refs.length ?? 0) - gone.length)
    const insns = after?.code.insns ?? assert.fail()
    for (const { at } of gone) {
      for (const slot of [at, at + 1]) {
        assert.deepStrictEqual([...insns.subarray(slot * 8, slot * 8 + 4)], [Insn.CALL, 0, 0, 0])
        assert.strictEqual(Insn.imm(insns, slot), 2_001_000_000 + position)
      }
    }
  })

  it("do the same for global data and configuration", () => {
    for (const [name, section] of [["xdp_firewall.bpf.o", ".bss"], ["externs.bpf.o", ".kconfig"]] as const) {
      const object = opened(name)
      const map = findMap(object, section) ?? assert.fail()
      const without = relocated(Result.getOrThrow(Edit.setMap(object, section, { autocreate: false })))
      const position = object.maps.indexOf(map)
      const poisons = without.programs.flatMap(({ code: { insns } }) =>
        Array.from({ length: Insn.count(insns) }, (_, slot) => slot)
          .filter((slot) => Insn.isCall(insns, slot) && Insn.imm(insns, slot) === Relocate.poisonedMap + position)
      )
      assert.isAbove(poisons.length, 1)
      assert.strictEqual(poisons.length % 2, 0)
    }
  })

  it("must stand at instructions that can have them", () => {
    const extern = (isFunction: boolean) => ({
      _tag: "Ksym" as const,
      name: "symbol",
      kernelName: "symbol",
      weak: false,
      isFunction,
      typeId: 0
    })
    const at = (relocation: Program["relocations"][number], insns: Uint8Array, isFunction = true): BpfObject => ({
      ...CallGraph.object([CallGraph.program({ name: "edited", insns, relocations: [relocation] })]),
      externs: [extern(isFunction)],
      maps: opened("xdp_firewall.bpf.o").maps
    })
    const place = { reason: "Instruction" as const, name: "edited", slot: 0 }
    const wrong = (relocation: Program["relocations"][number], insns: Uint8Array, detail: string, isFunction = true) =>
      assert.deepStrictEqual(failure(at(relocation, insns, isFunction)), { ...place, detail })
    wrong({ _tag: "Map", at: 0, map: 0 }, nothing, "a map needs a 64-bit immediate load")
    wrong({ _tag: "MapValue", at: 0, map: 3, offset: 0 }, nothing, "a map needs a 64-bit immediate load")
    wrong({ _tag: "Call", at: 0, section: 1, slot: 0 }, nothing, "the instruction is no call of a function")
    wrong({ _tag: "Function", at: 0, section: 1, slot: 0 }, nothing, "a function pointer needs a 64-bit immediate load")
    wrong({ _tag: "Extern", at: 0, extern: 0 }, nothing, "a kernel symbol needs a call or a 64-bit immediate load")
    wrong({ _tag: "Extern", at: 0, extern: 9 }, nothing, "the extern does not exist")
    wrong(
      { _tag: "Extern", at: 0, extern: 0 },
      code(Encode.callSubprogram(-1), Encode.exit()),
      "symbol is called, but is a variable",
      false
    )
  })

  it("leave the opened object as it was", () => {
    const object = opened("subprograms.bpf.o")
    const before = object.programs.map((each) => Buffer.from(each.insns).toString("hex"))
    relocated(object)
    assert.deepStrictEqual(object.programs.map((each) => Buffer.from(each.insns).toString("hex")), before)
  })
})

describe("exception callbacks", () => {
  const object = opened("exceptions.bpf.o")
  const edited = (changes: (program: Program) => Program): BpfObject => ({
    ...object,
    programs: object.programs.map((each) => each.name === "on_exception" ? changes(each) : each)
  })

  it("come behind the functions that are called, in the program that names them", () => {
    const whole = relocated(object)
    assert.deepStrictEqual(names(object, programOf(whole, "throw_when_short")), [
      "throw_when_short",
      "length_of",
      "on_exception"
    ])
    assert.deepStrictEqual(names(object, programOf(whole, "throw_to_default")), ["throw_to_default", "length_of"])
    assert.strictEqual(programOf(whole, "throw_when_short").funcInfo?.records.length, 3 * 8)
  })

  it("must exist, and be global", () => {
    assert.deepInclude(failure(edited((each) => ({ ...each, name: "renamed" }))), {
      reason: "ExceptionCallback",
      name: "throw_when_short",
      detail: "there is no function \"on_exception\" to call back"
    })
    for (const changes of [{ global: false }, { hidden: true }]) {
      assert.match(failure(edited((each) => ({ ...each, ...changes }))).detail, /must be global, and not hidden/)
    }
  })
})
