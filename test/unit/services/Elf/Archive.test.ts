import { assert, describe, it } from "@effect/vitest"
import * as Zip from "@zip.js/zip.js"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Archive from "../../../../src/services/Elf/Archive.ts"
import { runs } from "../../../support/Require.ts"

/** A member, and how it is put in. */
interface Put {
  readonly name: string
  readonly bytes: Uint8Array
  readonly options?: Zip.ZipWriterAddDataOptions
}

const stored: Zip.ZipWriterAddDataOptions = { level: 0, dataDescriptor: false, extendedTimestamp: false }

/** An archive as zip.js makes it. */
const zip = async (
  puts: ReadonlyArray<Put>,
  options: Zip.ZipWriterConstructorOptions & { readonly comment?: Uint8Array } = {}
): Promise<Uint8Array> => {
  const writer = new Zip.ZipWriter(new Zip.Uint8ArrayWriter(), { ...options, useWebWorkers: false })
  for (const { bytes, name, options: each } of puts) {
    await writer.add(name, new Zip.Uint8ArrayReader(bytes), { ...stored, ...each })
  }
  return new Uint8Array(await writer.close(options.comment))
}

const text = (content: string): Uint8Array => new TextEncoder().encode(content)

const reasonOf = <A>(result: Result.Result<A, { readonly _tag: string }>): unknown =>
  Result.isSuccess(result) ? "none" : Reflect.get(result.failure, "reason") ?? result.failure._tag

const memberOf = (bytes: Uint8Array, name: string) =>
  Result.flatMap(Archive.open(bytes), (archive) => Archive.member(archive, name))

const contentOf = (bytes: Uint8Array, name: string): Uint8Array => {
  const { offset, size, source } = Result.getOrThrow(memberOf(bytes, name))
  const content = Result.getOrThrow(source.read(0, size))
  assert.deepStrictEqual(content, bytes.slice(offset, offset + size))
  return content.slice()
}

const endOf = (bytes: Uint8Array): number => {
  for (let at = bytes.length - 22; at >= 0; at--) {
    if (new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true) === 0x06054b50) return at
  }
  throw new Error("no end record")
}

const changed = (bytes: Uint8Array, change: (view: DataView) => void): Uint8Array => {
  const copy = bytes.slice()
  change(new DataView(copy.buffer))
  return copy
}

const two: ReadonlyArray<Put> = [
  { name: "lib/x86_64/libfoo.so", bytes: text("the library") },
  { name: "lib/arm64-v8a/libfoo.so", bytes: text("another one") }
]

describe("a path into an archive", () => {
  it("is divided at the first !/", () => {
    assert.deepStrictEqual(Archive.split("app.apk!/lib/x86_64/libfoo.so"), {
      archive: "app.apk",
      member: "lib/x86_64/libfoo.so"
    })
    assert.deepStrictEqual(Archive.split("/a b:c!/d!/e"), { archive: "/a b:c", member: "d!/e" })
    assert.isUndefined(Archive.split("/usr/lib/libc.so.6"))
    assert.isUndefined(Archive.split("wow!"))
  })
})

