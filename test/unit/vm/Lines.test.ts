import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../src/btf/Btf.ts"
import * as Encode from "../../../src/insn/Encode.ts"
import * as C from "../../../src/insn/InsnConstants.ts"
import * as Vm from "../../../src/vm/Vm.ts"
import { opened } from "../stages/Pipeline.ts"

/** BTF that has only strings. */
const btfOf = (strings: string): Btf.Btf => {
  const header = [0x0001_eb9f, 24, 0, 0, 0, strings.length]
  const words = new Uint8Array(Uint32Array.from(header).buffer)
  return Result.getOrThrow(Btf.parse(Uint8Array.from([...words, ...new TextEncoder().encode(strings)])))
}

const strings = "\0a.c\0  x = 1;\0while (x)\0b.h\0"
const btf = btfOf(strings)
const at = (text: string): number => strings.indexOf(`\0${text}\0`) + 1

/** `bpf_line_info` records: slot, file, text, line, column. */
const recordsOf = (...lines: ReadonlyArray<readonly [number, string, string, number, number]>) => ({
  recordSize: 16,
  records: new Uint8Array(
    Uint32Array.from(
      lines.flatMap(([slot, file, text, line, column]) => [slot, at(file), at(text), (line << 10) | column])
    )
      .buffer
  )
})

const info = recordsOf([0, "a.c", "  x = 1;", 3, 5], [1, "a.c", "while (x)", 4, 1], [3, "b.h", "  x = 1;", 9, 0], [
  4,
  "a.c",
  "while (x)",
  4,
  9
])

describe("Lines", () => {
  it("finds the line of every slot", () => {
    const table = Result.getOrThrow(Vm.Lines.lineTable(info, btf))
    const lines = [0, 1, 2, 3, 4, 5, 1000].map((slot) => Vm.Lines.showLine(Vm.Lines.sourceLine(table, slot)))
    assert.deepStrictEqual(lines, ["a.c:3", "a.c:4", "a.c:4", "b.h:9", "a.c:4", "a.c:4", "a.c:4"])
    assert.deepStrictEqual(Vm.Lines.sourceLine(table, 0), { file: "a.c", line: 3, column: 5, text: "x = 1;" })
    const later = Result.getOrThrow(Vm.Lines.lineTable(recordsOf([2, "a.c", "while (x)", 4, 1]), btf))
    assert.isUndefined(Vm.Lines.sourceLine(later, 1))
    assert.isUndefined(Vm.Lines.showLine(undefined))
  })

  it("refuses records that are not in order, or not whole", () => {
    const twice = recordsOf([1, "a.c", "", 3, 5], [1, "a.c", "", 4, 1])
    for (const bad of [twice, { ...info, recordSize: 12 }, { ...info, recordSize: 24 }, { ...info, recordSize: 0 }]) {
      const table = Vm.Lines.lineTable(bad, btf)
      assert.isTrue(Result.isFailure(table) && table.failure.reason === "Form")
    }
  })

  it("takes strings that are not there as empty, and refuses long ones that are shared too often", () => {
    const absent = { recordSize: 16, records: new Uint8Array(Uint32Array.of(0, 9999, 9999, 1 << 10).buffer) }
    const table = Result.getOrThrow(Vm.Lines.lineTable(absent, btf))
    assert.deepStrictEqual(Vm.Lines.sourceLine(table, 0), { file: "", line: 1, column: 0, text: "" })
    const long = btfOf(`\0${"x".repeat(1 << 20)}\0`)
    const many = Uint32Array.from(Array.from({ length: 4000 }, (_, slot) => [slot, 1, 1, 1 << 10]).flat())
    const shared = Vm.Lines.lineTable({ recordSize: 16, records: new Uint8Array(many.buffer) }, long)
    assert.isTrue(Result.isFailure(shared))
  })

  it("counts executions by line, those that were not reached among them", () => {
    const coverage = new Map<Vm.Program, Uint32Array>()
    const seen: Array<number> = []
    const machine = Vm.make({ coverage, trace: (_, slot) => seen.push(slot) })
    assert.isDefined(machine)
    const program = Result.getOrThrow(Vm.decode(Encode.program(
      Encode.mov64Imm(0, 3),
      Encode.alu64Imm(C.BPF_SUB, 0, 1),
      Encode.jmpImm(C.BPF_JNE, 0, 0, -2),
      Encode.ja(1),
      Encode.mov64Imm(0, 1),
      Encode.exit()
    )))
    Vm.start(machine, program)
    assert.deepStrictEqual(Vm.complete(machine, 100), Result.succeed(0n))
    const counts = coverage.get(program)
    assert.isDefined(counts)
    assert.deepStrictEqual([...counts], [1, 3, 3, 1, 0, 1])
    assert.deepStrictEqual(seen, [0, 1, 2, 1, 2, 1, 2, 3, 5])
    const table = Result.getOrThrow(Vm.Lines.lineTable(
      recordsOf([0, "a.c", "  x = 1;", 3, 5], [1, "a.c", "while (x)", 4, 1], [3, "b.h", "  x = 1;", 9, 0], [
        4,
        "b.h",
        "while (x)",
        10,
        0
      ]),
      btf
    ))
    const lines = Vm.Lines.lineCounts(table, counts.subarray(0, 5))
    assert.deepStrictEqual(lines.map((line) => `${line.file}:${line.line} ${line.text} ${line.count}`), [
      "a.c:3 x = 1; 1",
      "a.c:4 while (x) 3",
      "b.h:9 x = 1; 1",
      "b.h:10 while (x) 0"
    ])
  })

  it("knows the lines of a compiled object", () => {
    const object = opened("subprograms.bpf.o")
    const section = object.btfExt?.lineInfo?.sections[0]
    assert.isDefined(section)
    assert.isDefined(object.btf)
    // Records of a file count bytes, those of the kernel slots.
    const records = Uint8Array.from(section.records)
    const view = new DataView(records.buffer)
    const recordSize = object.btfExt?.lineInfo?.recordSize ?? 0
    for (let at = 0; at < records.length; at += recordSize) view.setUint32(at, view.getUint32(at, true) / 8, true)
    const table = Result.getOrThrow(Vm.Lines.lineTable({ recordSize, records }, object.btf))
    assert.match(Vm.Lines.showLine(Vm.Lines.sourceLine(table, 0)) ?? "", /subprograms\.bpf\.c:\d+$/)
  })
})
