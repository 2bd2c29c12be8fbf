import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as TestConsole from "effect/testing/TestConsole"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../../src/btf/Btf.ts"
import * as BtfDump from "../../../src/btf/BtfDump.ts"
import * as BtfFile from "../../../src/btf/BtfFile.ts"
import { Failed } from "../../../src/cli/Failed.ts"
import { run } from "../../../src/cli/Main.ts"
import * as B from "../../support/arbitrary/BtfBlob.ts"
import type { Rec } from "../../support/arbitrary/BtfBlob.ts"
import { check } from "../../support/Documents.ts"
import { repository, run as runProcess, temporaryFolder } from "../../support/Require.ts"

const fixture = (name: string) => Path.join(repository, "test/fixtures", name)
const firewall = fixture("xdp_firewall.bpf.o")

/** Where standard output and error lead. */
interface Streams {
  readonly stdoutIsTerminal?: boolean
  readonly stderrIsTerminal?: boolean
}

/** Runs the command in this process: its exit status, and what it prints and writes. */
const commandOn = (streams: Streams, ...args: ReadonlyArray<string>) => {
  const utf8 = new TextDecoder()
  const written = { stdout: "", stderr: "" }
  const into = (name: "stdout" | "stderr") =>
    Sink.forEach((chunk: string | Uint8Array) =>
      Effect.sync(() => {
        written[name] += typeof chunk === "string" ? chunk : utf8.decode(chunk)
      })
    )
  return Effect.gen(function*() {
    const exit = yield* Effect.exit(run("1.2.3")(["btf", ...args]))
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
    if (error !== undefined && !(error instanceof Failed)) return yield* Effect.die(error)
    return check(["btf", ...args], {
      status: error === undefined ? 0 : error.status,
      stdout: written.stdout + (yield* TestConsole.logLines).join("\n"),
      stderr: (yield* TestConsole.errorLines).join("\n"),
      progress: written.stderr
    })
  }).pipe(
    Effect.provideService(TerminalCapabilities, { canColor: false, canAnimate: true, canPrompt: false }),
    Effect.provide([
      Layer.merge(
        NodeServices.layer,
        Stdio.layerTest({
          stdout: () => into("stdout"),
          stderr: () => into("stderr"),
          stdoutIsTerminal: Effect.succeed(streams.stdoutIsTerminal ?? false),
          stderrIsTerminal: Effect.succeed(streams.stderrIsTerminal ?? false)
        })
      ),
      TestConsole.layer
    ])
  )
}

const command = (...args: ReadonlyArray<string>) => commandOn({}, ...args)

/** A file of these bytes in a folder of its own. */
const file = (name: string, bytes: Uint8Array): string => {
  const path = Path.join(temporaryFolder(), name)
  Fs.writeFileSync(path, bytes)
  return path
}

const blobFile = (name: string, types: ReadonlyArray<Rec>, options?: B.BlobOptions): string =>
  file(name, B.blob(types, options))

const read = (path: string, base?: Btf.Btf): Btf.Btf =>
  B.expectSuccess(Btf.parse(new Uint8Array(Fs.readFileSync(path)), { base }))

const kernelTypes = [B.int("int", 4, 1), B.struct("pair", 8, [["a", 1, 0], ["b", 1, 32]]), B.ptr(2)]

/** A kernel's types, and a module's over them. */
const module = () => {
  const base = B.blob(kernelTypes)
  const start = read(file("base", base)).stringsLength
  const split = B.blob([B.struct("mine", 16, [["p", 3, 0], ["pair", 2, 64]])], { stringsStart: start })
  return { base: file("kernel.btf", base), split: file("module.btf", split) }
}

describe("btf", () => {
  it.live("explains each of its commands with an example", () =>
    Effect.gen(function*() {
      for (const verb of ["dump", "dedup", "distill", "relocate", "diff"]) {
        const { status, stdout } = yield* command(verb, "--help")
        assert.strictEqual(status, 0)
        assert.match(stdout, new RegExp(`^usage: effect-bpf btf ${verb} `))
        assert.match(stdout, new RegExp(`^ {2}effect-bpf btf ${verb} `, "m"))
      }
    }))

  it.live("says what is wrong with a file, and what with the command", () =>
    Effect.gen(function*() {
      const absent = yield* command("dump", "absent")
      assert.deepInclude(absent, { status: 1, stdout: "", stderr: "error: absent: no such file" })
      const noBtf = yield* command("dump", file("x.btf", Uint8Array.of(1, 2, 3, 4)))
      assert.strictEqual(noBtf.status, 1)
      assert.match(noBtf.stderr, /x\.btf: BTF: the bytes are neither BTF nor an ELF file/)
      assert.strictEqual((yield* command("dump")).status, 2)
      assert.strictEqual((yield* command("dump", firewall, "--format", "rust")).status, 2)
      assert.strictEqual((yield* command("dedup", firewall)).status, 2)
      const document = yield* command("dump", "absent", "--json")
      assert.deepInclude(JSON.parse(document.stdout), { type: "FileReadError", reason: "NotFound" })
    }))
})

