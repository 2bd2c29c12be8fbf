/** Dumps beside bpftool's and libbpf's, of the running kernel, of compiled objects and of generated BTF; and clang. */
import { assert, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDump from "../../src/btf/BtfDump.ts"
import * as A from "../support/arbitrary/Btf.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { assertionsOf, compileErrors, dumpNamed } from "../support/DumpedC.ts"
import { allFixtures, describeWith, fixture, newBpftool, repository, run, runs } from "../support/Require.ts"
import {
  bodyOf,
  kfuncsOf,
  withoutModes,
  withSignFault,
  withTagFault,
  withoutFastcall,
  withoutHalves
} from "../support/BpftoolDump.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

const parse = (bytes: Uint8Array, base?: Btf.Btf): Btf.Btf => B.expectSuccess(Btf.parse(bytes, { base }))

const bpftool = (tool: string, ...args: ReadonlyArray<string>): string => {
  const done = run(tool, args)
  assert.strictEqual(done.status, 0, done.stderr)
  return done.stdout
}

const text = (parts: Iterable<BtfDump.Part>): string => {
  const dumped = BtfDump.collect(parts)
  assert.deepStrictEqual(dumped.problems.map(String), [])
  return dumped.text
}

/** Equal texts; only the first lines that differ are shown, since these are of megabytes. */
const assertSame = (actual: string, expected: string, what: string): void => {
  if (actual === expected) return
  const ours = actual.split("\n")
  const theirs = expected.split("\n")
  const line = ours.findIndex((each, index) => each !== theirs[index])
  assert.fail(
    `${what}: line ${line + 1} differs\nours:   ${ours.slice(line, line + 4).join("\n        ")}\ntheirs: ${
      theirs.slice(line, line + 4).join("\n        ")
    }`
  )
}

describeWith({ kind: "oracle", tools: ["bpftool"], files: [vmlinux] }, "dumps of the running kernel", () => {
  const btf = parse(new Uint8Array(Fs.readFileSync(vmlinux)))

  it("as text are bpftool's", () => {
    assertSame(text(BtfDump.toRaw(btf)), bpftool("bpftool", "btf", "dump", "file", vmlinux), "raw")
  })

  it("as JSON are bpftool's, but for the sign of large values", () => {
    const theirs = bpftool("bpftool", "--json", "btf", "dump", "file", vmlinux)
    const ours = text(BtfDump.toJson(btf)).trimEnd()
    assertSame(
      withSignFault(ours).replaceAll("},{\"id\"", "},\n{\"id\""),
      theirs.trimEnd().replaceAll("},{\"id\"", "},\n{\"id\""),
      "JSON"
    )
    assert.isTrue(withSignFault(ours) !== ours)
  })

  it("in C in order of ids are bpftool 7.1's, but for modes of enums", () => {
    const theirs = bpftool("bpftool", "btf", "dump", "file", vmlinux, "format", "c")
    const ours = text(BtfDump.toC(btf, { sorted: false, header: false }))
    assertSame(withoutModes(ours), withoutModes(bodyOf(theirs)), "C")
    // The comparison would see a single line that is missing.
    assert.throws(() => assertSame(withoutModes(ours).replace("\n\tREG_TYPE_RM = 0,", ""), bodyOf(theirs), "C"))
  })
})

describeWith({ kind: "oracle", files: [vmlinux, newBpftool] }, "dumps of the running kernel by a newer bpftool", () => {
  const btf = parse(new Uint8Array(Fs.readFileSync(vmlinux)))

  it("in order of ids are the same", () => {
    const theirs = bpftool(newBpftool, "btf", "dump", "file", vmlinux, "format", "c", "unsorted")
    const ours = text(BtfDump.toC(btf, { sorted: false }))
    assertSame(bodyOf(ours), bodyOf(theirs), "C")
    assertSame(withoutFastcall(withTagFault(kfuncsOf(ours))), kfuncsOf(theirs), "kfuncs")
  })

  it("sorted are the same, but for the first type, which bpftool loses", () => {
    const theirs = bodyOf(bpftool(newBpftool, "btf", "dump", "file", vmlinux, "format", "c"))
    const ours = bodyOf(text(BtfDump.toC(btf)))
    assert.match(ours, /^enum \{\n/)
    assertSame(ours.slice(ours.indexOf(";\n\n") + 3), theirs, "C")
  })
})

/** Both bpftools, as far as they are there. */
const tools = ["bpftool", ...(Fs.existsSync(newBpftool) ? [newBpftool] : [])]

describeWith({ kind: "oracle", tools: ["bpftool"] }, "dumps of compiled objects", () => {
  it("are bpftool's", () => {
    for (const name of allFixtures()) {
      const btf = parse(B.elfSection(fixture(name), ".BTF"))
      const path = Path.join(repository, "test/fixtures", name)
      for (const tool of tools) {
        assertSame(text(BtfDump.toRaw(btf)), bpftool(tool, "btf", "dump", "file", path), `${name}, ${tool}, raw`)
        const theirs = bpftool(
          tool,
          "btf",
          "dump",
          "file",
          path,
          "format",
          "c",
          ...(tool === newBpftool ? ["unsorted"] : [])
        )
        const ours = text(BtfDump.toC(btf, { sorted: false, header: false }))
        const same = tool === newBpftool ? (each: string) => each : withoutModes
        assertSame(same(ours), same(bodyOf(theirs)), `${name}, ${tool}, C`)
      }
    }
  })
})

describeWith({ kind: "oracle", ...Libbpf.needs("1.5") }, "dumps of generated BTF", () => {
  /** What libbpf makes of blobs, each with the text and whether there was an error. */
  const peer = (blobs: ReadonlyArray<Uint8Array>) =>
    BtfPeer.batch("1.5", blobs.map((bytes) => ["dumpc", BtfPeer.inline(bytes)]), { seconds: 10 })

  /** Without what libbpf 1.5 does not know: layout areas, and type tags that are whole attributes. */
  const older = ({ options, types }: A.Blob): Uint8Array =>
    B.blob(types.map((type) => type.kind === Btf.BTF_KIND_TYPE_TAG ? { ...type, kflag: false } : type), {
      order: options.order ?? "little"
    })

  it("as a compiler would make it are libbpf's", () => {
    const blobs = fc.sample(A.wellFormed(), runs(300)).map(older)
    for (const [index, answer] of peer(blobs).entries()) {
      const ours = text(BtfDump.toC(parse(blobs[index] ?? new Uint8Array()), { sorted: false, header: false }))
      assertSame(withoutHalves(ours), answer.text ?? "", `blob ${index}`)
    }
  })

  it("of any shape are libbpf's where both find nothing wrong", () => {
    const blobs = fc.sample(A.nearlyWellFormed(12), runs(1500)).map(older)
    const fine = blobs.map((bytes) => ({
      bytes,
      dumped: BtfDump.collect(BtfDump.toC(parse(bytes), { sorted: false, header: false, limit: 100_000 }))
    })).filter(({ dumped }) => dumped.problems.length === 0)
    assert.isAbove(fine.length, 50)
    for (const [index, answer] of peer(fine.map(({ bytes }) => bytes)).entries()) {
      if (answer.error !== undefined) continue
      assertSame(withoutHalves(fine[index]?.dumped.text ?? ""), answer.text ?? "", `blob ${index}`)
    }
  })

  it("as declarations are libbpf's", () => {
    const blobs = fc.sample(A.wellFormed({ maxLength: 6 }), runs(20)).map(older)
    const options: ReadonlyArray<readonly [BtfDump.DeclarationOptions, ReadonlyArray<string>]> = [
      [{}, ["name="]],
      [{ name: "x" }, ["name=x"]],
      [{ name: "y", level: 2, stripModifiers: true }, ["name=y", "indent_level=2", "strip_mods"]]
    ]
    const asked = blobs.flatMap((bytes) => {
      const btf = parse(bytes)
      return Array.from({ length: btf.endId - 1 }, (_, index) => index + 1).flatMap((id) =>
        options.map(([option, args]) => ({
          btf,
          id,
          option,
          command: ["decl", BtfPeer.inline(bytes), String(id), ...args]
        }))
      )
    })
    const answers = BtfPeer.batch("1.5", asked.map(({ command }) => command))
    for (const [index, { btf, id, option }] of asked.entries()) {
      const { name = "", ...rest } = option
      const ours = BtfDump.typeDeclaration(btf, id, name, rest)
      // libbpf writes nothing for what cannot be declared.
      const expected = answers[index]?.text ?? ""
      if (ours._tag === "Failure") assert.strictEqual(ours.failure.reason, "WrongKind")
      else assert.strictEqual(withoutHalves(ours.success), expected, `type ${id}`)
    }
  })
})

describeWith({ kind: "oracle", tools: ["clang"], files: [vmlinux] }, "the header of the running kernel", () => {
  it("compiles, with the sizes and offsets that the BTF gives", () => {
    const btf = parse(new Uint8Array(Fs.readFileSync(vmlinux)))
    const header = text(BtfDump.toC(btf, { sorted: false }))
    const { names } = dumpNamed(btf)
    // A part of them; the full run takes all.
    const some = [...names].filter((_, index) => index % 4 === 0)
    assert.isAbove(some.length, 2000)
    const assertions = some.flatMap(([id, name]) => assertionsOf(btf, id, name))
    assert.deepStrictEqual(compileErrors([`${header}\n${assertions.join("\n")}\n`]), [])
  })
})

describeWith({ kind: "oracle", tools: ["clang"] }, "headers of generated BTF", () => {
  it("compile, with the sizes and offsets that the BTF gives", () => {
    const sources = (count: number, shift: number) =>
      fc.sample(A.wellFormed(), { numRuns: count, seed: 7 }).map(({ bytes }) => {
        const btf = parse(bytes)
        const { names, text } = dumpNamed(btf)
        // Alignments of more than 8 bytes are lost in BTF, and the target lacks half precision.
        if (/_Float16|__int128|long double/.test(text)) return ""
        return `${text}${[...names].flatMap(([id, name]) => assertionsOf(btf, id, name, shift)).join("\n")}\n`
      })
    assert.deepStrictEqual(compileErrors(sources(runs(30), 0)), [])
    assert.isAbove(compileErrors(sources(3, 1)).length, 0)
  })
})
