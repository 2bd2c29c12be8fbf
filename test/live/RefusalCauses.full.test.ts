/** The capabilities that refusals name, beside what the running kernel refuses to processes of each set of them. */
import { assert, it } from "@effect/vitest"
import { describeWith } from "../support/Require.ts"
import * as RightsSuite from "../support/RightsSuite.ts"

const sets = [
  [],
  ["bpf"],
  ["net_admin"],
  ["perfmon"],
  ["bpf", "perfmon"],
  ["bpf", "net_admin"],
  ["bpf", "perfmon", "net_admin"]
]

describeWith({ kind: "live", root: true, tools: ["setpriv"] }, "missing capabilities", () => {
  it("are those that the kernel asks for", () => {
    const root = RightsSuite.asHere()
    const all = new Map(sets.map((set) => [set.join(","), RightsSuite.withCapabilities(...set)] as const))
    RightsSuite.assertRights(all, root)
    // Named fault: a capability too many, or too few, is seen.
    const entries = [...all.get("bpf") ?? []]
    const faulty = (change: (said: RightsSuite.Said) => RightsSuite.Said) =>
      new Map([...all, ["bpf", new Map(entries.map(([what, said]) => [what, change(said)]))]])
    const isOf = (said: RightsSuite.Said) => said.reason === "MissingCapability"
    assert.throws(() =>
      RightsSuite.assertRights(faulty((said) => isOf(said) ? { ...said, capabilities: ["CAP_BPF"] } : said), root)
    )
    assert.throws(() =>
      RightsSuite.assertRights(faulty((said) => isOf(said) ? { ...said, reason: "Policy" } : said), root)
    )
  }, 60_000)
})
