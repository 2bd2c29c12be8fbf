import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { Mapping } from "../../../src/attach/ProcessMaps.ts"
import * as Maps from "../../../src/attach/ProcessMaps.ts"

const path = fc.oneof(
  fc.constantFrom("", "[heap]", "[vdso]", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/a b:c/x y.so", "/memfd:x"),
  fc.stringMatching(/^\/[ -~]{0,20}[!-~]$/).filter((text) => !text.includes("\\012") && !text.endsWith("(deleted)")),
  fc.constant("/new\nline.so")
)

const mapping: fc.Arbitrary<Mapping> = fc.record({
  start: fc.bigInt({ min: 0n, max: 2n ** 63n }),
  end: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  isReadable: fc.boolean(),
  isWritable: fc.boolean(),
  isExecutable: fc.boolean(),
  isShared: fc.boolean(),
  offset: fc.bigInt({ min: 0n, max: 2n ** 40n }),
  device: fc.constantFrom("00:00", "fd:01", "103:0a"),
  inode: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  path,
  isDeleted: fc.boolean()
}).map((each) => ({ ...each, isDeleted: each.isDeleted && each.path.startsWith("/") }))

/** A line as the kernel prints it: the path begins at a column. */
const printed = (each: Mapping): string => {
  const flags = `${each.isReadable ? "r" : "-"}${each.isWritable ? "w" : "-"}${each.isExecutable ? "x" : "-"}${
    each.isShared ? "s" : "p"
  }`
  const hex = (value: bigint, digits: number) => value.toString(16).padStart(digits, "0")
  const head = `${hex(each.start, 8)}-${hex(each.end, 8)} ${flags} ${hex(each.offset, 8)} ${each.device} ${each.inode} `
  const name = `${each.path.replaceAll("\n", "\\012")}${each.isDeleted ? " (deleted)" : ""}`
  return name === "" ? head : `${head.padEnd(73)}${name}`
}

describe("mappings of processes", () => {
  it("are read as the kernel prints them, blanks, colons and newlines in paths included", () => {
    fc.assert(fc.property(fc.array(mapping), (all) => {
      assert.deepStrictEqual(Maps.parse(all.map((each) => `${printed(each)}\n`).join("")), all)
    }))
  })

  it("are left out where a line is none", () => {
    for (const text of ["", "x", "00-10 rwxp 0 00:00", "00-10 rwzp 00 00:00 0", "00-10 rw-p 00 00:00 zero", "-- --"]) {
      assert.isUndefined(Maps.parseLine(text), text)
    }
    fc.assert(fc.property(fc.string({ maxLength: 100 }), (text) => {
      Maps.parse(text)
    }))
  })

  const text = [
    "00400000-00401000 r--p 00000000 fd:01 10 /opt/a b/prog",
    "00401000-00403000 r-xp 00001000 fd:01 10 /opt/a b/prog",
    "7f0000000000-7f0000001000 r--p 00000000 fd:01 11 /usr/lib/libssl.so.3",
    "7f0000001000-7f0000004000 r-xp 00002000 fd:01 11 /usr/lib/libssl.so.3",
    "7f0000010000-7f0000011000 r-xp 00000000 fd:01 12 /usr/lib/libgone.so.1 (deleted)",
    "7f0000020000-7f0000021000 r--p 00000000 fd:01 13 /usr/share/data",
    "7f0000030000-7f0000031000 rwxp 00000000 00:00 0",
    "7ffff0000000-7ffff0001000 r-xp 00000000 00:00 0 [vdso]"
  ].join("\n")
  const files = Maps.executables(Maps.parse(text))

  it("give the files that are executed, each once", () => {
    assert.deepStrictEqual(files.map(({ isDeleted, mappings, path }) => [path, mappings.length, isDeleted]), [
      ["/opt/a b/prog", 2, false],
      ["/usr/lib/libssl.so.3", 2, false],
      ["/usr/lib/libgone.so.1", 1, true]
    ])
  })

  it("are named by path, by last name, or by it without a version", () => {
    const named = (name: string) => Maps.fileNamed(files, name)?.path
    assert.strictEqual(named("/opt/a b/prog"), "/opt/a b/prog")
    assert.strictEqual(named("libssl.so.3"), "/usr/lib/libssl.so.3")
    assert.strictEqual(named("libssl.so"), "/usr/lib/libssl.so.3")
    assert.strictEqual(named("prog"), "/opt/a b/prog")
    assert.isUndefined(named("pro"))
    assert.isUndefined(named("lib/libssl.so.3"))
    assert.isUndefined(named("data"))
  })

  it("turn offsets into addresses, of code only", () => {
    const ssl = Maps.fileNamed(files, "libssl.so")
    assert.isDefined(ssl)
    if (ssl === undefined) return
    assert.strictEqual(Maps.addressOf(ssl, 0x2010n), 0x7f0000001010n)
    assert.strictEqual(Maps.addressOf(ssl, 0x4fffn), 0x7f0000003fffn)
    assert.isUndefined(Maps.addressOf(ssl, 0x5000n))
    assert.isUndefined(Maps.addressOf(ssl, 0x10n))
  })
})
