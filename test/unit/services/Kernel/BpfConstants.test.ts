import { assert, describe, it } from "@effect/vitest"
import * as C from "../../../../src/services/Kernel/abi/BpfConstants.ts"

const tables = [
  { table: C.MapType, nameOf: C.mapTypeName, byName: C.mapTypeByName },
  { table: C.ProgType, nameOf: C.progTypeName, byName: C.progTypeByName },
  { table: C.AttachType, nameOf: C.attachTypeName, byName: C.attachTypeByName },
  { table: C.LinkType, nameOf: C.linkTypeName, byName: C.linkTypeByName }
] as const

describe("BpfConstants", () => {
  it("names types as bpftool prints them", () => {
    assert.strictEqual(C.mapTypeName(27), "ringbuf")
    assert.strictEqual(C.mapTypeName(21), "percpu_cgroup_storage")
    assert.strictEqual(C.progTypeName(3), "sched_cls")
    assert.strictEqual(C.attachTypeName(0), "cgroup_inet_ingress")
    assert.strictEqual(C.attachTypeName(42), "trace_kprobe_multi")
    assert.strictEqual(C.linkTypeName(12), "uprobe_multi")
  })

  it("says the number of a type that it does not know", () => {
    assert.strictEqual(C.mapTypeName(99), "type 99")
    assert.strictEqual(C.progTypeName(-1), "type -1")
    assert.strictEqual(C.attachTypeName(250), "attach type 250")
    assert.strictEqual(C.mapTypeByName("toString"), undefined)
    assert.strictEqual(C.progTypeByName(""), undefined)
  })

  it("numbers each table densely from 0, and names lead back to their numbers", () => {
    for (const { byName, nameOf, table } of tables) {
      const values = Object.values(table)
      assert.deepStrictEqual(values, values.map((_, index) => index))
      assert.deepStrictEqual(values.map((value) => byName(nameOf(value))), values)
    }
  })

  it("named fault: a table with a gap or a number twice is seen", () => {
    const dense = (values: ReadonlyArray<number>) => values.every((value, index) => value === index)
    assert.isTrue(dense(Object.values(C.Command)))
    assert.isFalse(dense([0, 1, 3]))
    assert.isFalse(dense([0, 1, 1]))
  })
})
