import { assert, describe, it } from "@effect/vitest"
import * as Compatibility from "../../../../src/diagnostics/Compatibility.ts"
import * as B from "../../../support/arbitrary/BtfBlob.ts"
import { kernel } from "../../../support/CheckKernels.ts"
import { opened } from "../../stages/Pipeline.ts"

const row = (name: string, problem?: string): Compatibility.ObjectRow => ({ name, path: `objects/${name}`, problem })
const column = (name: string, problem?: string): Compatibility.KernelColumn => ({
  name,
  path: `kernels/${name}`,
  problem
})

const has = kernel([B.funcProto(0, []), B.func("bpf_rcu_read_lock", 1, 0), B.func("bpf_rcu_read_unlock", 1, 0)], [])
const lacks = kernel([B.int("int", 4, 1)], [])

const columnOf = (target: Compatibility.Target): Compatibility.CheckedColumn => {
  const places: Compatibility.Places = new Map()
  const cells = [
    Compatibility.check(Compatibility.prepare(opened("ksyms.bpf.o")), target, places),
    Compatibility.check(Compatibility.prepare(opened("prog_array.bpf.o")), target, places),
    undefined
  ]
  return { cells, places }
}

const matrix = Compatibility.assemble(
  [row("ksyms.o"), row("plain.o"), row("broken.o", "it is no object")],
  [column("6.1"), column("6.6"), column("bad", "it is no BTF"), column("6.12")],
  [columnOf(lacks), columnOf(lacks), undefined, columnOf(has)]
)

describe("a matrix", () => {
  it("has a verdict for each object and kernel; what cannot be read is fatal", () => {
    assert.deepStrictEqual(matrix.cells.map((row) => row.map(({ verdict }) => verdict)), [
      ["fatal", "fatal", "fatal", "guarded"],
      ["green", "green", "fatal", "green"],
      ["fatal", "fatal", "fatal", "fatal"]
    ])
    assert.deepStrictEqual(matrix.summary, { green: 3, guarded: 1, unknown: 0, fatal: 8 })
  })

  it("has each finding once, with its kernels, the worst of each object first", () => {
    assert.deepStrictEqual(
      matrix.findings.map((
        { kernels, object, rule, subject, verdict }
      ) => [object, verdict, rule, subject, kernels.join()]),
      [
        [undefined, "fatal", "kernel-unreadable", "kernels/bad", "2"],
        [0, "fatal", "kernel-function", "bpf_rcu_read_lock", "0,1"],
        [0, "fatal", "kernel-function", "bpf_rcu_read_unlock", "0,1"],
        [0, "guarded", "kernel-function", "bpf_rcu_read_lock___second_spelling", "0,1"],
        [0, "guarded", "kernel-function", "there_is_no_such_function", "0,1,3"],
        [2, "fatal", "object-unreadable", "objects/broken.o", "0,1,2,3"]
      ]
    )
    const refersTo = (object: number, kernel: number) =>
      matrix.cells[object]?.[kernel]?.findings.map((position) => matrix.findings[position]?.subject)
    assert.deepStrictEqual(refersTo(0, 3), ["there_is_no_such_function"])
    assert.deepStrictEqual(refersTo(1, 2), ["kernels/bad"])
    assert.deepStrictEqual(refersTo(2, 2), ["kernels/bad", "objects/broken.o"])
    assert.deepStrictEqual(refersTo(1, 0), [])
  })

  it("has histories, and what was not checked with its kernels", () => {
    const lock = matrix.histories.find(({ reference }) => reference.path === "bpf_rcu_read_lock")
    assert.deepStrictEqual(lock?.runs.map(({ from, place, to }) => [from, to, place._tag]), [
      [0, 1, "Absent"],
      [3, 3, "Present"]
    ])
    assert.deepStrictEqual(
      matrix.unchecked.filter(({ what }) => what === "kernel symbol schedule").map((
        { kernels, object }
      ) => [object, kernels]),
      [[0, [0, 1, 3]]]
    )
  })

  it("names kernels in a row as a range", () => {
    const range = (...positions: ReadonlyArray<number>) => Compatibility.kernelRanges(matrix.kernels, positions)
    assert.strictEqual(range(0), "6.1")
    assert.strictEqual(range(0, 1), "6.1, 6.6")
    assert.strictEqual(range(0, 1, 2), "6.1 to bad")
    assert.strictEqual(range(0, 2, 3), "6.1, bad, 6.12")
    assert.strictEqual(range(0, 1, 2, 3), "all kernels")
    assert.strictEqual(range(), "")
  })

  it("of nothing is empty", () => {
    assert.deepStrictEqual(Compatibility.assemble([], [], []).summary, { green: 0, guarded: 0, unknown: 0, fatal: 0 })
  })
})
