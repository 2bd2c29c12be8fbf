/**
 * C headers of objects that were damaged, or made to hurt: they end in a tagged error before there is any text, or are text
 * that no name got into which C would take for something else.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import * as CText from "../../src/stages/gen/skeleton/CText.ts"
import * as SkeletonC from "../../src/stages/gen/SkeletonC.ts"
import * as SubskeletonC from "../../src/stages/gen/SubskeletonC.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Mutate from "../support/Mutate.ts"
import { fixture, runs } from "../support/Require.ts"

const files = [
  "global_data.bpf.o",
  "externs.bpf.o",
  "struct_ops_shapes.bpf.o",
  "skeletons/skeleton_names.bpf.o",
  "arena_anywhere.bpf.o",
  "map_kinds.eb.o"
]

const name = "judged"

type Made = Result.Result<string, SkeletonC.SkeletonError>

const both = (object: BpfObject, bytes: Uint8Array): ReadonlyArray<Made> => [
  SkeletonC.make(object, bytes, { name }),
  SubskeletonC.make(object, { name })
]

/** Whether a header has but its own line breaks, literals and braces. */
const requireClean = (text: string): void => {
  assert.notMatch(text, /[^\t\n\x20-\x7e]/)
  assert.match(text, /^#endif \/\* __JUDGED_(SUB)?SKEL_H__ \*\/\n$/m)
  const code = text.replaceAll(/"(?:[^"\\]|\\[^])*"/g, "\"\"").replaceAll(/^\/\*.*\*\/$/gm, "")
  assert.notMatch(code.replaceAll("\"\"", ""), /["'`@$?]/)
  assert.strictEqual(code.split("{").length, code.split("}").length)
}

/** Makes both headers, twice: they are the same, and text of C, or there is a reason. */
const judge = (object: BpfObject, bytes: Uint8Array): ReadonlyArray<Made> => {
  const made = both(object, bytes)
  assert.deepStrictEqual(both(object, bytes), made)
  for (const each of made) {
    if (Result.isFailure(each)) {
      assert.strictEqual(each.failure._tag, "SkeletonError")
      assert.isAbove(each.failure.message.length, 0)
    } else {
      requireClean(each.success)
    }
  }
  return made
}

describe("C headers of damaged objects", () => {
  it("are text or a tagged error", () => {
    const subjects = files.map((file) => Mutate.subject(file, fixture(file)))
    let texts = 0
    const errors = new Set<string>()
    fc.assert(
      fc.property(fc.constantFrom(...subjects), Mutate.edits, (subject, edits) => {
        const bytes = Mutate.apply(subject, edits, subjects)
        const object = Open.fromBytes(bytes)
        if (Result.isFailure(object)) return
        for (const made of judge(object.success, bytes.subarray(0, 64))) {
          if (Result.isSuccess(made)) texts++
          else errors.add(made.failure.reason)
        }
      }),
      { numRuns: runs(800) }
    )
    assert.isAbove(texts, 50)
  })
})

const opened = (file: string): BpfObject => Result.getOrThrow(Open.fromBytes(fixture(file)))

/** Names that end what they would stand in: identifiers, literals, comments, lines. */
const hostile = fc.oneof(
  fc.constantFrom(
    "a; } evil; struct {",
    "*/ int evil; /*",
    "\" evil \"",
    "line\nbreak",
    "a\\",
    "??/",
    "\ufffd",
    "\u00e9t\u00e9",
    "int",
    "a b",
    "0",
    "#define x",
    "\u0000",
    "\u202e"
  ),
  fc.string({ unit: "binary", minLength: 1, maxLength: 20 })
)

const isWord = (text: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(text)

describe("C headers of names that hurt", () => {
  it("have them as literals, and identifiers of C in their place", () => {
    const object = opened("skeletons/skeleton_names.bpf.o")
    fc.assert(
      fc.property(hostile, hostile, (map, program) => {
        const renamed: BpfObject = {
          ...object,
          maps: object.maps.map((each, at) => at === 0 ? { ...each, name: map } : each),
          programs: object.programs.map((each, at) => at === 0 ? { ...each, name: program } : each)
        }
        for (const made of judge(renamed, new Uint8Array(8))) {
          // Only what is not text, or is the name of another, cannot be found.
          if (Result.isFailure(made)) assert.match(made.failure.detail, /UTF-8|two (map|program)s|without a name/)
        }
      }),
      { numRuns: runs(300) }
    )
  })

  /** An object in which a name is another of as many bytes, in its types and its symbols. */
  const renamed = (file: string, from: string, to: Uint8Array): Result.Result<BpfObject, Open.OpenFailure> => {
    const bytes = fixture(file).slice()
    const name = new TextEncoder().encode(`\0${from}\0`)
    for (let at = 0; at + name.length <= bytes.length; at++) {
      if (name.every((byte, index) => bytes[at + index] === byte)) bytes.set(to, at + 1)
    }
    return Open.fromBytes(bytes)
  }

  const ofLength = (length: number): fc.Arbitrary<Uint8Array> =>
    fc.oneof(
      fc.constantFrom("a;}b{c;d;", "*/int/*;;", "\"a\"b'c' ;", "a\nb\rc\td ", "int      ", "\\\\??/#@$`", "class____")
        .map((text) => new TextEncoder().encode(text).slice(0, length)),
      fc.uint8Array({ minLength: length, maxLength: length, min: 1 })
    )

  it.each(["point", "colour", "favourite"])("name %s, whatever else it is, only by an identifier", (from) => {
    fc.assert(
      fc.property(ofLength(from.length), (to) => {
        const object = renamed("global_data.bpf.o", from, to)
        if (Result.isFailure(object)) return
        const text = new TextDecoder().decode(to)
        for (const made of judge(object.success, new Uint8Array(8))) {
          if (from === "favourite") {
            assert.isTrue(Result.isSuccess(made) || /UTF-8/.test(made.failure.detail))
            continue
          }
          // A name of as many letters is a name like others.
          if (isWord(text)) assert.isTrue(Result.isSuccess(made) || CText.keywordsOfC.has(text), text)
          else assert.isTrue(Result.isFailure(made) && made.failure.reason === "Name", text)
        }
      }),
      { numRuns: runs(150) }
    )
  })

  it("named fault: what a name would do that is written as it is", () => {
    const text = Result.getOrThrow(SkeletonC.make(opened("global_data.bpf.o"), new Uint8Array(8), { name }))
    assert.throws(() => requireClean(text.replace("struct point position", "struct a\"; } b position")))
    assert.throws(() => requireClean(text.replace("struct point position", "struct a} b position")))
    assert.throws(() => requireClean(text.replace("struct point position", "struct a\rb position")))
    requireClean(text)
  })
})

describe("objects in C headers", () => {
  const unescaped = (text: string): Uint8Array =>
    Uint8Array.from([...text.replaceAll("\\\n", "").matchAll(/\\(?:x(..)|0)/g)], ([, hex = "0"]) => parseInt(hex, 16))

  it("are their bytes, in lines that editors take", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const text = CText.escaped(bytes)
        assert.deepStrictEqual(unescaped(text), bytes)
        assert.match(text, /^(?:(?:\\x[0-9a-f]{2}|\\0)*(?:\\\n)?)*$/)
        for (const line of text.split("\n")) assert.isAtMost(line.length, 79)
      }),
      { numRuns: runs(200) }
    )
  })

  it("that are too large for one are refused", () => {
    const made = SkeletonC.make(opened("arena_empty.bpf.o"), new Uint8Array(64 * 1024 * 1024 + 1), { name })
    assert.isTrue(Result.isFailure(made) && made.failure.hint?.includes("strip"))
  })
})

