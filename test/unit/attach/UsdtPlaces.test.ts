/** From a file's notes to the places and records that an attachment needs, on files made by the test. */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as UsdtPlaces from "../../../src/attach/usdt/UsdtPlaces.ts"
import * as ElfBinary from "../../../src/services/Elf/ElfBinary.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import type { Architecture } from "../../../src/usdt/Argument.ts"
import type { NotesError } from "../../../src/usdt/Notes.ts"
import * as Spec from "../../../src/usdt/Spec.ts"
import { fixture, runs } from "../../support/Require.ts"
import { type BinaryOptions, binaryWith } from "../../support/UsdtBinary.ts"
import { forms, type WrittenNote } from "../../support/UsdtNotes.ts"

const layout = ((): Spec.Layout => {
  const object = Result.getOrThrow(Open.fromBytes(fixture("usdt_wide.bpf.o"), { path: "usdt_wide.bpf.o" }))
  const map = object.maps.find(({ name }) => name === Spec.specsMap)
  if (map === undefined || object.btf === undefined) throw new Error("no map of records")
  return Result.getOrThrow(Spec.layout(object.btf, map.valueType))
})()

const wanted: UsdtPlaces.Wanted = {
  provider: "app",
  name: "begin",
  cookie: 0n,
  layout,
  kernel: "x86-64",
  start: 0n,
  hasFastEntry: false
}

const find = (
  notes: ReadonlyArray<WrittenNote> | undefined,
  options: BinaryOptions = {},
  more: Partial<UsdtPlaces.Wanted> = {}
): Result.Result<UsdtPlaces.UsdtPlaces, NotesError> =>
  Result.flatMap(
    ElfBinary.open(binaryWith(notes, options)),
    (binary) => UsdtPlaces.find(binary, { ...wanted, ...more })
  )

const places = (...args: Parameters<typeof find>) => Result.getOrThrow(find(...args)).places

const refused = (...args: Parameters<typeof find>): NotesError => {
  const found = find(...args)
  if (Result.isSuccess(found)) throw new Error("it was found")
  return found.failure
}

const note = (more: Partial<WrittenNote> = {}): WrittenNote => ({
  address: 0x1010n,
  provider: "app",
  name: "begin",
  ...more
})

