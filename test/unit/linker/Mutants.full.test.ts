/** Thousands of mutants of every fixture through the linker. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import { type Ends, linkMutants, subjects } from "../../support/LinkMutants.ts"
import { runs } from "../../support/Require.ts"

describe("mutated objects", () => {
  const all = subjects()
  const ends: Ends = { counts: new Map(), slowest: 0 }
  for (const subject of all) {
    it(`of ${subject.name} link, or give a tagged error`, () => {
      linkMutants(subject, all, runs(2000), ends)
    })
  }

  it("were of every kind", () => {
    Fs.writeSync(2, `${JSON.stringify(Object.fromEntries(ends.counts))}, slowest ${Math.round(ends.slowest)} ms\n`)
    for (const reason of ["linked", "Elf", "NotBpf", "Section", "Symbol", "Relocation", "Btf"]) {
      assert.isAbove(ends.counts.get(reason) ?? 0, 0, reason)
    }
  })
})
