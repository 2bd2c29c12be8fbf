/**
 * docs/failures.md says what is true: each first program is refused with the words that stand below it, each second one is
 * loaded.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { promisify } from "node:util"
import { type Block, blocksOf, matchesOutput } from "../support/Blocks.ts"
import { command } from "../support/InProcess.ts"
import { describeWith, repository, temporaryFolder, toolPath } from "../support/Require.ts"

const document = "docs/failures.md"
const page = Path.join(repository, document)
// Virtual machines have no documents, and no compiler: the tests are left out there.
const blocks = Fs.existsSync(page) ? blocksOf(document, Fs.readFileSync(page, "utf8")) : []

/** A failure of the page: the program, what is said of it, and the mended one. */
interface Failure {
  readonly name: string
  readonly broken: Block
  readonly said: Block
  readonly mended: Block
}

const nameOf = ({ code }: Block): string => /^\/\* (\w+)\.bpf\.c \*\/\n/.exec(code)?.[1] ?? ""

const failures: ReadonlyArray<Failure> = blocks.flatMap((said, at) => {
  const [broken, mended] = [blocks[at - 1], blocks[at + 1]]
  return said.language !== "text" || broken === undefined || mended === undefined
    ? []
    : [{ name: nameOf(broken), broken, said, mended }]
})

const compile = async (folder: string, name: string, code: string): Promise<void> => {
  Fs.mkdirSync(folder, { recursive: true })
  Fs.writeFileSync(Path.join(folder, `${name}.bpf.c`), `${code}\n`)
  const flags = [
    "-target",
    "bpf",
    "-g",
    "-O2",
    "-idirafter",
    `/usr/include/${process.arch === "x64" ? "x86_64" : "aarch64"}-linux-gnu`
  ]
  await promisify(ChildProcess.execFile)(
    toolPath("clang") ?? "clang",
    [...flags, "-fdebug-compilation-dir=.", "-c", `${name}.bpf.c`, "-o", `${name}.bpf.o`],
    { cwd: folder }
  )
}

/** What the command says of a load, without the line about the whole log; the pin is removed again. */
const loaded = (folder: string, name: string, ...flags: ReadonlyArray<string>) => {
  const pin = `/sys/fs/bpf/effect_bpf_failures_${process.pid}_${name}`
  return command("prog", "load", Path.join(folder, `${name}.bpf.o`), pin, ...flags).pipe(
    Effect.ensuring(Effect.sync(() => Fs.rmSync(pin, { force: true }))),
    Effect.map(({ status, stderr, stdout }) => ({
      status,
      stdout,
      stderr: stderr.split("\n").filter((line) => !line.startsWith("hint: the verifier said ")).join("\n")
    }))
  )
}

/** Of which kernel the words are. */
const isTheirs = Os.release().startsWith("6.18.")

/** What other kernels say in the same words: the place and the cause. */
const lasting = (text: string): ReadonlyArray<string> =>
  text.split("\n").filter((line) => /^ *(--> |\d+ \| |\| +\^|cause: )/.test(line))

describeWith({ kind: "live", tools: ["clang"], files: ["/usr/include/bpf/bpf_helpers.h", page] }, document, () => {
  it("has ten failures of programs, and one of a map, each with its mended code", () => {
    assert.strictEqual(failures.length, 11)
    assert.strictEqual(blocks.filter(({ language }) => language === "c").length, 2 * failures.length)
    for (const { broken, mended, name } of failures) {
      assert.match(name, /^\w+$/)
      assert.strictEqual(nameOf(mended), name)
      assert.notStrictEqual(mended.code, broken.code)
    }
    assert.strictEqual(new Set(failures.map(({ name }) => name)).size, failures.length)
  })

  it.live("says what the command says, and how it is mended", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const [broken, mended] = [Path.join(folder, "broken"), Path.join(folder, "mended")]
      yield* Effect.promise(() =>
        Promise.all(failures.flatMap((failure) => [
          compile(broken, failure.name, failure.broken.code),
          compile(mended, failure.name, failure.mended.code)
        ]))
      )
      for (const { name, said } of failures) {
        const refused = yield* loaded(broken, name)
        assert.strictEqual(refused.status, 1, name)
        if (isTheirs) assert.isTrue(matchesOutput(said.code, refused.stderr), `${name}:\n${refused.stderr}`)
        else assert.includeMembers([...lasting(refused.stderr)], [...lasting(said.code)], name)
        const taken = yield* loaded(mended, name)
        assert.strictEqual(taken.status, 0, `${name}: ${taken.stderr}`)
      }
      // The same as a document, and without the mending the words are another failure's.
      const [first, second] = failures
      const json = JSON.parse((yield* loaded(broken, first?.name ?? "", "--json")).stdout)
      assert.strictEqual(json.explanation.cause, "NullPointer")
      assert.strictEqual(
        json.explanation.place.text.slice(json.explanation.place.start, json.explanation.place.end),
        "+="
      )
      assert.isFalse(matchesOutput(second?.said.code ?? "", (yield* loaded(broken, first?.name ?? "")).stderr))
    }))
})
