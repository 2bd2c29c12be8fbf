import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"
import * as Edit from "../../../../src/stages/open/Edit.ts"
import * as StructOpsMaps from "../../../../src/stages/open/StructOpsMaps.ts"
import { opened } from "../Pipeline.ts"

const object = opened("struct_ops.bpf.o")

const set = (member: string, value: unknown, variable = "congestion", at: BpfObject = object) =>
  Edit.setStructOps(at, variable, member, value)

const get = (at: BpfObject, member: string, variable = "congestion") =>
  Result.getOrThrow(Edit.getStructOps(at, variable, member))

const refusal = (result: Result.Result<unknown, Edit.EditError>): Edit.EditError =>
  Result.isFailure(result) ? result.failure : assert.fail("it is not refused")

const autoload = (at: BpfObject, name: string): boolean | undefined =>
  at.programs.find((program) => program.name === name)?.autoload

describe("members of struct_ops variables", () => {
  it("are set as values of their types, and the object before stays as it was", () => {
    const renamed = Result.getOrThrow(set("name", "effect_other"))
    assert.strictEqual(get(renamed, "name"), "effect_other")
    assert.strictEqual(get(object, "name"), "effect_bpf_cc")
    assert.strictEqual(get(Result.getOrThrow(set("flags", 6)), "flags"), 6)
    // The shorter name leaves nothing of the longer one.
    assert.strictEqual(get(Result.getOrThrow(set("name", "x", "congestion", renamed)), "name"), "x")
  })

  it("take programs, or none", () => {
    assert.strictEqual(get(object, "undo_cwnd"), "restore_window")
    assert.strictEqual(get(object, "init"), null)
    const moved = Result.getOrThrow(set("init", "restore_window"))
    assert.strictEqual(get(moved, "init"), "restore_window")
    const without = Result.getOrThrow(set("undo_cwnd", null))
    assert.strictEqual(get(without, "undo_cwnd"), null)
    assert.isFalse(autoload(without, "restore_window"))
    // It stands in another member still.
    assert.isTrue(autoload(Result.getOrThrow(set("undo_cwnd", null, "congestion", moved)), "restore_window"))
    const back = Result.getOrThrow(set("undo_cwnd", "restore_window", "congestion", without))
    assert.isTrue(autoload(StructOpsMaps.withAutoload(back), "restore_window"))
  })

  it("decide which programs are loaded, by the variables that are made", () => {
    const linked = opened("struct_ops_link.bpf.o")
    assert.strictEqual(autoload(StructOpsMaps.withAutoload(linked), "other_threshold"), false)
    const all = Result.getOrThrow(Edit.setMap(linked, "optional", { autocreate: true }))
    assert.strictEqual(autoload(StructOpsMaps.withAutoload(all), "other_threshold"), true)
    const none = Result.getOrThrow(Edit.setMap(linked, "linked", { autocreate: false }))
    assert.strictEqual(autoload(StructOpsMaps.withAutoload(none), "undo"), false)
    const plain = opened("xdp_firewall.bpf.o")
    assert.strictEqual(StructOpsMaps.withAutoload(plain), plain)
  })

  it("are refused by name", () => {
    const cases: ReadonlyArray<readonly [Result.Result<unknown, Edit.EditError>, Edit.EditError["reason"], RegExp]> = [
      [set("name", "x", "nothing"), "NoSuchVariable", /the object has congestion/],
      [set("nothing", 1), "NoSuchMember", /congestion\.nothing: .*has no member nothing\nhint: it has ssthresh/],
      [set("", 1), "NoSuchMember", /no member/],
      [set("flags.inner", 1), "NoSuchMember", /no member inner/],
      [set("flags", "many"), "Value", /congestion\.flags/],
      [set("flags", 2 ** 32), "Value", /congestion\.flags/],
      [set("name", "longer than sixteen bytes"), "Value", /congestion\.name/],
      [set("ssthresh", 5), "Value", /is a function/],
      [set("ssthresh", "nobody"), "NoSuchProgram", /there is no program nobody\nhint: the object has halve_window/],
      [Edit.getStructOps(object, "congestion", "nothing"), "NoSuchMember", /nothing/]
    ]
    for (const [result, reason, message] of cases) {
      const refused = refusal(result)
      assert.strictEqual(refused.reason, reason, refused.message)
      assert.match(refused.message, message)
    }
    const shapes = opened("struct_ops_shapes.bpf.o")
    assert.match(refusal(set("flags", 1, "bit_field", shapes)).message, /bit field/)
    assert.match(refusal(set("owner", 16n, "reordered", shapes)).message, /pointer to data/)
    assert.strictEqual(get(Result.getOrThrow(set("owner", null, "reordered", shapes)), "flags", "reordered"), 2)
    // A member of a struct within the struct.
    const inner = Result.getOrThrow(set("flags.value", 9, "wrong_kind", shapes))
    assert.deepStrictEqual(get(inner, "flags", "wrong_kind"), { value: 9 })
  })

  it("take no program of another kind", () => {
    const other = Result.getOrThrow(Edit.setSection(object, "grow_window", "xdp"))
    assert.match(refusal(set("init", "grow_window", "congestion", other)).message, /is no struct_ops program/)
  })
})
