/** What is told of programs that were watched: a table and a document, whatever their names are. */
import { assert, describe, it } from "@effect/vitest"
import { jsonText } from "../../../src/cli/json/Json.ts"
import { profilingJson } from "../../../src/cli/json/ProfilingDocument.ts"
import { statsJson } from "../../../src/cli/json/StatsDocument.ts"
import * as Profile from "../../../src/cli/prog/Profile.ts"
import * as ProfileCode from "../../../src/cli/prog/ProfileCode.ts"
import type { Measured, Ran } from "../../../src/cli/prog/Stats.ts"
import { profilingText } from "../../../src/cli/text/ProfilingText.ts"
import { duration, statsText } from "../../../src/cli/text/StatsText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import * as Ref from "../../../src/services/Kernel/Ref.ts"
import { faultOf } from "../../support/Documents.ts"

const ran = (id: number, more: Partial<Ran> = {}): Ran => ({
  id,
  type: 6,
  name: `p${id}`,
  tag: "0011223344556677",
  runs: 0n,
  time: 0n,
  misses: 0n,
  gone: false,
  ...more
})

const measured: Measured = {
  watched: 2_000_000_000n,
  programs: [
    ran(3, { runs: 1000n, time: 500_000_000n, name: "evil\u001b[2J" }),
    ran(7, { runs: 1n, time: 90n, gone: true, misses: 4n, type: 4711 }),
    ran(5)
  ]
}

describe("prog stats", () => {
  it("tells people who ran, how often and how long", () => {
    const text = render(statsText(measured), plain)
    assert.match(text, /^ {2}3 +xdp +evil\\x1b\[2J +1000 +500 +500 ms +500 µs +25\.00 %$/m)
    assert.match(text, /^ {2}7 +.*4711.* +p7 +1 +1 +90 ns +90 ns +0\.00 % +4 +unloaded$/m)
    assert.match(text, /\n\n2 programs ran in 2\.00 s, 1 did not\n$/)
    assert.notInclude(text, "\u001b")
    assert.match(render(statsText(measured, 1), plain), /\n… 1 more that ran\n/)
    assert.strictEqual(
      render(statsText({ watched: 0n, programs: [] }), plain),
      "0 programs ran in 0 ns\n"
    )
  })

  it("tells scripts all, digit for digit", () => {
    const document = jsonText(
      statsJson({ ...measured, watched: 2n ** 63n, programs: [ran(1, { runs: 4n, time: 10n })] }, undefined),
      false
    )
    assert.include(document, "\"watched_ns\":9223372036854775808,\"bpf_stats_enabled\":null")
    assert.include(
      document,
      "\"run_cnt\":4,\"run_time_ns\":10,\"average_ns\":2.5,\"recursion_misses\":0,\"gone\":false"
    )
  })

  it("times have three digits and a unit", () => {
    assert.deepStrictEqual([0, 7, 999, 1000, 12_340, 999_000, 1.5e6, 1e9, 6.1e10].map(duration), [
      "0 ns",
      "7 ns",
      "999 ns",
      "1.00 µs",
      "12.3 µs",
      "999 µs",
      "1.50 ms",
      "1.00 s",
      "61.0 s"
    ])
  })
})

describe("prog profile", () => {
  const metric = (name: string): Profile.Metric =>
    Profile.metrics.find((each) => each.name === name) ?? assert.fail(`${name} is no metric`)

  const profile: Profile.Profile = {
    runs: 4n,
    readings: [
      { metric: metric("cycles"), counter: 1000n, enabled: 100n, running: 25n },
      { metric: metric("instructions"), counter: 500n, enabled: 100n, running: 100n },
      { metric: metric("llc_misses"), counter: 1n, enabled: 100n, running: 100n }
    ]
  }

  it("tells people each run, and what is in proportion", () => {
    const text = render(profilingText("evil\u001b[2J", profile), plain)
    assert.match(text, /^evil\\x1b\[2J ran 4 times\n/)
    assert.match(text, /^ {2}cycles +1000 +250\.0 +counted 25\.00 % of the time$/m)
    assert.match(text, /^ {2}instructions +500 +125\.0 +0\.50 per cycle$/m)
    assert.match(text, /^ {2}llc_misses +1 +0\.250 +2000\.00 per million instructions$/m)
    const none = render(profilingText("p", { runs: 0n, readings: profile.readings.slice(1) }), plain)
    assert.match(none, /^ {2}instructions +500$/m)
  })

  it("has bpftool's keys", () => {
    assert.deepStrictEqual(profilingJson(profile), [
      { metric: "cycles", run_cnt: 4, value: 1000, enabled: 100, running: 25 },
      { metric: "instructions", run_cnt: 4, value: 500, enabled: 100, running: 100 },
      { metric: "llc_misses", run_cnt: 4, value: 1, enabled: 100, running: 100 }
    ])
    const stdout = JSON.stringify(profilingJson(profile))
    assert.isUndefined(faultOf(["prog", "profile", "--json"], { status: 0, stdout }))
  })

  it("numbers of events are the kernel's", () => {
    // PERF_COUNT_HW_CACHE_* : which | operation << 8 | result << 16
    assert.deepStrictEqual(
      ["l1d_loads", "llc_misses", "itlb_misses", "dtlb_misses"].map((name) => Number(metric(name).config)),
      [0, 0x10002, 0x10004, 0x10003]
    )
    assert.deepStrictEqual(
      ["task_clock", "page_faults", "context_switches", "cpu_migrations"].map((name) => Number(metric(name).config)),
      [1, 2, 3, 4]
    )
  })

  it("reads what its programs write: each field at a place of its own", () => {
    for (const metrics of [1, 3, ProfileCode.mostMetrics]) {
      const value = new Uint8Array(ProfileCode.valueSize(metrics))
      const words = new BigUint64Array(value.buffer)
      words.forEach((_, index) => {
        words[index] = BigInt(index)
      })
      const { readings, runs } = ProfileCode.counted(value, metrics, true)
      const read = [runs, ...readings.flatMap(({ counter, enabled, running }) => [counter, enabled, running])]
      assert.strictEqual(new Set(read).size, 1 + 3 * metrics)
    }
    const maps = { readings: Ref.map(0), events: [Ref.map(1), Ref.map(2)] }
    for (const { insns, refs } of [ProfileCode.entry(maps), ProfileCode.exit(maps)]) {
      assert.strictEqual(insns.length % 8, 0)
      // The values once, and each counter once.
      assert.sameMembers(refs.map((ref) => ref._tag === "MapRef" ? ref.map.index : -1), [0, 1, 2])
      // Each refers from the first half of a load of 64 bits.
      assert.isTrue(refs.every(({ at }) => insns[at * 8] === 0x18))
    }
  })
})