describe("archives by zip.js", () => {
  const member = fc.record({
    name: fc.oneof(
      fc.stringMatching(/^[a-z][a-z0-9_/. :-]{0,12}$/),
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 8 }).filter((name) => name.isWellFormed())
    ).map((name) => `m${name}`).filter((name) => !name.endsWith("/")),
    bytes: fc.uint8Array({ maxLength: 200 })
  })

  it("give back what was stored in them, where it lies", () =>
    fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(member, { selector: ({ name }) => name, maxLength: 8 }),
        fc.uint8Array({ maxLength: 50 }),
        async (members, comment) => {
          const bytes = await zip(members, { comment })
          const archive = Result.getOrThrow(Archive.open(bytes))
          assert.deepStrictEqual(Archive.entriesOf(archive).map(({ name }) => name), members.map(({ name }) => name))
          for (const { bytes: expected, name } of members) assert.deepStrictEqual(contentOf(bytes, name), expected)
          assert.strictEqual(reasonOf(memberOf(bytes, "nowhere")), "NotFound")
        }
      ),
      { numRuns: runs(100) }
    ))

  it("with damage give an answer or a tagged error, and never bytes outside of the file", async () => {
    const bytes = await zip([...two, { name: "x", bytes: new Uint8Array(300) }], { comment: text("a comment") })
    let refused = 0
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
        fc.option(fc.nat(bytes.length), { nil: bytes.length }),
        (mutations, length) => {
          const copy = bytes.slice(0, length)
          for (const [at, value] of mutations) if (at < copy.length) copy[at] = value
          for (const { name } of two) {
            const found = memberOf(copy, name)
            if (Result.isSuccess(found)) {
              assert.isAtMost(found.success.offset + found.success.size, copy.length)
              continue
            }
            refused += 1
            assert.include(["ArchiveError", "ByteSourceError"], found.failure._tag)
            assert.isNotEmpty(found.failure.message)
          }
        }
      ),
      { numRuns: runs(2000) }
    )
    assert.isAbove(refused, 100)
  })

  it("say of compressed, encrypted and streamed members what they are", async () => {
    const bytes = await zip([
      { name: "deflated", bytes: new Uint8Array(5000), options: { level: 6 } },
      { name: "aes", bytes: text("secret"), options: { password: "p" } },
      { name: "old cipher", bytes: text("secret"), options: { password: "p", zipCrypto: true } },
      { name: "streamed", bytes: text("later"), options: { dataDescriptor: true } },
      { name: "stored", bytes: text("here") }
    ])
    assert.strictEqual(reasonOf(memberOf(bytes, "deflated")), "Compressed")
    assert.strictEqual(reasonOf(memberOf(bytes, "aes")), "Encrypted")
    assert.strictEqual(reasonOf(memberOf(bytes, "old cipher")), "Encrypted")
    assert.strictEqual(reasonOf(memberOf(bytes, "streamed")), "DataDescriptor")
    assert.deepStrictEqual(contentOf(bytes, "stored"), text("here"))
    const compressed = Option.getOrThrow(Result.getFailure(memberOf(bytes, "deflated")))
    assert.include(compressed.message, "deflate")
    assert.include(compressed.message, "zip -0")
  })

  it("of the 64-bit format are refused by that name", async () => {
    assert.strictEqual(reasonOf(Archive.open(await zip(two, { zip64: true }))), "Zip64")
    const one = await zip([{ name: "large", bytes: text("x"), options: { zip64: true } }, ...two])
    assert.strictEqual(reasonOf(memberOf(one, "large")), "Zip64")
  })

  it("may be empty", async () => {
    const bytes = await zip([])
    assert.strictEqual(bytes.length, 22)
    assert.strictEqual(reasonOf(memberOf(bytes, "x")), "NotFound")
  })

  it("suggest members of the same name for other processors", async () => {
    const failure = Option.getOrThrow(Result.getFailure(memberOf(await zip(two), "lib/x86/libfoo.so")))
    assert.deepStrictEqual(Reflect.get(failure, "near"), two.map(({ name }) => name))
  })

  it("say whether a member begins at a page", async () => {
    const bytes = await zip(two)
    assert.isFalse(Result.getOrThrow(memberOf(bytes, "lib/x86_64/libfoo.so")).isAligned)
    const { offset } = Result.getOrThrow(memberOf(bytes, "lib/x86_64/libfoo.so"))
    const first = { name: "a", bytes: new Uint8Array(4096 - offset - 31) }
    const moved = await zip([first, { name: "lib/x86_64/libfoo.so", bytes: text("the library") }])
    const aligned = Result.getOrThrow(memberOf(moved, "lib/x86_64/libfoo.so"))
    assert.strictEqual(aligned.offset, 4096)
    assert.isTrue(aligned.isAligned)
  })
})