describe("btf dump", () => {
  const types = Result.getOrThrow(BtfFile.parse(new Uint8Array(Fs.readFileSync(firewall)))).btf

  it.live("prints the types as a list, as C and as JSON", () =>
    Effect.gen(function*() {
      const raw = yield* command("dump", firewall)
      assert.deepInclude(raw, { status: 0, stdout: BtfDump.collect(BtfDump.toRaw(types)).text, stderr: "" })
      const c = yield* command("dump", firewall, "--format", "c")
      assert.strictEqual(c.stdout, BtfDump.collect(BtfDump.toC(types)).text)
      const unsorted = yield* command("dump", firewall, "--format", "c", "--unsorted")
      assert.strictEqual(unsorted.stdout, BtfDump.collect(BtfDump.toC(types, { sorted: false })).text)
      const root = Btf.findOne(types, "event", Btf.BTF_KIND_STRUCT) ?? 1
      const rooted = yield* command("dump", firewall, "--format", "c", "--root-id", String(root))
      assert.strictEqual(rooted.stdout, BtfDump.collect(BtfDump.toC(types, { rootIds: [root] })).text)
      const lines = yield* command("dump", firewall, "--root-id", String(root), "--root-id", "1")
      assert.strictEqual(lines.stdout, BtfDump.collect(BtfDump.toRaw(types, { rootIds: [root, 1] })).text)
      const one = yield* command("dump", firewall, "--root-id", String(root), "--json")
      assert.deepStrictEqual(JSON.parse(one.stdout).types.map((type: { id: number }) => type.id), [root])
      const json = yield* command("dump", firewall, "--json")
      assert.strictEqual(json.stdout, BtfDump.collect(BtfDump.toJson(types)).text)
      const pretty = yield* command("dump", firewall, "--pretty")
      assert.deepStrictEqual(JSON.parse(pretty.stdout), JSON.parse(json.stdout))
      assert.strictEqual(pretty.stdout, `${JSON.stringify(JSON.parse(json.stdout), undefined, 2)}\n`)
    }))

  it.live("keeps strings and empty lists as they are in JSON with line breaks", () =>
    Effect.gen(function*() {
      const path = blobFile("odd.btf", [
        B.struct("a{\"b\\:[,", 0, []),
        B.enum64("e", 8, false, [["A", 2n ** 64n - 1n]])
      ])
      const { stdout } = yield* command("dump", path, "--pretty")
      assert.include(stdout, "18446744073709551615")
      assert.include(stdout, "\"members\": []")
      assert.deepStrictEqual(JSON.parse(stdout), JSON.parse((yield* command("dump", path, "-j")).stdout))
    }))

  it.live("prints split types over their base, and says that one is needed", () =>
    Effect.gen(function*() {
      const { base, split } = module()
      const { stdout } = yield* command("dump", split, "--base-btf", base)
      assert.match(stdout, /^\[4\] STRUCT 'mine' size=16 vlen=2\n\t'p' type_id=3 bits_offset=0\n/)
      const without = yield* command("dump", split)
      assert.strictEqual(without.status, 1)
      assert.match(without.stderr, /hint: .*base BTF/)
    }))

  it.live("refuses what does not go together", () =>
    Effect.gen(function*() {
      for (
        const args of [["--json", "--format", "c"], ["--unsorted"], ["--root-id", "99999"], [
          "--format",
          "c",
          "--root-id",
          "99999"
        ], ["--format", "c", "--root-id=-1"]]
      ) {
        const { status, stdout } = yield* command("dump", firewall, ...args)
        assert.strictEqual(status, 2, args.join(" "))
        if (!args.includes("--json")) assert.strictEqual(stdout, "")
      }
    }))

  it.live("tells what cannot be written in C, and prints the rest", () =>
    Effect.gen(function*() {
      const path = blobFile("cycle.btf", [
        B.struct("itself", 8, [["x", 1, 0]]),
        B.int("int", 4, 1),
        B.struct("fine", 4, [["y", 2, 0]])
      ])
      const { status, stderr, stdout } = yield* command("dump", path, "--format", "c")
      assert.strictEqual(status, 1)
      assert.include(stdout, "struct fine {")
      assert.match(stderr, /^error: .*cycle\.btf: BTF: type 1/)
    }))

  it.live("makes names harmless on a terminal, and leaves them alone elsewhere", () =>
    Effect.gen(function*() {
      const path = blobFile("evil.btf", [B.int("\u001b[2Jint", 4, 1)])
      assert.include((yield* command("dump", path)).stdout, "'\u001b[2Jint'")
      assert.include((yield* commandOn({ stdoutIsTerminal: true }, "dump", path)).stdout, "'\\x1b[2Jint'")
    }))

  it.live("shows what it does on a terminal of its own", () =>
    Effect.gen(function*() {
      const shown = yield* commandOn({ stderrIsTerminal: true }, "dump", firewall)
      assert.include(shown.progress, "reading ")
      assert.match(shown.progress, /dumped \d+ KiB…/)
      assert.isTrue(shown.progress.endsWith("\r\u001b[K"))
      for (const streams of [{}, { stderrIsTerminal: true, stdoutIsTerminal: true }]) {
        assert.strictEqual((yield* commandOn(streams, "dump", firewall)).progress, "")
      }
    }))

  it("ends quietly when its reader leaves", () => {
    const members = Array.from({ length: 60_000 }, (_, index): B.MemberRec => [`member_${index}`, 1, index * 32])
    const path = blobFile("large.btf", [B.int("int", 4, 1), B.struct("large", 240_000, members)])
    const script = `"${process.execPath}" src/bin.ts btf dump "${path}" | head -n 1; echo "status \${PIPESTATUS[0]}"`
    const done = runProcess("bash", ["-c", script], { cwd: repository })
    assert.strictEqual(done.stdout, "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED\nstatus 0\n")
    assert.strictEqual(done.stderr, "")
  })
})