describe("the places of a probe", () => {
  it("share records where the texts of their arguments are equal", () => {
    const found = Result.getOrThrow(find([
      note({ arguments: "8@%rdi" }),
      note({ address: 0x1020n, arguments: "8@%rsi" }),
      note({ address: 0x1030n, name: "end", arguments: "8@%rax" }),
      note({ address: 0x1040n, arguments: "8@%rdi" }),
      note({ address: 0x1050n, provider: "other", arguments: "8@%rbx" })
    ]))
    assert.deepStrictEqual(found.places.map(({ offset }) => offset), [0x1010n, 0x1020n, 0x1040n])
    assert.deepStrictEqual([...found.records.keys()], ["8@%rdi", "8@%rsi"])
    assert.isTrue(found.isMovable)
    assert.isFalse(Result.getOrThrow(find([note()], { type: 2 })).isMovable)
  })

  it("are in the file and in its archive, with their semaphores", () => {
    const notes = [note({ semaphore: 0x3004n }), note({ address: 0x1020n })]
    assert.deepStrictEqual(places(notes, {}, { start: 0x5000n }), [
      { offset: 0x6010n, counterOffset: 0x7004n, address: 0x1010n, record: "" },
      { offset: 0x6020n, counterOffset: 0n, address: 0x1020n, record: "" }
    ])
  })

  it("have moved as .stapsdt.base has", () => {
    const notes = [note({ address: 0x910n, base: 0x4000n, semaphore: 0x2904n })]
    const [place] = places(notes, { base: 0x4700n })
    assert.deepInclude(place, { offset: 0x1010n, counterOffset: 0x2004n, address: 0x1010n })
  })

  it("are on the second of two nops where the kernel enters such probes fast, and only there", () => {
    const pair = Uint8Array.of(0x90, 0x0f, 0x1f, 0x44, 0, 0)
    const other = Uint8Array.of(0x90, 0x0f, 0x1f, 0x44, 0, 1)
    const at = (code: Uint8Array, hasFastEntry: boolean, options: BinaryOptions = {}) => {
      const [place] = places([note({ address: 0x1000n })], { code, ...options }, { hasFastEntry })
      return [place?.offset, place?.address]
    }
    assert.deepStrictEqual(at(pair, true), [0x1001n, 0x1001n])
    assert.deepStrictEqual(at(pair, false), [0x1000n, 0x1000n])
    assert.deepStrictEqual(at(other, true), [0x1000n, 0x1000n])
    assert.deepStrictEqual(at(pair, true, { form: { is64: false, littleEndian: true } }), [0x1000n, 0x1000n])
  })

  it("are found in programs that the kernel runs, of 32 bits and of the other byte order, too", () => {
    const machines: ReadonlyArray<readonly [Architecture, number, number]> = [
      ["x86-64", 62, 64],
      ["x86-64", 3, 32],
      ["i386", 3, 32],
      ["arm64", 183, 64],
      ["arm", 40, 32],
      ["s390x", 22, 64],
      ["riscv64", 243, 64]
    ]
    for (const form of forms) {
      for (const [kernel, machine, bits] of machines) {
        if (bits !== (form.is64 ? 64 : 32)) continue
        assert.lengthOf(places([note()], { form, machine }, { kernel }), 1, `${machine} on ${kernel}`)
      }
    }
    for (const [machine, kernel] of [[183, "x86-64"], [62, "arm64"], [40, "arm64"], [8, "x86-64"]] as const) {
      const form = { is64: machine !== 40, littleEndian: true }
      assert.deepInclude(refused([note()], { machine, form }, { kernel }), { reason: "Architecture" })
    }
  })

  it("are refused with their reasons", () => {
    const cases: ReadonlyArray<readonly [ReadonlyArray<WrittenNote> | undefined, string, RegExp, BinaryOptions?]> = [
      [undefined, "NoNotes", /nobody has put probes into it/],
      [[], "NoSuchProbe", /the file has no probes/],
      [[note()], "Elf", /link it/, { type: 1 }],
      [[note({ address: 0x3000n })], "Address", /segment without code/],
      [[note({ semaphore: 0x1000n })], "Address", /semaphore 0x1000 is in a segment of code/],
      [[note({ arguments: "8@%rax ".repeat(13) })], "TooManyArguments", /13 arguments, the object has room for 12/],
      [[note({ arguments: "8@(%rax" })], "Argument", /argument 0, "8@\(%rax": no place/]
    ]
    for (const [notes, reason, message, options] of cases) {
      const error = refused(notes, options)
      assert.strictEqual(error.reason, reason)
      assert.match(error.message, message)
    }
  })

  it("are not needed of other probes: those may be as they like", () => {
    const odd = [note({ name: "odd", address: 0x9000n, arguments: "8@nonsense" }), note({ name: "odd", semaphore: 1n })]
    assert.lengthOf(places([...odd, note()]), 1)
  })

  it("that are missing are an error that lists what there is: those of the provider first, and not endlessly many", () => {
    const others = Array.from({ length: 100 }, (_, index) => note({ provider: "lib", name: `probe${index}` }))
    const error = refused([...others, note({ provider: "lib" }), note({ name: "end" }), note({ name: "end" })])
    assert.match(
      error.message,
      /it has no probe app:begin; the file has app:end, lib:begin, lib:probe0, .* and 82 more$/
    )
  })

  it("of damaged files are places or an error", () => {
    const whole = binaryWith([note({ arguments: "8@%rdi -4@8(%rbp)", semaphore: 0x3004n }), note({ name: "end" })])
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 })
    // Where the headers and the notes are: the rest is code and data.
    const places = fc.array(
      fc.tuple(fc.oneof(fc.nat(0xb0), fc.integer({ min: 0x2100, max: whole.length - 1 })), fc.nat(255))
    )
    fc.assert(
      fc.property(fc.oneof(damage, places), fc.option(fc.nat(whole.length)), (changes, cut) => {
        const bytes = whole.slice(0, cut ?? whole.length)
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
        const found = Result.flatMap(ElfBinary.open(bytes), (binary) => UsdtPlaces.find(binary, wanted))
        if (Result.isFailure(found)) assert.include(["ElfError", "ByteSourceError", "UsdtError"], found.failure._tag)
      }),
      { numRuns: runs(2000) }
    )
  })
})