describe("hostile archives", () => {
  it("that are none are refused", () => {
    for (const bytes of [new Uint8Array(0), new Uint8Array(21), new Uint8Array(100), text("PK\u0005\u0006")]) {
      assert.strictEqual(reasonOf(Archive.open(bytes)), "NotArchive")
    }
  })

  it("whose comment holds what only looks like an end record are read", async () => {
    const decoy = new Uint8Array(40)
    new DataView(decoy.buffer).setUint32(3, 0x06054b50, true)
    const bytes = await zip(two, { comment: decoy })
    assert.deepStrictEqual(contentOf(bytes, "lib/x86_64/libfoo.so"), text("the library"))
  })

  it("whose comment hides another end record are ambiguous", async () => {
    const decoy = new Uint8Array(30)
    const view = new DataView(decoy.buffer)
    view.setUint32(4, 0x06054b50, true)
    view.setUint16(4 + 20, 30 - 4 - 22, true)
    assert.strictEqual(reasonOf(Archive.open(await zip(two, { comment: decoy }))), "Ambiguous")
  })

  it("with the longest comment are read, with a longer tail not", async () => {
    const bytes = await zip(two, { comment: new Uint8Array(65_535) })
    assert.deepStrictEqual(contentOf(bytes, "lib/x86_64/libfoo.so"), text("the library"))
    const longer = new Uint8Array(bytes.length + 1)
    longer.set(bytes)
    assert.strictEqual(reasonOf(Archive.open(longer)), "NotArchive")
  })

  it("in parts, with a list outside or with more members than it has room for are refused", async () => {
    const bytes = await zip(two)
    const end = endOf(bytes)
    const reasonWith = (change: (view: DataView) => void) => reasonOf(Archive.open(changed(bytes, change)))
    assert.strictEqual(reasonWith((view) => view.setUint16(end + 4, 1, true)), "MultiDisk")
    assert.strictEqual(reasonWith((view) => view.setUint16(end + 6, 1, true)), "MultiDisk")
    assert.strictEqual(reasonWith((view) => view.setUint16(end + 10, 1, true)), "MultiDisk")
    assert.strictEqual(reasonWith((view) => view.setUint32(end + 16, 0xffff_fff0, true)), "NotArchive")
    assert.strictEqual(reasonWith((view) => view.setUint32(end + 12, 0x7fff_ffff, true)), "NotArchive")
    const giant = (view: DataView) => {
      view.setUint16(end + 8, 0xffff, true)
      view.setUint16(end + 10, 0xffff, true)
    }
    assert.strictEqual(reasonWith(giant), "Directory")
    const one = (view: DataView) => {
      view.setUint16(end + 8, 3, true)
      view.setUint16(end + 10, 3, true)
    }
    assert.strictEqual(reasonWith(one), "Directory")
  })

  it("whose members share bytes are refused, be it by the list or by their own headers", async () => {
    const bytes = await zip(two)
    const view = new DataView(bytes.buffer)
    const list = view.getUint32(endOf(bytes) + 16, true)
    const second = list + 46 + view.getUint16(list + 28, true) + view.getUint16(list + 30, true)
    const overlapping = changed(bytes, (copy) => copy.setUint32(second + 42, view.getUint32(list + 42, true), true))
    assert.strictEqual(reasonOf(Archive.open(overlapping)), "Overlap")
    // An extra field of the member's own header, of which the list does not know, moves its data into the next member.
    const moved = changed(bytes, (copy) => copy.setUint16(28, 100, true))
    assert.strictEqual(reasonOf(memberOf(moved, "lib/x86_64/libfoo.so")), "Overlap")
  })

  it("whose headers contradict the list are refused", async () => {
    const bytes = await zip(two)
    const reasonWith = (change: (view: DataView) => void) =>
      reasonOf(memberOf(changed(bytes, change), "lib/x86_64/libfoo.so"))
    assert.strictEqual(reasonWith(() => {}), "none")
    assert.strictEqual(reasonWith((view) => view.setUint32(0, 0, true)), "Member")
    assert.strictEqual(reasonWith((view) => view.setUint32(18, 1, true)), "Member")
    assert.strictEqual(reasonWith((view) => view.setUint32(22, 1, true)), "Member")
    assert.strictEqual(reasonWith((view) => view.setUint16(26, 1, true)), "Member")
    assert.strictEqual(reasonWith((view) => view.setUint8(30, 0x4c)), "Member")
    assert.strictEqual(reasonWith((view) => view.setUint16(8, 8, true)), "Compressed")
    assert.strictEqual(reasonWith((view) => view.setUint16(6, 1, true)), "Encrypted")
    assert.strictEqual(reasonWith((view) => view.setUint16(6, 8, true)), "DataDescriptor")
  })

  it("of 4 GiB are refused unread", () => {
    const size = 2 ** 32
    const answer = Archive.open({
      size,
      read: () => {
        throw new Error("read")
      }
    })
    assert.strictEqual(reasonOf(answer), "TooLarge")
  })

  it("named fault: without the check of the headers a member would be read where it is not", async () => {
    const bytes = await zip(two)
    const moved = changed(bytes, (copy) => copy.setUint16(28, 100, true))
    assert.notDeepEqual(moved.slice(30 + 20 + 100, 30 + 20 + 100 + 11), text("the library"))
  })
})
