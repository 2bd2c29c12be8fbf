/**
 * Damaged objects: whatever the bytes, the way from them to a plan ends in a value or in a tagged error with a message,
 * soon, and without taking memory that the bytes do not account for.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfExt from "../../src/btf/BtfExt.ts"
import * as Elf from "../../src/services/Elf/Elf.ts"
import * as Mutate from "../support/Mutate.ts"
import { fixture, runs, runsToMeet } from "../support/Require.ts"
import * as BadInput from "../unit/stages/BadInput.ts"
import { assertQuick } from "../support/CpuTime.ts"

const subjects = BadInput.subjects()

/** No run may take longer, however loaded the machine is. */
const patience = 4000

describe("damaged objects", () => {
  const reached = new Map<string, number>()
  const errors = new Set<string>()

  const judged = (bytes: Uint8Array): void => {
    const verdict = BadInput.judge(bytes)
    reached.set(verdict.reached, (reached.get(verdict.reached) ?? 0) + 1)
    if (verdict.error !== undefined) errors.add(verdict.error.replaceAll(/[0-9]+/g, "#"))
    assertQuick(verdict.milliseconds, patience)
  }

  it("end in a value or a tagged error", () => {
    fc.assert(
      fc.property(fc.constantFrom(...subjects), Mutate.edits, (subject, edits) => {
        judged(Mutate.apply(subject, edits, subjects))
      }),
      { numRuns: runsToMeet(20_000) }
    )
    // The edits must get past the first check, or the property says little.
    assert.isAbove(errors.size, 50, [...errors].join("\n"))
    assert.isAbove(reached.get("planned") ?? 0, 100)
    assert.isBelow(process.resourceUsage().maxRSS, 4 * 1024 * 1024)
  })

  it("cut off anywhere, end in a tagged error", () => {
    for (const subject of subjects) {
      const step = Math.max(1, Math.floor(subject.bytes.length / 40))
      for (let length = 0; length < subject.bytes.length; length += step) {
        const verdict = BadInput.judge(subject.bytes.subarray(0, length))
        // The section headers stand at the end, so a shorter file has lost some.
        assert.strictEqual(verdict.reached, "nothing")
        assert.match(verdict.error ?? "", /^ElfError: /)
      }
    }
  })

  it("of random bytes are no objects", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 512 }), fc.boolean(), (bytes, withHeader) => {
        const header = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 247, 0, 1, 0, 0, 0]
        judged(withHeader ? Uint8Array.from([...header, ...bytes]) : bytes)
      }),
      { numRuns: runs(2000) }
    )
  })
})

describe("damaged BTF", () => {
  const blobs = subjects.flatMap((subject) => {
    const file = Result.getOrThrow(Elf.parse(subject.bytes))
    const btf = Elf.sectionByName(file, ".BTF")?.data
    const ext = Elf.sectionByName(file, ".BTF.ext")?.data
    return btf === undefined || ext === undefined
      ? []
      : [{
        btf: Mutate.blobSubject(subject.name, btf, subject.littleEndian),
        ext: Mutate.blobSubject(subject.name, ext, subject.littleEndian),
        whole: Result.getOrThrow(Btf.parse(btf))
      }]
  })

  it("is parsed or refused", () => {
    const others = blobs.map(({ btf }) => btf)
    fc.assert(
      fc.property(fc.constantFrom(...others), Mutate.edits, (subject, edits) => {
        const parsed = Btf.parse(Mutate.apply(subject, edits, others))
        if (Result.isFailure(parsed)) {
          assert.isAbove(parsed.failure.message.length, 10)
          return
        }
        // What was accepted can be read.
        for (let id = 0; id < parsed.success.endId; id++) {
          Btf.typeOf(parsed.success, id)
          Btf.resolveSize(parsed.success, id)
          Btf.alignOf(parsed.success, id)
          assert.isBelow(Btf.typeName(parsed.success, id).length, 100_000)
        }
      }),
      { numRuns: runs(2000) }
    )
  })

  it("of instructions is parsed or refused", () => {
    const others = blobs.map(({ ext }) => ext)
    fc.assert(
      fc.property(fc.constantFrom(...blobs), Mutate.edits, ({ ext, whole }, edits) => {
        const parsed = BtfExt.parse(Mutate.apply(ext, edits, others), whole)
        if (Result.isFailure(parsed)) assert.isAbove(parsed.failure.message.length, 10)
      }),
      { numRuns: runs(2000) }
    )
  })
})

describe("undamaged objects", () => {
  it("are as far as they ever come", () => {
    assert.strictEqual(BadInput.judge(fixture("xdp_firewall.bpf.o")).reached, "planned")
    assert.strictEqual(BadInput.judge(fixture("global_data.eb.o")).reached, "planned")
  })
})
