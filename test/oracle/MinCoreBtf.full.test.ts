/**
 * Minimal BTF of three kernels for every object of the corpus: records come to the same against it as against the whole, it
 * has all that bpftool's has, and libbpf sends the same programs with it; likewise of the kernels that the kernel's tests of
 * CO-RE are made for.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type * as Btf from "../../src/btf/Btf.ts"
import * as MinCoreBtf from "../../src/stages/gen/MinCoreBtf.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import * as MinCore from "../support/MinCore.ts"
import * as Beside from "../support/MinCoreBeside.ts"
import * as Libbpf from "../support/Libbpf.ts"
import {
  bpffs,
  corpus,
  corpusFolder,
  describeWith,
  kernel,
  kernelsFolder,
  newBpftool,
  temporaryFolder,
  toolPath
} from "../support/Require.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

interface Listed {
  readonly path: string
  readonly object: MinCoreBtf.MinCoreObject
}

const withRecords = (paths: ReadonlyArray<string>): ReadonlyArray<Listed> =>
  paths.flatMap((path) => {
    const object = Beside.readObject(path)
    return object === undefined ? [] : [{ path, object }]
  })

/** Each test of CO-RE with each kernel that was made for it. */
const pairs = (): ReadonlyArray<{ readonly made: string; readonly path: string }> => {
  const all = corpus()
  return all.filter((path) => Path.basename(path).startsWith("btf__core_reloc")).flatMap((made) => {
    const test = Path.basename(made).replace(/^btf__/, "test_").replace(/___.*|__err.*|\.o$/, "")
    return all.filter((path) => Path.basename(path).startsWith(test)).map((path) => ({ made, path }))
  })
}

/** The records of an object against the whole and against the minimal BTF, each section as one program. */
const lawOf = (
  { btf, ext, name }: MinCoreBtf.MinCoreObject,
  target: Core.CoreTarget,
  minimal: MinCoreBtf.MinCoreBtf
): ReadonlyArray<string> => {
  const { recordSize = 16, sections = [] } = ext?.coreRelocations ?? {}
  return sections.flatMap(({ records, section }) => {
    // Instructions of any form: what they hold is said to be wrong, with all that was found out.
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength)
    let end = 0
    for (let at = 0; at < records.length; at += recordSize) end = Math.max(end, view.getUint32(at, true) + 16)
    const program = { insns: new Uint8Array(end).fill(0xb7), records: { recordSize, records }, local: btf }
    return MinCore.differences(program, target, minimal).map((line) => `${name} ${section}: ${line}`)
  })
}

const report = (name: string, totals: object): void => {
  Fs.writeSync(2, `\n${name}: ${JSON.stringify(totals)}\n`)
}

const made = (target: Core.CoreTarget, object: MinCoreBtf.MinCoreObject): MinCoreBtf.MinCoreBtf =>
  Result.getOrThrow(MinCoreBtf.make(target, [object]))

const kernels = (): Readonly<Record<string, string>> => ({
  running: vmlinux,
  "6.1": kernel("6.1").btf,
  "6.12": kernel("6.12").btf
})

