/**
 * CO-RE on three real kernels, the running one and Debian's 6.1 and 6.12 for the cloud, and on what was made of them: every
 * fixture is relocated as both libbpfs do it, the places that are found are those of clang's `offsetof` in the header
 * that bpftool makes of a kernel, and every variant answers as it was written down in advance.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Core from "../../src/stages/relocate/core/Core.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { coreBeside, compareObject, relocateObject } from "../support/CoreBeside.ts"
import { objects, type QuestionName } from "../support/CoreObjects.ts"
import * as Table from "../support/KernelTable.ts"
import * as Variants from "../support/KernelVariants.ts"
import * as Peer from "../support/Peer.ts"
import {
  allFixtures,
  describeWith,
  fixture,
  kernel,
  kernelsFolder,
  repository,
  run,
  temporaryFolder
} from "../support/Require.ts"

const running = "/sys/kernel/btf/vmlinux"

const read = (path: string): Btf.Btf => Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(path))))

/** The fixtures that have records. */
const fixtures = (): ReadonlyArray<string> =>
  allFixtures().filter((name) => {
    if (!name.endsWith(".bpf.o")) return false
    const opened = Open.fromBytes(fixture(name), { path: name })
    return Result.isSuccess(opened) && opened.success.btfExt?.coreRelocations !== undefined
  })

/** A kernel of the test, which is only looked for when its group runs. */
interface Real {
  readonly name: string
  readonly files: ReadonlyArray<string>
  readonly path: () => string
}

const kernels: ReadonlyArray<Real> = [
  { name: "the running kernel", files: [running], path: () => running },
  { name: "Linux 6.1", files: [kernelsFolder], path: () => kernel("6.1").btf },
  { name: "Linux 6.12", files: [kernelsFolder], path: () => kernel("6.12").btf }
]

for (const { files, name, path } of kernels) {
  describeWith({ kind: "oracle", files }, `CO-RE on ${name}`, () => {
    const types = read(path())
    const rows = Table.rowsOf(Core.target(types))
    const before = Table.answers(rows)

    it("the objects fare as they do on any kernel", () => {
      const plain = { name: "plain", change: () => {}, outcomes: {}, cells: {} }
      assert.deepStrictEqual(Table.unexpected(plain, types, before, rows), [])
    })

    for (const variant of Variants.variants) {
      it(variant.name, () => assert.deepStrictEqual(Table.check(variant, types, before), []))
    }
  })

  describeWith(
    { kind: "oracle", tools: ["bpftool", "clang"], files },
    `CO-RE on ${name}, beside clang with bpftool's header`,
    () => {
      it("finds members where they are", () => {
        const expected = offsets(path())
        const before = Table.answers(Table.rowsOf(Core.target(read(path()))))
        const found = Object.fromEntries(
          Object.keys(expected).map((question) => [
            question,
            Number.parseInt(before.get(question as QuestionName) ?? "", 10)
          ])
        )
        assert.deepStrictEqual(found, expected)
      })
    }
  )

  for (const version of Libbpf.versions) {
    const needs = Libbpf.needs(version)
    describeWith(
      { kind: "live", tools: needs.tools, files: [...needs.files, ...files] },
      `CO-RE on ${name}, beside libbpf ${version}`,
      () => {
        it("every fixture", () => {
          const target = Core.target(read(path()))
          let records = 0
          for (const name of fixtures()) {
            const done = coreBeside(Path.join(repository, "test/fixtures", name), target, ["--btf", path()], version)
            assert.deepStrictEqual(done.differences, [], name)
            assert.strictEqual(done.refused, 0, name)
            records += done.records
          }
          assert.isAtLeast(records, 28)
        })
      }
    )
  }
}

/** What clang makes of bpftool's header of a kernel, by the questions that ask for it. */
const offsets = (path: string): Readonly<Record<string, number>> => {
  const folder = temporaryFolder()
  const header = run("bpftool", ["btf", "dump", "file", path, "format", "c"])
  assert.strictEqual(header.status, 0, header.stderr)
  Fs.writeFileSync(Path.join(folder, "vmlinux.h"), header.stdout)
  const expressions: Readonly<Record<string, string>> = {
    pidLoad: "__builtin_offsetof(struct task_struct, pid)",
    pidSize: "sizeof(((struct task_struct *)0)->pid)",
    flagsLoad: "__builtin_offsetof(struct task_struct, flags)",
    tgidOffset: "__builtin_offsetof(struct task_struct, tgid)",
    commLoad: "__builtin_offsetof(struct task_struct, comm[8])",
    commSize: "sizeof(((struct task_struct *)0)->comm)",
    newStateLoad: "__builtin_offsetof(struct task_struct, __state)",
    taskSize: "sizeof(struct task_struct)",
    tgidValue: "PIDTYPE_TGID",
    lenLoad: "__builtin_offsetof(struct sk_buff, len)",
    markLoad: "__builtin_offsetof(struct sk_buff, mark)"
  }
  const source = [
    `#include "vmlinux.h"`,
    ...Object.entries(expressions).map(([name, expression]) => `const volatile long ${name} = ${expression};`)
  ].join("\n")
  Fs.writeFileSync(Path.join(folder, "offsets.c"), source)
  const assembly = run("clang", ["-target", "bpf", "-O2", "-S", "-o", "-", "offsets.c"], { cwd: folder })
  assert.strictEqual(assembly.status, 0, assembly.stderr)
  const values: Record<string, number> = {}
  for (const [, name = "", value] of assembly.stdout.matchAll(/^(\w+):\n\s+\.quad\s+(\d+)/gm)) {
    values[name] = Number(value)
  }
  assert.deepStrictEqual(Object.keys(values).sort(), Object.keys(expressions).sort())
  return values
}

describeWith({ kind: "live", ...Libbpf.needs("system") }, "variants of the small kernel, beside libbpf", () => {
  const small = Variants.smallKernel()
  const folder = temporaryFolder()
  const paths = objects.map(({ asks, bytes, name }) => {
    const path = Path.join(folder, `${name}.o`)
    Fs.writeFileSync(path, bytes)
    return { asks, name, path, object: Result.getOrThrow(Open.fromBytes(bytes, { path })) }
  })
  for (const variant of Variants.variants) {
    it(variant.name, () => {
      const { base } = Variants.make(variant, small)
      const types = Path.join(folder, "kernel.btf")
      Fs.writeFileSync(types, base.bytes)
      // What the change does not touch is as on the kernel as it is, the first variant, which every object meets.
      const touches = (name: QuestionName): boolean => variant.outcomes[name] !== undefined
      const [asItIs] = Variants.variants
      const chosen = paths.filter(({ asks }) => variant === asItIs || asks.some(touches))
      for (const { name, object, path } of chosen) {
        const done = compareObject(relocateObject(object, Core.target(base)), Peer.load(path, ["--btf", types]))
        assert.deepStrictEqual(done.differences, [], name)
        assert.strictEqual(done.programs + done.refused, 1, name)
      }
    })
  }
})

describe("the groups above", () => {
  it("have fixtures to relocate", () => assert.isAtLeast(fixtures().length, 2))
})
