import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { fromBytes } from "../../../src/services/Elf/ByteSource.ts"
import type { BinarySegment, ElfBinary } from "../../../src/services/Elf/ElfBinary.ts"
import * as C from "../../../src/services/Elf/ElfConstants.ts"
import * as Notes from "../../../src/usdt/Notes.ts"
import { UsdtError } from "../../../src/usdt/UsdtError.ts"
import { assertQuick, cpuTime } from "../../support/CpuTime.ts"
import { runs } from "../../support/Require.ts"
import { forms, noteSection } from "../../support/UsdtNotes.ts"

const little = { is64: true, littleEndian: true }

const read = (section: Notes.NoteSection) => Result.getOrThrow(Notes.read(section))

const failure = <A, E>(result: Result.Result<A, E>): E => {
  if (Result.isSuccess(result)) throw new Error("it was not refused")
  return result.failure
}

const segment = (address: bigint, memorySize: bigint, fileSize: bigint, offset: bigint, flags: number) => ({
  type: C.PT_LOAD,
  flags,
  offset,
  address,
  fileSize,
  memorySize
})

const code = segment(0x1000n, 0x500n, 0x500n, 0x1000n, C.PF_R | C.PF_X)
const data = segment(0x3000n, 0x200n, 0x100n, 0x2000n, C.PF_R | C.PF_W)

const binaryOf = (...loads: ReadonlyArray<BinarySegment>): ElfBinary => ({
  source: fromBytes(new Uint8Array(0x4000)),
  bits: 64,
  byteOrder: "little",
  type: C.ET_DYN,
  machine: C.EM_X86_64,
  flags: 0,
  sections: [],
  sectionNamesIndex: 0,
  segments: loads,
  loads
})

const probe = (address: bigint, semaphore?: bigint): Notes.Probe => ({
  provider: "app",
  name: "probe",
  address,
  semaphore,
  arguments: "",
  noteOffset: 0
})

describe("notes", () => {
  for (const form of forms) {
    it(`of ${form.is64 ? 64 : 32} bits, ${form.littleEndian ? "little" : "big"}-endian`, () => {
      const section = noteSection(form, [
        { address: 0x1234n, semaphore: 0x3010n, provider: "app", name: "begin", arguments: "8@%rdi" },
        { address: 0xffff_fff0n, provider: "ä", name: "end" }
      ])
      assert.deepStrictEqual(read(section), [
        {
          provider: "app",
          name: "begin",
          address: 0x1234n,
          semaphore: 0x3010n,
          arguments: "8@%rdi",
          noteOffset: 0x400
        },
        {
          provider: "ä",
          name: "end",
          address: 0xffff_fff0n,
          semaphore: undefined,
          arguments: "",
          noteOffset: form.is64 ? 0x440 : 0x434
        }
      ])
    })
  }

  it("move with .stapsdt.base, and their semaphores with them", () => {
    const notes = [{ address: 0x1010n, base: 0x1800n, semaphore: 0x3010n }]
    const moved = (base: bigint | undefined) => {
      const [found] = read(noteSection(little, notes, base))
      return [found?.address, found?.semaphore]
    }
    assert.deepStrictEqual(moved(undefined), [0x1010n, 0x3010n])
    assert.deepStrictEqual(moved(0n), [0x1010n, 0x3010n])
    assert.deepStrictEqual(moved(0x1800n), [0x1010n, 0x3010n])
    assert.deepStrictEqual(moved(0x4800n), [0x4010n, 0x6010n])
    assert.deepStrictEqual(moved(0x1000n), [0x810n, 0x2810n])
    const [unmoved] = read(noteSection(little, [{ address: 0x1010n }], 0x4800n))
    assert.strictEqual(unmoved?.address, 0x1010n)
  })

  it("of other owners and types are passed over", () => {
    const section = noteSection(little, [
      { address: 1n, owner: "GNU" },
      { address: 2n, owner: "stapsdt2" },
      { address: 3n, type: 4 },
      { address: 4n, owner: "" },
      { address: 5n }
    ])
    assert.deepStrictEqual(read(section).map(({ address }) => address), [5n])
  })

  it("may be followed by zeros that fill a section up", () => {
    const section = noteSection(little, [{ address: 5n }])
    const bytes = new Uint8Array(section.bytes.length + 4)
    bytes.set(section.bytes)
    assert.lengthOf(read({ ...section, bytes }), 1)
    bytes[bytes.length - 1] = 1
    assert.strictEqual(failure(Notes.read({ ...section, bytes })).reason, "Note")
  })

  it("that are cut off or do not end are refused, with their place", () => {
    const section = noteSection(little, [{ address: 1n, provider: "p", name: "n", arguments: "8@%rax" }])
    for (let length = 1; length < section.bytes.length - 1; length++) {
      const error = failure(Notes.read({ ...section, bytes: section.bytes.slice(0, length) }))
      assert.deepInclude(error, { reason: "Note", offset: 0x400 })
    }
    const nameless = noteSection(little, [{ address: 1n, name: "" }])
    assert.match(failure(Notes.read(nameless)).message, /its name is empty \(file offset 0x400\)/)
    const endless = noteSection(little, [{ address: 1n, provider: "p", name: "n", arguments: "8@%rax" }])
    endless.bytes.fill(0x41, endless.bytes.length - 8)
    assert.match(failure(Notes.read(endless)).message, /its arguments do not end/)
    const huge = noteSection(little, [{ address: 1n }])
    new DataView(huge.bytes.buffer).setUint32(4, 0xffff_ffff, true)
    assert.strictEqual(failure(Notes.read(huge)).reason, "Note")
    new DataView(huge.bytes.buffer).setUint32(0, 0xffff_ffff, true)
    assert.strictEqual(failure(Notes.read(huge)).reason, "Note")
  })

  it("of any bytes are notes or an error, and not more of them than the bytes can hold", () => {
    const written = fc.array(
      fc.record({ address: fc.bigInt({ min: 0n, max: 0xffff_ffffn }), name: fc.string(), arguments: fc.string() })
    )
    const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 })
    fc.assert(
      fc.property(fc.constantFrom(...forms), written, damage, fc.nat(3), (form, notes, changes, cut) => {
        const { bytes, ...section } = noteSection(form, notes)
        const damaged = bytes.slice(0, Math.max(0, bytes.length - cut))
        for (const [at, value] of changes) if (damaged.length > 0) damaged[at % damaged.length] = value
        const result = Notes.read({ ...section, bytes: damaged })
        if (Result.isFailure(result)) assert.instanceOf(result.failure, UsdtError)
        else assert.isAtMost(result.success.length * 24, damaged.length)
      }),
      { numRuns: runs(1000) }
    )
  })

  it("by the hundred thousand are read in a moment", () => {
    const one = noteSection(little, [{ address: 1n, arguments: "8@%rax 4@-20(%rbp)" }]).bytes
    const bytes = new Uint8Array(one.length * 100_000)
    for (let index = 0; index < 100_000; index++) bytes.set(one, index * one.length)
    const start = cpuTime()
    assert.lengthOf(read({ ...little, bytes, offset: 0, base: undefined }), 100_000)
    assertQuick(cpuTime() - start, 10_000)
  })
})