describe("btf dedup", () => {
  it.live("makes each type one, of several files", () =>
    Effect.gen(function*() {
      const one = blobFile("one.btf", [B.int("int", 4, 1), B.fwd("s", false), B.ptr(2)])
      const two = blobFile("two.btf", [B.int("int", 4, 1), B.struct("s", 4, [["a", 1, 0]]), B.ptr(2)])
      const out = Path.join(temporaryFolder(), "both.btf")
      const { status, stdout } = yield* command("dedup", one, two, "-o", out)
      assert.strictEqual(status, 0)
      assert.match(stdout, /^6 types are 3, /)
      assert.include(stdout, "1 declaration became what it declares")
      assert.deepStrictEqual(Array.from({ length: 3 }, (_, index) => Btf.typeOf(read(out), index + 1)._tag).sort(), [
        "Int",
        "Ptr",
        "Struct"
      ])
      const document = JSON.parse((yield* command("dedup", out, "-o", out, "--json")).stdout)
      assert.deepInclude(document, { types: { before: 3, after: 3 }, forwards_resolved: 0, exhausted: false })
      assert.deepInclude(document.output, { path: out, types: 3, byte_order: "little", base_types: null })
    }))

  it.live("says which types of one name stayed apart", () =>
    Effect.gen(function*() {
      const path = blobFile("two.btf", [B.struct("s", 4, []), B.struct("s", 8, [])])
      const { stdout } = yield* command("dedup", path, "-o", Path.join(temporaryFolder(), "out"))
      assert.match(stdout, /1 type of the name and kind of another:\n {2}struct s \(\d beside \d\): of another shape/)
    }))

  it.live("reads split types over their base, and refuses files of different bases", () =>
    Effect.gen(function*() {
      const { base, split } = module()
      const out = Path.join(temporaryFolder(), "out")
      assert.strictEqual((yield* command("dedup", split, "-B", base, "-o", out)).status, 0)
      assert.strictEqual(read(out, read(base)).endId, 5)
      assert.strictEqual((yield* command("dedup", base, split, "-o", out)).status, 1)
    }))
})

