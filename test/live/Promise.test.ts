/** The promise face on the running kernel: nothing is left behind, whenever it is closed or aborted. */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import { AttachError, Bpf, ClosedError, type Link, type Loaded } from "../../src/promise.ts"
import { mappings, openDescriptors } from "../support/LiveKernel.ts"
import { follow, promiseSuite, rejection, rejectsWith, send, turn } from "../support/PromiseSuite.ts"
import { bpffs, describeWith, fixture } from "../support/Require.ts"

const left = () => [openDescriptors().length, mappings()]

/** A promise that has ended, or has not yet. */
const stateOf = <A>(promise: Promise<A>): { ended: boolean } => {
  const state = { ended: false }
  const end = () => {
    state.ended = true
  }
  promise.then(end, end)
  return state
}

// What tracefs lists and events of whole CPUs are root's.
describeWith({ kind: "live", root: true }, "the promise face on the running kernel", () => {
  promiseSuite("live")

  it("aborted at any moment of a load, leaves nothing behind", async () => {
    const before = left()
    const reason = new Error("enough")
    await using kernel = await Bpf.live()
    let aborted = 0
    for (let turns = 0;; turns++) {
      const controller = new AbortController()
      const loading = Bpf.load(fixture("xdp_firewall.bpf.o"), { kernel, signal: controller.signal })
      const state = stateOf(loading)
      for (let i = 0; i < turns && !state.ended; i++) await turn()
      if (state.ended) {
        await (await loading).close()
        assert.deepStrictEqual(left(), before)
        break
      }
      controller.abort(reason)
      const outcome = await loading.catch((error: unknown) => error)
      if (outcome === reason) aborted++
      else await (outcome as Loaded).close()
      assert.deepStrictEqual(left(), before, `aborted after ${turns} turns`)
    }
    assert.isAbove(aborted, 1)
  })

  it("closed at any moment of a load, rejects it and leaves nothing behind", async () => {
    const before = left()
    for (let turns = 0; turns < 40; turns += 3) {
      const kernel = await Bpf.live()
      const loading = Bpf.load(fixture("xdp_firewall.bpf.o"), { kernel }).catch((error: unknown) => error)
      for (let i = 0; i < turns; i++) await turn()
      await kernel.close()
      const outcome = await loading
      assert.isTrue(outcome instanceof ClosedError || (outcome as Loaded).closed)
      assert.deepStrictEqual(left(), before, `closed after ${turns} turns`)
    }
  })

  it("closed while loops read, ends them and then unmaps what they read", async () => {
    const before = left()
    const object = await Bpf.load(fixture("typed_events.bpf.o"))
    const [execs, mixed] = [follow(object.events("execs")), follow(object.events("mixed"))]
    await send(object, 100)
    await send(object, 10, "send_mixed")
    await Promise.all([execs.until(100), mixed.until(10)])
    await object.globals.get("sequence")
    await object.close()
    await Promise.all([execs.ended, mixed.ended])
    assert.deepStrictEqual(left(), before)
  })

  it("closed in the body of a loop, ends it there", async () => {
    const before = left()
    const object = await Bpf.load(fixture("typed_events.bpf.o"))
    await send(object, 10)
    let seen = 0
    for await (const _ of object.events("execs")) {
      seen++
      await object.close()
    }
    assert.strictEqual(seen, 1)
    assert.deepStrictEqual(left(), before)
  })

  it("attaches to what sections say and to targets, detaches the last first", async () => {
    const before = left()
    const object = await Bpf.load(fixture("tracepoint.bpf.o"))
    const { links, skipped } = await object.attach()
    assert.isAbove(links.size, 0)
    assert.isAbove(skipped.length, 0)
    const [[name, link] = assert.fail("nothing is attached")] = links
    assert.strictEqual(link.program, name)
    await link.close()
    assert.deepStrictEqual([link.closed, object.closed], [true, false])
    const again = await object.program(name).attach()
    assert.isFalse(again.closed)
    await object.close()
    assert.isTrue(again.closed)
    assert.deepStrictEqual(left(), before)
  })

  it("keeps a pinned link when it is closed", async () => {
    const path = `${bpffs()}/promised`
    const load = () => Bpf.load(fixture("xdp_firewall.bpf.o"))
    const target = { kind: "xdp", device: "lo", mode: "generic" } as const
    /** The device may be somebody else's for a moment, and the kernel lets go of a link a little later than of its pin. */
    const attach = async (object: Loaded): Promise<Link> => {
      for (const end = Date.now() + 30_000;;) {
        try {
          return await object.program("xdp_firewall").attach(target)
        } catch (error) {
          if (!(error instanceof AttachError) || error.errno !== "EBUSY" || Date.now() > end) throw error
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
    }
    const pinned = async (use: (link: Link) => Promise<void>) => {
      await using object = await load()
      await use(await attach(object))
    }
    await pinned((link) => link.pin(path))
    try {
      assert.isTrue(Fs.existsSync(path))
      await using object = await load()
      assert.deepInclude(await rejection(object.program("xdp_firewall").attach(target)), { errno: "EBUSY" })
    } finally {
      Fs.unlinkSync(path)
    }
    await pinned(async (link) => {
      await link.pin(path)
      await link.unpin()
      await link.update("xdp_firewall")
      assert.deepInclude(await link.info(), { type: 6 })
    })
    await pinned(async (link) => {
      await link.detach()
      await link.close()
      assert.isTrue(link.closed)
    })
  })

  it("aborted while it attaches, attaches nothing", async () => {
    const before = left()
    await using object = await Bpf.load(fixture("tracepoint.bpf.o"))
    const loaded = left()
    for (let turns = 0; turns < 20; turns++) {
      const controller = new AbortController()
      const attaching = object.attach({ signal: controller.signal }).catch(() => undefined)
      for (let i = 0; i < turns; i++) await turn()
      controller.abort()
      await (await attaching)?.close()
      assert.deepStrictEqual(left(), loaded, `aborted after ${turns} turns`)
    }
    await object.close()
    assert.deepStrictEqual(left(), before)
  })

  it("a kernel that is none of ours is refused", async () => {
    const kernel = { ...await Bpf.simulated() }
    await rejectsWith(Bpf.load(fixture("xdp_firewall.bpf.o"), { kernel }), TypeError)
  })

  it("reads perf buffers, and says what they lost", async () => {
    const before = left()
    const object = await Bpf.load(fixture("typed_events.bpf.o"))
    const samples = object.events("samples")
    const reading = follow(samples)
    const produce = async (count: number) => {
      await object.program("send_samples").run({ context: [BigInt(count)] })
    }
    // Only what is written after the buffer was opened has a place in it.
    await samples.counters()
    await produce(50)
    await reading.until(50)
    assert.deepInclude(reading.seen[0], { name: "sample" })
    assert.deepStrictEqual(await samples.counters(), { taken: 50, waiting: 0, lost: 0n })
    await object.close()
    await reading.ended
    assert.deepStrictEqual(left(), before)
  })
})
