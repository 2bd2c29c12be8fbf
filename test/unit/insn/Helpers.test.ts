import { assert, describe, it } from "@effect/vitest"
import { helperCount, helperId, helperName } from "../../../src/insn/Helpers.ts"

describe("Helpers", () => {
  it("names and ids are one to one", () => {
    for (let id = 0; id < helperCount; id++) assert.strictEqual(helperId(helperName(id) ?? ""), id)
  })
  it("knows the ids that a loader program calls", () => {
    const called: ReadonlyArray<readonly [number, string]> = [
      [6, "bpf_trace_printk"],
      [113, "bpf_probe_read_kernel"],
      [148, "bpf_copy_from_user"],
      [166, "bpf_sys_bpf"],
      [167, "bpf_btf_find_by_name_kind"],
      [168, "bpf_sys_close"],
      [179, "bpf_kallsyms_lookup_name"]
    ]
    for (const [id, name] of called) assert.strictEqual(helperName(id), name)
  })
  it("begins and ends where the kernel's list does", () => {
    assert.strictEqual(helperName(0), "bpf_unspec")
    assert.strictEqual(helperName(211), "bpf_cgrp_storage_delete")
    assert.strictEqual(helperCount, 212)
  })
  it("has nothing for others", () => {
    assert.isUndefined(helperName(helperCount))
    assert.isUndefined(helperName(-1))
    assert.isUndefined(helperName(1.5))
    assert.isUndefined(helperId("map_lookup_elem"))
    assert.isUndefined(helperId("constructor"))
    assert.isUndefined(helperId(""))
  })
})