describe("files that are written", () => {
  const types = [B.int("int", 4, 1)]

  it.live("are replaced as a whole, links stay links, and what is no file is written to", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const input = blobFile("in.btf", types)
      const real = Path.join(folder, "real")
      const link = Path.join(folder, "link")
      Fs.writeFileSync(real, "old", { mode: 0o640 })
      Fs.symlinkSync("real", link)
      const before = Fs.statSync(real).ino
      assert.strictEqual((yield* command("dedup", input, "-o", link)).status, 0)
      assert.isTrue(Fs.lstatSync(link).isSymbolicLink())
      assert.notStrictEqual(Fs.statSync(real).ino, before)
      assert.strictEqual(Fs.statSync(real).mode & 0o777, 0o640)
      assert.strictEqual(read(real).endId, 2)
      assert.deepStrictEqual(Fs.readdirSync(folder).sort(), ["link", "real"])
      assert.strictEqual((yield* command("dedup", input, "-o", "/dev/null")).status, 0)
      assert.isTrue(Fs.statSync("/dev/null").isCharacterDevice())
    }))

  it.live("stay as they were when something fails, and nothing is left behind", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const out = Path.join(folder, "out")
      Fs.writeFileSync(out, "old")
      assert.strictEqual((yield* command("dedup", file("bad", Uint8Array.of(1)), "-o", out)).status, 1)
      assert.strictEqual(Fs.readFileSync(out, "utf8"), "old")
      const nowhere = yield* command("dedup", blobFile("in.btf", types), "-o", Path.join(folder, "absent/out"))
      assert.strictEqual(nowhere.status, 1)
      assert.match(nowhere.stderr, /^error: .*absent\/out: cannot be written: there is no such folder$/m)
      assert.deepStrictEqual(Fs.readdirSync(folder), ["out"])
    }))
})

describe("btf distill and btf relocate", () => {
  it.live("make a module's types independent of a kernel, and move them onto another", () =>
    Effect.gen(function*() {
      const { base, split } = module()
      const folder = temporaryFolder()
      const distilled = Path.join(folder, "module.btf.o")
      const { status, stdout } = yield* command("distill", split, "--base-btf", base, "-o", distilled)
      assert.strictEqual(status, 0)
      assert.match(stdout, /\.BTF\.base: 1 type, \d+ bytes\n.* \.BTF: 2 types over 1 type of the base, \d+ bytes/)
      const other = blobFile("other.btf", [B.float("float", 4), ...kernelTypes.map((type) => shifted(type))])
      const moved = Path.join(folder, "moved.btf")
      const relocated = yield* command("relocate", distilled, "--base-btf", other, "-o", moved, "--json")
      assert.deepInclude(JSON.parse(relocated.stdout), { path: moved, types: 2, base_types: 4 })
      const mine = Btf.typeOf(read(moved, read(other)), 5)
      assert.deepInclude(mine, { _tag: "Struct", name: "mine" })
      if (mine._tag === "Struct") assert.strictEqual(mine.members[1]?.type, 3)
    }))

  it.live("also as raw files", () =>
    Effect.gen(function*() {
      const { base, split } = module()
      const raw = Path.join(temporaryFolder(), "raw")
      const document = JSON.parse((yield* command("distill", split, "-B", base, "--raw", "-o", raw, "-j")).stdout)
      assert.deepStrictEqual([document.base.path, document.split.path], [`${raw}.base`, raw])
      const out = Path.join(temporaryFolder(), "out")
      const relocated = yield* command("relocate", raw, "--distilled-base", `${raw}.base`, "-B", base, "-o", out)
      assert.strictEqual(relocated.status, 0)
      assert.include(relocated.stdout, "2 types over 3 types of the base")
    }))

  it.live("say what is missing", () =>
    Effect.gen(function*() {
      const { base, split } = module()
      const folder = temporaryFolder()
      const distilled = Path.join(folder, "o")
      yield* command("distill", split, "-B", base, "-o", distilled)
      const strange = blobFile("strange.btf", [B.int("int", 4, 1)])
      const mismatch = yield* command("relocate", distilled, "-B", strange, "-o", Path.join(folder, "out"))
      assert.strictEqual(mismatch.status, 1)
      assert.match(mismatch.stderr, /STRUCT pair of 8 bytes .* is not in the new base/)
      const inJson = yield* command("relocate", distilled, "-B", strange, "-o", Path.join(folder, "out"), "--json")
      assert.deepInclude(JSON.parse(inJson.stdout), {
        type: "BtfRelocateError",
        reason: "Mismatch",
        mismatches: [{
          reason: "Missing",
          id: 1,
          name: "pair",
          kind: "STRUCT",
          size: 8,
          embedded: true,
          candidates: [],
          candidate_count: 0
        }]
      })
      assert.isFalse(Fs.existsSync(Path.join(folder, "out")))
      assert.strictEqual((yield* command("distill", base, "-o", Path.join(folder, "out"))).status, 1)
      assert.strictEqual((yield* command("relocate", base, "-B", base, "-o", Path.join(folder, "out"))).status, 2)
    }))
})