describe("the place of a probe", () => {
  it("is in the file where its segment is", () => {
    assert.deepStrictEqual(Result.getOrThrow(Notes.place(binaryOf(code, data), probe(0x1010n))), {
      fileOffset: 0x1010n,
      semaphoreOffset: 0n
    })
    assert.deepStrictEqual(Result.getOrThrow(Notes.place(binaryOf(code, data), probe(0x14ffn, 0x3004n))), {
      fileOffset: 0x14ffn,
      semaphoreOffset: 0x2004n
    })
  })

  it("must be code, and its semaphore must not", () => {
    const cases: ReadonlyArray<readonly [Notes.Probe, RegExp]> = [
      [probe(0x0n), /0x0 is in no segment/],
      [probe(0x1500n), /0x1500 is in no segment/],
      [probe(0x3000n), /0x3000 is in a segment without code/],
      [probe(0x1010n, 0x1020n), /semaphore 0x1020 is in a segment of code/],
      [probe(0x1010n, 0x5000n), /semaphore 0x5000 is in no segment/],
      [probe(0x1010n, 0x3180n), /semaphore 0x3180 is in memory, but not in the file/],
      [probe(0xffff_ffff_ffff_ffffn), /in no segment/]
    ]
    for (const [each, message] of cases) {
      const error = failure(Notes.place(binaryOf(code, data), each))
      assert.deepInclude(error, { reason: "Address", probe: "app:probe" })
      assert.match(error.message, message)
    }
    assert.strictEqual(failure(Notes.place(binaryOf(), probe(1n))).reason, "Address")
  })
})

describe("the notes of a file", () => {
  it("are refused where it is not linked, or has none", () => {
    assert.deepInclude(failure(Notes.ofBinary({ ...binaryOf(), type: C.ET_REL })), { reason: "Elf" })
    assert.deepInclude(failure(Notes.ofBinary({ ...binaryOf(), type: C.ET_CORE })), { reason: "Elf" })
    assert.match(failure(Notes.ofBinary(binaryOf())).message, /section headers were removed/)
  })
})

describe("two nops", () => {
  it("are found by their bytes", () => {
    const pair = Uint8Array.of(0x90, 0x0f, 0x1f, 0x44, 0, 0)
    assert.isTrue(Notes.isNopPair(pair))
    assert.isTrue(Notes.isNopPair(Uint8Array.of(...pair, 1)))
    assert.isFalse(Notes.isNopPair(pair.subarray(0, 5)))
    for (let at = 0; at < 6; at++) {
      assert.isFalse(Notes.isNopPair(pair.map((byte, index) => index === at ? byte ^ 1 : byte)))
    }
  })
})
