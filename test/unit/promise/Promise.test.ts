/** The promise face on the simulated kernel. */
import { assert, describe, it } from "@effect/vitest"
import { Bpf, UnsupportedCall } from "../../../src/promise.ts"
import { frame, promiseSuite, rejectsWith } from "../../support/PromiseSuite.ts"
import { fixture } from "../../support/Require.ts"

describe("the promise face on the simulated kernel", () => {
  promiseSuite("simulated")

  it("shows what the kernel has seen", async () => {
    await using kernel = await Bpf.simulated({ coverage: true })
    const object = await Bpf.load(fixture("xdp_firewall.bpf.o"), { kernel })
    await object.program("xdp_firewall").run({ packet: frame })
    const [covered] = await kernel.coverage() ?? []
    assert.isAbove(covered?.lines.filter(({ count }) => count > 0).length ?? 0, 10)
    assert.deepStrictEqual(await kernel.printk(), [])
    assert.deepStrictEqual(await kernel.redirects(), [])
  })

  it("refuses to attach, in words", async () => {
    await using object = await Bpf.load(fixture("xdp_firewall.bpf.o"), { kernel: "simulated" })
    await rejectsWith(object.program("xdp_firewall").attach({ kind: "xdp", device: 1 }), UnsupportedCall)
  })
})