/** A record whose references are one higher. */
const shifted = (type: Rec): Rec => {
  if (type.kind === 2) return { ...type, word: (type.word ?? 0) + 1 }
  if (type.kind !== 4) return type
  return {
    ...type,
    rest: (type.rest ?? []).map((word, at) => at % 3 === 1 && typeof word === "number" ? word + 1 : word)
  }
}

describe("btf diff", () => {
  const before = [B.int("int", 4, 1), B.struct("task", 8, [["state", 1, 0], ["flags", 1, 32]]), B.typedef("gone", 1)]
  const after = [
    B.int("int", 4, 1),
    B.struct("task", 8, [["__state", 1, 0], ["flags", 1, 32]]),
    B.enumeration("", 4, false, [["A", 1]])
  ]
  const paths = () => [blobFile("before.btf", before), blobFile("after.btf", after)] as const

  it.live("tells what changed and what breaks", () =>
    Effect.gen(function*() {
      const [one, two] = paths()
      const { status, stdout } = yield* command("diff", one, two)
      assert.strictEqual(status, 0)
      assert.deepStrictEqual(stdout.split("\n"), [
        `--- ${one}: 3 types`,
        `+++ ${two}: 3 types`,
        "1 same, 1 changed, 1 removed, 1 added",
        "- typedef gone",
        "+ enum { A, … }",
        "! struct task",
        "    ! state → __state renamed: int at 0, 4 bytes → int at 0, 4 bytes",
        "    breaks task.state: now task.__state"
      ])
    }))

  it.live("takes a filter and kinds", () =>
    Effect.gen(function*() {
      const [one, two] = paths()
      const filtered = yield* command("diff", one, two, "--filter", "g?n*")
      assert.include(filtered.stdout, "- typedef gone")
      assert.notInclude(filtered.stdout, "task")
      const kinds = yield* command("diff", one, two, "--kind", "enum", "--kind", "typedef")
      assert.include(kinds.stdout, "0 same, 0 changed, 1 removed, 1 added")
      assert.strictEqual((yield* command("diff", one, two, "--kind", "class")).status, 2)
    }))

  it.live("compares modules, each over its own kernel", () =>
    Effect.gen(function*() {
      const { base, split } = module()
      const kernel = [B.float("float", 4), ...kernelTypes.map((type) => shifted(type))]
      const otherBase = blobFile("kernel.btf", kernel)
      const other = Path.join(temporaryFolder(), "module.btf")
      const distilled = Path.join(temporaryFolder(), "module.o")
      yield* command("distill", split, "-B", base, "-o", distilled)
      yield* command("relocate", distilled, "-B", otherBase, "-o", other)
      const { status, stdout } = yield* command("diff", split, other, "-B", base, "--after-base-btf", otherBase)
      assert.strictEqual(status, 0)
      assert.match(stdout, /1 same, 0 changed, 0 removed, 0 added/)
      assert.strictEqual((yield* command("diff", split, other)).status, 1)
      const same = yield* command("diff", split, split, "-B", base)
      assert.match(same.stdout, /1 same, 0 changed/)
    }))

  it.live("has stable keys in JSON", () =>
    Effect.gen(function*() {
      const [one, two] = paths()
      const document = JSON.parse((yield* command("diff", one, two, "--json")).stdout)
      assert.deepStrictEqual(document, {
        before: one,
        after: two,
        compared: { before: 3, after: 3, same: 1 },
        removed: [{ kind: "typedef", name: "gone", id: 3 }],
        added: [{ kind: "enum", name: "(anon)", id: 3, first: "A" }],
        changed: [{
          kind: "struct",
          name: "task",
          id: 2,
          new_id: 2,
          changes: [{
            change: "member_changed",
            path: "state",
            new_path: "__state",
            what: ["renamed"],
            before: { type: "int", bits_offset: 0, bitfield_size: 0, size: 4 },
            after: { type: "int", bits_offset: 0, bitfield_size: 0, size: 4 }
          }],
          breaks: [{ path: "task.state", why: "renamed", now: "task.__state" }],
          embedded_in: [],
          embedded_in_more: false,
          incomplete: false
        }],
        ambiguous: []
      })
    }))
})
