import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { numbers } from "../../../../src/services/Kernel/abi/Errno.ts"
import * as Format from "../../../../src/vm/helpers/Format.ts"

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"))

/** Memory with a string at 1, an address at 2 and nothing elsewhere. */
const reader: Format.Reader = {
  bytes: (address, size) => address === 2n ? Uint8Array.from({ length: size }, (_, at) => at + 1) : undefined,
  string: (address, limit) => address === 1n ? bytes("text").subarray(0, limit) : undefined
}

const format = (text: string, args: ReadonlyArray<bigint> = [], size = 100): string | number => {
  const formatted = Format.format(bytes(text), args, size, reader)
  return typeof formatted === "number" ? formatted : Buffer.from(formatted.bytes).toString("latin1")
}

const minus = (value: bigint): bigint => BigInt.asUintN(64, -value)

describe("format strings of programs", () => {
  it("show numbers by width, sign and flags", () => {
    for (
      const [text, value, shown] of [
        ["%d", minus(5n), "-5"],
        ["%d", 0xffff_ffff_0000_0007n, "7"],
        ["%u", minus(1n), "4294967295"],
        ["%ld", minus(1n), "-1"],
        ["%llu", minus(1n), "18446744073709551615"],
        ["%x|%%", 255n, "ff|%"],
        ["%lX", 0xabcn, "ABC"],
        ["%5d|", 42n, "   42|"],
        ["%-5d|", 42n, "42   |"],
        ["%05d|", minus(42n), "-0042|"],
        ["%+d", 42n, "+42"],
        ["% d", 42n, " 42"],
        ["%+u", 42n, "42"],
        ["%c%%", 0x141n, "A%"]
      ] as const
    ) assert.strictEqual(format(text, [value]), shown, text)
  })

  it("show pointers, symbols and strings, and what memory holds of addresses", () => {
    for (
      const [text, value, shown] of [
        ["%p", 0x1fn, "000000000000001f"],
        ["%px", 0x1fn, "000000000000001f"],
        ["%6px|", 0x1fn, "    1f|"],
        ["%ps", 0x1fn, "0x1f"],
        ["%s|", 1n, "text|"],
        ["%6s|%%", 1n, "  text|%"],
        ["%-6s|", 1n, "text  |"],
        ["%6pks|", 1n, "text|"],
        ["%s|", 9n, "|"],
        ["%pI4", 2n, "1.2.3.4"],
        ["%pi4", 2n, "001.002.003.004"],
        ["%pI6", 2n, "0102:0304:0506:0708:090a:0b0c:0d0e:0f10"],
        ["%pi6", 2n, "0102030405060708090a0b0c0d0e0f10"],
        ["%pI4", 9n, "0.0.0.0"]
      ] as const
    ) assert.strictEqual(format(text, [value]), shown, text)
  })

  it("are refused where they are not allowed", () => {
    for (
      const text of [
        "%",
        "%5",
        "%h",
        "%hd",
        "%.3d",
        "%#x",
        "%Lx",
        "%n",
        "%lc",
        "%pz",
        "%pI5",
        "%sx",
        "\u0001",
        "\u007f",
        "%d%d"
      ]
    ) {
      assert.strictEqual(format(text, [1n]), -numbers.EINVAL, text)
    }
    // Bytes beyond ASCII are text, and letters of Latin-1 behind a directive.
    assert.strictEqual(format("\u00e9\u0080 %d\u00e9", [1n]), "\u00e9\u0080 1\u00e9")
    assert.strictEqual(format("%s\u00e9", [1n]), -numbers.EINVAL)
  })

  it("are cut to the buffer, and tell how long they would have been", () => {
    const cut = Format.format(bytes("abc %d"), [123n], 6, reader)
    assert.deepStrictEqual(cut, { bytes: bytes("abc 1"), length: 7 })
    const none = Format.format(bytes("abc"), [], 0, reader)
    assert.deepStrictEqual(none, { bytes: new Uint8Array(0), length: 3 })
    const wide = Format.format(bytes("%99999999d"), [1n], 8, reader)
    assert.deepStrictEqual(wide, { bytes: bytes("       "), length: 0x7f_ffff })
  })

  it("want no more room for their arguments than there is", () => {
    const long: Format.Reader = { ...reader, string: (_, limit) => new Uint8Array(limit).fill(65) }
    assert.strictEqual(Format.format(bytes("%s %s"), [1n, 1n], 2000, long), -numbers.ENOSPC)
    const one = Format.format(bytes("%s"), [1n], 2000, long)
    assert.strictEqual(typeof one === "number" ? one : one.length, 511)
  })

  /** Whether formats of any bytes end within their buffer. */
  const holds = (formatted: typeof Format.format) =>
    fc.check(
      fc.property(
        fc.uint8Array({ maxLength: 40 }),
        fc.array(fc.constantFrom("%d", "%llx", "%s", "%p", "%pI6", "%-9s", "%030d", "%c"), { maxLength: 6 }),
        fc.array(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), { maxLength: 6 }),
        fc.nat(50),
        (raw, directives, args, size) => {
          for (const text of [raw, bytes(directives.join(""))]) {
            const result = formatted(text, args, size, reader)
            if (typeof result === "number") {
              assert.include([-numbers.EINVAL, -numbers.ENOSPC], result)
              continue
            }
            assert.strictEqual(result.bytes.length, Math.min(Math.max(0, size - 1), result.length))
          }
        }
      )
    )

  it("of any bytes are text within the buffer, or refused", () => {
    const result = holds(Format.format)
    assert.isFalse(result.failed, fc.defaultReportMessage(result) ?? "")
  })

  it("named fault: text that is not cut is seen", () => {
    const result = holds((text, args, _, memory) => Format.format(text, args, 5000, memory))
    assert.isTrue(result.failed)
  })
})
