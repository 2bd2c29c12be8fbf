import { assert, describe, it } from "@effect/vitest"
import {
  type Block,
  blocksOf,
  examplesOf,
  infoProblem,
  matchesOutput,
  scriptsNamed,
  shellScript,
  toolsOf
} from "../../support/Blocks.ts"

const fence = "```"

const document = `# Title
${fence}ts
const a = 1
${fence}
- item
  ${fence}sh live needs=jq,clang
  effect-bpf x
    indented
  ${fence}
~~~~text
${fence}
inner
~~~~
${fence}sh
echo hi
${fence}
${fence}text output
hi
${fence}
${fence}ts shown
f()
${fence}`

describe("blocksOf", () => {
  const blocks = blocksOf("D.md", document)

  it("finds every fence, with language, words, code and line", () => {
    assert.deepStrictEqual(blocks.map(({ code, language, line, words }) => [line, language, words.join(), code]), [
      [3, "ts", "", "const a = 1"],
      [7, "sh", "live,needs=jq,clang", "effect-bpf x\n  indented"],
      [11, "text", "", `${fence}\ninner`],
      [15, "sh", "", "echo hi"],
      [18, "text", "output", "hi"],
      [21, "ts", "shown", "f()"]
    ])
  })

  it("gives the line at which the code stands", () => {
    const lines = document.split("\n")
    for (const block of blocks) assert.strictEqual(lines[block.line - 1]?.trim(), block.code.split("\n")[0])
  })

  it("refuses a fence that is not closed", () => {
    assert.throws(() => blocksOf("D.md", `a\n${fence}ts\nb`), /D\.md:2/)
  })

  it("leads to the examples that run, with their output", () => {
    assert.deepStrictEqual(examplesOf(blocks).map(({ block, output }) => [block.code.split("\n")[0], output?.code]), [
      ["const a = 1", undefined],
      ["effect-bpf x", undefined],
      ["echo hi", "hi"]
    ])
    assert.deepStrictEqual(blocks.map(toolsOf), [[], ["jq", "clang"], [], [], [], []])
  })
})

describe("infoProblem", () => {
  const block = (language: string, ...words: ReadonlyArray<string>): Block => ({
    document: "D.md",
    line: 2,
    language,
    words,
    code: ""
  })

  it("lets no block go unchecked for a misspelt word", () => {
    assert.isUndefined(infoProblem(block("ts", "live", "needs=jq")))
    assert.isUndefined(infoProblem(block("")))
    assert.match(infoProblem(block("typescript")) ?? "", /D\.md:1.*typescript/)
    assert.match(infoProblem(block("ts", "Live")) ?? "", /D\.md:1.*Live/)
  })
})

describe("shellScript", () => {
  it("leaves the set-up out and the rest as it is", () => {
    const code =
      "# get it\ngit clone URL\ncd effect-bpf\nnpm ci\nnpm test -- x\neffect-bpf a \\\n  --json | head\nnpx effect-bpf b"
    assert.strictEqual(shellScript(code), "effect-bpf a --json | head\nnpx effect-bpf b")
    assert.strictEqual(shellScript("npm ci\nnpm start\n"), "")
    assert.strictEqual(
      shellScript("npm ci && npm run build && effect-bpf a && effect-bpf b"),
      "effect-bpf a && effect-bpf b"
    )
    const plain = "for i in 1 2; do\n  effect-bpf \"$i\" # comment\ndone\ncat <<E\n # kept\nE"
    assert.strictEqual(shellScript(plain), plain)
  })

  it("names the scripts that must exist", () => {
    assert.deepStrictEqual(
      scriptsNamed("npm ci && npm test\nnpm start # demo\nnpm run test:full -- x\neffect-bpf npm"),
      [
        "test",
        "start",
        "test:full"
      ]
    )
  })
})

describe("matchesOutput", () => {
  it("compares line by line, with … for anything", () => {
    assert.isTrue(matchesOutput("a b  \nc", "a b\nc\n"))
    assert.isFalse(matchesOutput("a b", "a  b"))
    assert.isFalse(matchesOutput("a", "a\nb"))
    assert.isFalse(matchesOutput("a.c", "abc"))
    assert.isTrue(matchesOutput("first\n…\nlast 1", "first\nx\ny\nlast 1"))
    assert.isFalse(matchesOutput("first\n…\nlast", "first\nx\ny"))
    assert.isTrue(matchesOutput("id … tag …", "id 12 tag ab"))
    assert.isFalse(matchesOutput("id … tag", "id 12\ntag"))
  })
})
