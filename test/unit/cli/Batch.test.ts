/** The grammar of files of commands, and what becomes of a batch that needs no kernel. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Script from "../../../src/cli/batch/Script.ts"
import { doneJson } from "../../../src/cli/json/BatchDocument.ts"
import { jsonText } from "../../../src/cli/json/Json.ts"
import { command } from "../../support/InProcess.ts"
import { repository, temporaryFolder } from "../../support/Require.ts"

const parsed = (text: string) => Result.getOrThrow(Script.parse(text, "f"))
const words = (text: string) => parsed(text).map(({ words }) => words)

const write = (text: string): string => {
  const path = Path.join(temporaryFolder(), "commands")
  Fs.writeFileSync(path, text)
  return path
}

describe("a file of commands", () => {
  it("has a command on each line that has words", () => {
    assert.deepStrictEqual(words("a b\n\n  \t\n# nothing\nc\\\n  d\\\r\n e # f\ng'h i'\"#\"\r\nj"), [
      ["a", "b"],
      ["c", "d", "e"],
      ["gh i#"],
      ["j"]
    ])
    assert.deepStrictEqual(parsed("\n\na \\\n b\nc").map(({ line }) => line), [3, 5])
    assert.deepStrictEqual(words("a '' \"\""), [["a", "", ""]])
    assert.deepStrictEqual(words("a\\b \\"), [["a\\b", "\\"]])
    assert.deepStrictEqual(words(""), [])
  })

  it("has its quotes closed", () => {
    for (const text of ["a 'b", "a \"b\n\"", "ok\n'"]) {
      const result = Script.parse(text, "f")
      assert.match(Result.isFailure(result) ? result.failure.message : "", /^f:[12]: the quote .* is not closed/)
    }
  })

  /** A word as it would be written. */
  const quoted = (word: string): string => word.split("\"").map((part) => `"${part}"`).join("'\"'")

  const anyWord = fc.string({ unit: "binary", maxLength: 12 }).map((text) => text.replaceAll("\n", ""))

  const holds = (quote: (word: string) => string): void =>
    fc.assert(
      fc.property(fc.array(fc.array(anyWord, { minLength: 1 })), (commands) => {
        const text = commands.map((words) => words.map(quote).join(" \\\n\t")).join("  # comment ' \"\n")
        assert.deepStrictEqual(words(text), commands)
      }),
      { numRuns: 200 }
    )

  it("any words between quotes come back", () => {
    holds(quoted)
  })

  it("named fault: words without quotes do not", () => {
    assert.throws(() => {
      holds((word) => word)
    })
  })

  it("any text is commands, or a complaint", () => {
    fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
      const result = Script.parse(text, "f")
      if (Result.isSuccess(result)) assert.isTrue(result.success.every(({ words }) => words.length > 0))
    }))
  })
})

describe("what a command has printed", () => {
  const output = (text: string) => jsonText(doneJson({ words: ["a"], text }), false)

  it("is its document with every digit, a list of several, null of none, and a text where it is none", () => {
    assert.strictEqual(
      output("{\"a\":18446744073709551615,\"b\":[-9223372036854775808,1.5,null]}\n"),
      "{\"command\":[\"a\"],\"output\":{\"a\":18446744073709551615,\"b\":[-9223372036854775808,1.5,null]}}\n"
    )
    assert.strictEqual(output("1\n\n[2]\n"), "{\"command\":[\"a\"],\"output\":[1,[2]]}\n")
    assert.strictEqual(output(""), "{\"command\":[\"a\"],\"output\":null}\n")
    assert.strictEqual(output("usage: x\n"), "{\"command\":[\"a\"],\"output\":\"usage: x\"}\n")
  })

  it("is the same document as it was, whatever it is", () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      const text = JSON.stringify(value)
      assert.deepStrictEqual(Reflect.get(Object(JSON.parse(output(`${text}\n`))), "output"), JSON.parse(text))
    }))
  })
})

describe("batch file", () => {
  const object = Path.join(repository, "test/fixtures/xdp_firewall.bpf.o")

  it.live("runs each, and prints what it prints", () =>
    Effect.gen(function*() {
      const path = write(`inspect ${object}\nelf offset ${process.execPath} main # comment\n`)
      const { status, stderr, stdout } = yield* command("batch", "file", path)
      assert.strictEqual(status, 0, stderr)
      assert.strictEqual(stderr, "2 commands done")
      assert.include(stdout, "xdp_firewall")
    }))

  it.live("with --json is one document, in which each is as it is alone", () =>
    Effect.gen(function*() {
      const alone = yield* command("inspect", object, "--json")
      const { status, stdout } = yield* command("batch", "file", write(`inspect ${object}\ninspect --help`), "--json")
      assert.strictEqual(status, 0)
      const document: unknown = JSON.parse(stdout)
      assert.isTrue(Array.isArray(document))
      const [first, second]: ReadonlyArray<unknown> = Array.isArray(document) ? document : []
      assert.deepStrictEqual(first, { command: ["inspect", object], output: JSON.parse(alone.stdout) })
      // Help is no document.
      assert.isString(Reflect.get(Object(second), "output"))
    }))

  it.live("ends with the first that fails, with its status", () =>
    Effect.gen(function*() {
      const path = write(`inspect ${object}.missing\ninspect ${object}\n`)
      const { status, stderr, stdout } = yield* command("batch", "file", path)
      assert.deepStrictEqual({ status, stdout }, { status: 1, stdout: "" })
      assert.match(stderr, /commands:1: inspect .* has failed; 1 command behind it was not run$/)
      const json = yield* command("batch", "file", path, "--json")
      assert.strictEqual(json.status, 1)
      const document: ReadonlyArray<unknown> = JSON.parse(json.stdout)
      assert.lengthOf(document, 1)
      assert.containsAllKeys(Reflect.get(Object(document[0]), "output"), ["error", "type", "hints"])
      const wrong = yield* command("batch", "file", write("inspect --no-such-flag"), "--json")
      assert.strictEqual(wrong.status, 2)
      assert.deepStrictEqual(JSON.parse(wrong.stdout), [{ command: ["inspect", "--no-such-flag"], output: null }])
    }))

  it.live("is refused in a batch, and without a file", () =>
    Effect.gen(function*() {
      const path = write("")
      const nested = yield* command("batch", "file", write(`batch file ${path}`))
      assert.strictEqual(nested.status, 2)
      assert.include(nested.stderr, "a batch runs no other batches")
      assert.deepStrictEqual(yield* command("batch", "file", path, "--json"), { status: 0, stdout: "[]", stderr: "" })
      assert.strictEqual((yield* command("batch", "file", `${path}.missing`)).status, 1)
      const quote = yield* command("batch", "file", write("inspect x\ninspect 'y"))
      assert.strictEqual(quote.status, 2)
      assert.match(quote.stderr, /commands:2: the quote ' is not closed in its line\nhint: nothing has been run/)
    }))
})
