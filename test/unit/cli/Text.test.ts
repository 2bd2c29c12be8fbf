import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { hexBytes, hexDump } from "../../../src/cli/text/HexDump.ts"
import * as Text from "../../../src/cli/text/Text.ts"
import { jsonValueText, quotedText } from "../../../src/cli/text/ValueText.ts"

const tone = fc.constantFrom<Text.Tone>("heading", "name", "dim", "good", "warning", "error")

/** Any text at all: control characters, escape sequences, halves of surrogate pairs. */
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
  fc.constantFrom("\x1b[31mred", "\x1b]0;title\x07", "line\rover", "a\nb", "\u202ereversed", "\x9b2J", "\ud800")
)

const piece: fc.Arbitrary<Text.Piece> = fc.oneof(
  anyText,
  fc.record({ tone, text: anyText })
)

const line: fc.Arbitrary<Text.Line> = fc.record({
  pieces: fc.array(piece, { maxLength: 6 }),
  overflow: fc.option(fc.nat({ max: 8 }), { nil: undefined })
})

/** The numbers of characters that a terminal acts upon: controls, separators of lines, and direction marks. */
const isDangerous = (code: number): boolean =>
  (code < 0x20 && code !== 0x0a) || (code >= 0x7f && code <= 0x9f) || code === 0x2028 || code === 0x2029 ||
  (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || (code >= 0xd800 && code <= 0xdfff)

const isSafe = (render: typeof Text.render, lines: ReadonlyArray<Text.Line>, width: number | undefined): boolean => {
  const text = render(lines, { colors: false, ...(width === undefined ? {} : { width }) })
  // One newline for each line, and none that came with a piece.
  return !Array.from(text).some((character) => isDangerous(character.codePointAt(0) ?? 0)) &&
    (width !== undefined || text.split("\n").length === lines.length + 1)
}

describe("Text", () => {
  it("lets nothing through that a terminal would act upon", () => {
    fc.assert(fc.property(
      fc.array(line, { maxLength: 5 }),
      fc.option(fc.integer({ min: 10, max: 100 }), { nil: undefined }),
      (lines, width) => isSafe(Text.render, lines, width)
    ))
  })

  it("named fault: a renderer that does not escape", () => {
    const raw: typeof Text.render = (lines) =>
      lines.map(({ pieces }) => `${pieces.map((each) => typeof each === "string" ? each : each.text).join("")}\n`).join(
        ""
      )
    assert.isTrue(
      fc.check(fc.property(fc.array(line), (lines) => isSafe(raw, lines, undefined)), { endOnFailure: true }).failed
    )
  })

  it("writes what it does not let through", () => {
    assert.strictEqual(Text.escape("a\x1b[1mb\u202ec\td"), "a\\x1b[1mb\\u{202e}c    d")
    assert.strictEqual(Text.escape("grün ☃ 漢字"), "grün ☃ 漢字")
  })

  it("colours by tone, and only when it is told to", () => {
    const lines = [Text.line("a ", Text.span("error", "b"))]
    assert.strictEqual(Text.render(lines, Text.plain), "a b\n")
    assert.strictEqual(Text.render(lines, { colors: true }), "a \x1b[31mb\x1b[39m\n")
  })

  it("breaks wrapped lines so that they fit, and loses nothing", () => {
    const words = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "漢"), minLength: 1, maxLength: 5 }), {
      minLength: 1
    })
    const toned = fc.array(fc.tuple(words, tone), { minLength: 1, maxLength: 4 })
    fc.assert(fc.property(toned, fc.integer({ min: 16, max: 60 }), (parts, width) => {
      const pieces = parts.map(([each, of], index) => Text.span(of, `${index === 0 ? "" : " "}${each.join(" ")}`))
      const lines = Text.render([Text.wrapped(3, ...pieces)], { colors: false, width }).trimEnd().split("\n")
      assert.isTrue(lines.every((each) => Text.widthOf([each]) <= width))
      assert.isTrue(lines.slice(1).every((each) => /^ {3}\S/.test(each)))
      assert.deepStrictEqual(lines.join(" ").split(/ +/), parts.flatMap(([each]) => each))
    }))
  })

  it("colours what stays on one line once", () => {
    const lines = [Text.wrapped(0, Text.span("dim", "one two three"))]
    assert.strictEqual(
      Text.render(lines, { colors: true, width: 8 }),
      "\x1b[2mone two\x1b[22m\n\x1b[2mthree\x1b[22m\n"
    )
  })

  it("breaks wrapped lines between words and indents what follows", () => {
    const lines = [Text.wrapped(2, "one two ", Text.span("dim", "three"), " four")]
    assert.strictEqual(Text.render(lines, { colors: false, width: 10 }), "one two\n  three\n  four\n")
    assert.strictEqual(Text.render(lines, Text.plain), "one two three four\n")
    assert.strictEqual(
      Text.render([Text.wrapped(2, "unbreakable word")], { colors: false, width: 4 }),
      "unbreakable\n  word\n"
    )
  })

  it("aligns columns, and leaves out those without text", () => {
    const table = Text.table(["name", "empty", "size"], [[Text.span("name", "a"), "", "10"], ["long", "", "2"]])
    assert.strictEqual(Text.render(table, Text.plain), "  NAME  SIZE\n  a     10\n  long  2\n")
    assert.deepStrictEqual(Text.table(["name"], []), [])
  })

  it("counts", () => {
    assert.strictEqual(Text.counted(1, "map"), "1 map")
    assert.strictEqual(Text.counted(0, "entry", "entries"), "0 entries")
  })
})

