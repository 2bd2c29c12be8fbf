import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import {
  type Case,
  heldBytes,
  measure,
  median,
  type Plan,
  readPeer,
  showSize,
  showTime,
  table
} from "../../../bench/Harness.ts"

const quick: Plan = { rounds: 3, milliseconds: 1, iterations: 2, warmUpIterations: 1 }

describe("median", () => {
  it("has as many values on either side", () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { minLength: 1 }), (values) => {
        const middle = median(values)
        const below = values.filter((value) => value < middle).length
        const above = values.filter((value) => value > middle).length
        return below <= values.length / 2 && above <= values.length / 2
      })
    )
  })

  it("is not the mean", () => {
    assert.strictEqual(median([1, 2, 900]), 2)
    assert.strictEqual(median([4, 1]), 2.5)
  })
})

describe("measure", () => {
  const work: Case = {
    name: "wait",
    inputBytes: 2048,
    ours: () => {
      const end = performance.now() + 1
      while (performance.now() < end);
    },
    peer: {
      name: "echo 1.0",
      boundary: "in process",
      command: process.execPath,
      args: ["-e", "console.log(JSON.stringify({ median_ns: 500000, n: 7 }))"],
      repetitions: 7
    }
  }

  it("measures both sides and prints their ratio", async () => {
    const row = await measure(work, quick)
    assert.isAtLeast(row.ours.milliseconds, 1)
    assert.isAtLeast(row.ours.samples, quick.rounds * quick.iterations)
    assert.deepStrictEqual(row.peer, { milliseconds: 0.5, samples: 21 })
    const text = table([{ ...row, ours: { milliseconds: 1, samples: 30 } }], quick)
    assert.match(text, /\| wait +\| 2 KiB +\| 1 ms +\| 500 µs +\| 2 +\| 30\/21 +\| in process +\| echo 1\.0 +\|/)
  })

  it("times whole processes", async () => {
    const command = { command: process.execPath, args: ["-e", "0"] }
    const row = await measure({
      name: "start",
      inputBytes: 0,
      ours: command,
      peer: { name: "node", boundary: "whole process", repetitions: 2, ...command }
    }, { ...quick, rounds: 1 })
    assert.isAbove(row.ours.milliseconds, 1)
    assert.strictEqual(row.peer?.samples, 2)
  })

  it("fails where ours or the peer fails", async () => {
    const fails = (broken: Case) => measure(broken, quick).then(() => "nothing", (error: Error) => error.message)
    assert.include(
      await fails({
        ...work,
        ours: () => {
          throw new Error("ours is broken")
        }
      }),
      "ours is broken"
    )
    const peer = { name: "broken", boundary: "in process" as const, command: process.execPath, repetitions: 1 }
    assert.include(await fails({ ...work, peer: { ...peer, args: ["-e", "process.exit(3)"] } }), "exits 3")
    assert.include(await fails({ ...work, peer: { ...peer, args: ["-e", "console.log('{}')"] } }), "median_ns")
  })
})

describe("readPeer", () => {
  it("reads nanoseconds", () => {
    assert.deepStrictEqual(readPeer("{\"median_ns\":1500000,\"min_ns\":1,\"n\":4}\n"), {
      milliseconds: 1.5,
      samples: 4
    })
  })
})

describe("memory", () => {
  it("is what the result holds, arrays included", () => {
    const held = heldBytes(() => new Uint32Array(1_000_000).fill(1))
    assert.isAbove(held, 3_900_000)
    assert.isBelow(held, 5_000_000)
    assert.isBelow(heldBytes(() => undefined), 1_000_000)
  })

  it("is printed beside the peer's", async () => {
    const row = await measure({
      name: "hold",
      inputBytes: 0,
      ours: () => 0,
      held: () => new Uint8Array(3 << 20),
      peer: {
        name: "echo",
        boundary: "in process",
        command: process.execPath,
        args: ["-e", "console.log(JSON.stringify({ median_ns: 1, n: 1, heap_bytes: 2048 }))"],
        repetitions: 1
      }
    }, quick)
    assert.match(table([row], quick), /\| [23](\.\d+)? MiB \/ 2 KiB +\|/)
  })
})

describe("show", () => {
  it("keeps three digits and picks the unit", () => {
    assert.deepStrictEqual([0.00002, 0.0123, 1.2345, 123.4, 2345].map(showTime), [
      "20 ns",
      "12.3 µs",
      "1.23 ms",
      "123 ms",
      "2.35 s"
    ])
    assert.deepStrictEqual([0, 1023, 1024, 5516713].map(showSize), ["0 B", "1023 B", "1 KiB", "5.26 MiB"])
  })
})
