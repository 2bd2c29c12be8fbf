/** The judge of BTF itself: its answers come in order, failures and crashes among them. */
import { assert, it } from "@effect/vitest"
import * as B from "../support/arbitrary/BtfBlob.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { describeWith } from "../support/Require.ts"

const blob = BtfPeer.inline(B.blob([B.int("int", 4, 1), B.ptr(1), B.ptr(1)]))

describeWith({ kind: "oracle", ...Libbpf.needs("1.5") }, "libbpf as a judge of BTF", () => {
  it("is of the version that was asked for", () => {
    const [first] = Libbpf.versions.map((version) => BtfPeer.library(version))
    assert.match(first ?? "", /^v1\.\d/)
    assert.strictEqual(BtfPeer.library("1.5"), "v1.5")
  })

  for (const version of Libbpf.versions) {
    it(`answers in order, failures too (${version})`, () => {
      const answers = BtfPeer.batch(version, [
        ["dedup", blob, "-"],
        ["dedup", "hex:00", "-"],
        ["decl", blob, "2", "name=pointer"],
        ["dumpc", blob],
        ["layout", blob]
      ])
      assert.strictEqual(answers[0]?.result?.types, 3)
      assert.strictEqual(BtfPeer.resultOf(answers[0] ?? {}).length, 24 + 16 + 12 + 5)
      assert.strictEqual(answers[1]?.error?.name, "EINVAL")
      assert.strictEqual(answers[2]?.text, "int *pointer")
      assert.strictEqual(answers[3]?.text, "")
      assert.strictEqual(answers[4]?.text, "1 4 4\n2 8 8\n3 8 8\n")
    })
  }

  it("goes on after a command that the peer does not survive", () => {
    const endless = ["bench", "parse", blob, "10000000"]
    const answers = BtfPeer.batch("1.5", [["layout", blob], endless, ["layout", blob]], { seconds: 1 })
    assert.strictEqual(answers.length, 3)
    assert.deepEqual(answers[0], answers[2])
    assert.strictEqual(answers[1]?.error?.name, "CRASH")
  })

  it("says that the older version knows no distilled base", () => {
    assert.strictEqual(BtfPeer.ask("system", "distill", blob, blob, "-", "-").error?.name, "EOPNOTSUPP")
    const base = BtfPeer.inline(B.blob([B.int("int", 4, 1)]))
    // Type 2 of the whole: a pointer over a base of one type and the strings "" and "int".
    const split = BtfPeer.inline(B.blob([B.ptr(1)], { stringsStart: 5 }))
    const made = BtfPeer.ask("1.5", "distill", split, base, "-", "-")
    assert.isUndefined(made.error)
    assert.strictEqual(made.base?.types, 2)
    assert.strictEqual(made.split?.types, 3)
  })
})