describeWith(
  { kind: "oracle", tools: ["bpftool"], files: [corpusFolder, kernelsFolder, newBpftool, vmlinux] },
  "minimal BTF of the corpus",
  () => {
    for (const [name, path] of Object.entries(kernels())) {
      it(`of the ${name} kernel: the law, and all that bpftool's has`, () => {
        const target = Core.target(Beside.readBtf(path))
        const output = Path.join(temporaryFolder(), "min.btf")
        const bpftools = { types: 0, bytes: 0, refused: 0 }
        const totals = { objects: 0, programs: 0, records: 0, types: 0, bytes: 0, bpftool: bpftools }
        const lines: Array<string> = []
        const count = (minimal: MinCoreBtf.MinCoreBtf, theirs: Btf.Btf | string): void => {
          totals.objects++
          totals.records += minimal.objects[0]?.records ?? 0
          totals.types += minimal.btf.offsets.length
          totals.bytes += minimal.btf.bytes.length
          if (typeof theirs === "string") totals.bpftool.refused++
          else {
            totals.bpftool.types += theirs.offsets.length
            totals.bpftool.bytes += theirs.bytes.length
          }
        }
        for (const { object, path: file } of withRecords(corpus())) {
          const minimal = made(target, object)
          lines.push(...lawOf(object, target, minimal))
          const relocated = Beside.relocatedDifferently(file, target, Core.target(minimal.btf))
          lines.push(...relocated.lines.map((line) => `${object.name} ${line}`))
          totals.programs += relocated.programs
          for (const bpftool of [toolPath("bpftool") ?? "bpftool", newBpftool]) {
            const theirs = Beside.bpftoolMakes(bpftool, path, [file], output)
            if (typeof theirs !== "string") {
              lines.push(...Beside.lacking(minimal.btf, theirs).map((type) => `${object.name} lacks ${type}`))
            }
            if (bpftool === newBpftool) count(minimal, theirs)
          }
        }
        report(`minimal BTF of the ${name} kernel`, totals)
        assert.deepStrictEqual(lines, [])
        assert.isAbove(totals.records, 1000)
      })
    }

    it("of the kernels that tests are made for", () => {
      const output = Path.join(temporaryFolder(), "min.btf")
      const lines: Array<string> = []
      let count = 0
      for (const pair of pairs()) {
        const object = Beside.readObject(pair.path)
        if (object === undefined) continue
        const target = Core.target(Beside.readBtf(pair.made))
        const minimal = made(target, object)
        const name = `${object.name} for ${Path.basename(pair.made)}`
        const theirs = Beside.bpftoolMakes(newBpftool, pair.made, [pair.path], output)
        const lacking = typeof theirs === "string" ? [] : Beside.lacking(minimal.btf, theirs)
        const relocated = Beside.relocatedDifferently(pair.path, target, Core.target(minimal.btf)).lines
        lines.push(...[...lawOf(object, target, minimal), ...lacking, ...relocated].map((line) => `${name}: ${line}`))
        count++
      }
      assert.deepStrictEqual(lines, [])
      assert.isAbove(count, 60)
    })
  }
)

describeWith(
  { kind: "live", ...Libbpf.needs("system"), files: [corpusFolder, vmlinux] },
  "minimal BTF of the corpus in libbpf's hands",
  () => {
    it("makes of each object what the whole makes of it", () => {
      const target = Core.target(Beside.readBtf(vmlinux))
      const minimal = Path.join(temporaryFolder(), "min.btf")
      const pins = Path.join(bpffs(), "pins")
      const lines: Array<string> = []
      let programs = 0
      for (const { object, path } of withRecords(corpus())) {
        Fs.writeFileSync(minimal, made(target, object).btf.bytes)
        const sent = Beside.sentDifferently(path, vmlinux, minimal, target, ["--pin-root", pins])
        Fs.rmSync(pins, { recursive: true, force: true })
        lines.push(...sent.lines.map((line) => `${object.name} ${line}`))
        programs += sent.programs
      }
      report("programs that libbpf sends with minimal BTF", { programs })
      assert.deepStrictEqual(lines, [])
      assert.isAbove(programs, 150)
    })

    it("makes of tests what the kernels that they are made for make of them", () => {
      const minimal = Path.join(temporaryFolder(), "min.btf")
      const lines: Array<string> = []
      let programs = 0
      for (const pair of pairs()) {
        const object = Beside.readObject(pair.path)
        if (object === undefined) continue
        const target = Core.target(Beside.readBtf(pair.made))
        Fs.writeFileSync(minimal, made(target, object).btf.bytes)
        const sent = Beside.sentDifferently(pair.path, pair.made, minimal, target)
        lines.push(...sent.lines.map((line) => `${object.name} for ${Path.basename(pair.made)}: ${line}`))
        programs += sent.programs
      }
      report("programs of the kernel's tests of CO-RE that libbpf sends with minimal BTF", { programs })
      assert.deepStrictEqual(lines, [])
      assert.isAbove(programs, 60)
    })
  }
)