describe("C headers of variables that are in each other's place", () => {
  const object = opened("global_data.bpf.o")
  const { btf } = object
  const moved = (change: (entry: Btf.DatasecEntry, at: number) => Partial<Btf.DatasecEntry>): BpfObject => {
    if (btf === undefined) return assert.fail("the fixture has types")
    const id = Btf.findOne(btf, ".data", Btf.BTF_KIND_DATASEC) ?? 0
    const datasec = Btf.typeOf(btf, id)
    if (datasec._tag !== "Datasec") return assert.fail("is no section")
    const editor = BtfEdit.edit(btf)
    datasec.entries.forEach((entry, at) => editor.setDatasecEntry(id, at, change(entry, at)))
    return { ...object, btf: Result.getOrThrow(editor.finish()) }
  }

  it("say which one", () => {
    const made = SkeletonC.make(moved(() => ({ offset: 0 })), new Uint8Array(8), { name })
    assert.isTrue(Result.isFailure(made) && made.failure.reason === "Layout")
    const small = SkeletonC.make(moved(({ size }) => ({ size: Math.min(2, size) })), new Uint8Array(8), { name })
    assert.isTrue(Result.isFailure(small) && small.failure.reason === "Layout")
  })

  it("have what is not aligned where it is", () => {
    const made = SkeletonC.make(moved(({ offset }) => ({ offset: offset + 1 })), new Uint8Array(8), { name })
    assert.match(Result.getOrThrow(made), /char __pad0\[1\];\n\t\t__s32 answer __attribute__\(\(packed\)\);/)
  })
})