describe("HexDump", () => {
  it("shows every byte at its place", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const lines = Text.render(hexDump(bytes), Text.plain).split("\n").filter((each) => each !== "")
      const shown = lines.flatMap((each) =>
        each.slice(12, 60).trim().split(/\s+/).map((hex) => Number.parseInt(hex, 16))
      )
      const offsets = lines.map((each) => Number.parseInt(each.slice(2, 10), 16))
      assert.deepStrictEqual(shown, [...bytes])
      assert.deepStrictEqual(offsets, lines.map((_, index) => index * 16))
    }))
  })

  it("looks like hexdump -C", () => {
    const bytes = new TextEncoder().encode("Hello, ring buffer!\n")
    assert.strictEqual(
      Text.render(hexDump(bytes), Text.plain),
      "  00000000  48 65 6c 6c 6f 2c 20 72  69 6e 67 20 62 75 66 66  |Hello, ring buff|\n" +
        "  00000010  65 72 21 0a                                       |er!.|\n"
    )
  })

  it("says how much it leaves out", () => {
    assert.match(Text.render(hexDump(new Uint8Array(40), 16), Text.plain), /… 24 more bytes\n$/)
    assert.strictEqual(hexBytes(Uint8Array.of(1, 0xff)), "01 ff")
    assert.strictEqual(hexBytes(new Uint8Array(20), 2), "00 00 …")
  })
})

describe("ValueText", () => {
  it("writes values as C does", () => {
    assert.strictEqual(jsonValueText({ packets: "1", bytes: 60 }), "{packets = 1, bytes = 60}")
    assert.strictEqual(jsonValueText([23, 0, 0, 0]), "{23, 0, 0, 0}")
    assert.strictEqual(jsonValueText({ a: 0, b: "0" }), "{0}")
    assert.strictEqual(jsonValueText("PROTOCOL_TCP"), "PROTOCOL_TCP")
    assert.strictEqual(jsonValueText("two words"), "\"two words\"")
    assert.strictEqual(quotedText("word"), "\"word\"")
    assert.strictEqual(jsonValueText(true), "true")
    assert.strictEqual(jsonValueText([]), "{}")
  })

  it("shortens what is long or deep", () => {
    assert.match(jsonValueText(Array.from({ length: 100 }, (_, index) => index)), /15, …}$/)
    assert.include(jsonValueText([[[[[[[[[1]]]]]]]]]), "{…}")
    assert.isBelow(jsonValueText("x y ".repeat(1000)).length, 100)
  })
})
