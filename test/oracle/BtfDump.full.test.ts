/** Dumps of many real objects beside bpftool's; all structs of kernels beside clang. */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDump from "../../src/btf/BtfDump.ts"
import { sortedIds } from "../../src/btf/dump/Sort.ts"
import { makeState } from "../../src/btf/dump/State.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { bodyOf, kfuncsOf, withoutFastcall, withoutHalves, withoutModes, withTagFault } from "../support/BpftoolDump.ts"
import { assertionsOf, compileErrors, dumpNamed } from "../support/DumpedC.ts"
import {
  corpus,
  corpusFolder,
  describeWith,
  kernel,
  kernelsFolder,
  modulesOf,
  newBpftool,
  run,
  toolPath
} from "../support/Require.ts"

const parse = (bytes: Uint8Array, base?: Btf.Btf): Btf.Btf => B.expectSuccess(Btf.parse(bytes, { base }))

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

const text = (parts: Iterable<BtfDump.Part>): string => {
  const dumped = BtfDump.collect(parts)
  assert.deepStrictEqual(dumped.problems.map(String), [])
  return dumped.text
}

/** What a tool prints; `undefined` where it fails, as an old one does on an object of a newer compiler. */
const printed = (tool: string, ...args: ReadonlyArray<string>): string | undefined => {
  const done = run(tool, args)
  return done.status === 0 ? done.stdout : undefined
}

/** The .BTF of an object; `undefined` for one that has none, or is none. */
const btfOf = (path: string): Btf.Btf | undefined => {
  const bytes = read(path)
  let section: Uint8Array
  try {
    section = B.elfSection(bytes, ".BTF")
  } catch {
    return undefined
  }
  const parsed = Btf.parse(section)
  return Result.isSuccess(parsed) ? parsed.success : undefined
}

describeWith({ kind: "oracle", tools: ["bpftool"], files: [corpusFolder] }, "dumps of the corpus", () => {
  const tools = [toolPath("bpftool") ?? "bpftool", ...(Fs.existsSync(newBpftool) ? [newBpftool] : [])]

  it("are bpftool's", () => {
    let compared = 0
    const failures: Array<string> = []
    const same = (what: string, ours: string, theirs: string | undefined) => {
      if (theirs === undefined) return
      compared++
      if (ours !== theirs) failures.push(what)
    }
    for (const path of corpus()) {
      const btf = btfOf(path)
      if (btf === undefined) continue
      const raw = text(BtfDump.toRaw(btf))
      const c = withoutHalves(withTagFault(text(BtfDump.toC(btf, { sorted: false, header: false }))))
      const ids = [...sortedIds(makeState(btf, undefined))]
      // bpftool loses the first of its list, which is `void` if all types are of the last rank.
      const sorted = [ids, ids.slice(1)].map((rootIds) =>
        withoutHalves(withTagFault(text(BtfDump.toC(btf, { rootIds, header: false }))))
      )
      for (const tool of tools) {
        const file = ["btf", "dump", "file", path]
        const newer = tool === newBpftool
        same(`${path}: raw, ${tool}`, raw, printed(tool, ...file))
        const theirs = printed(tool, ...file, "format", "c", ...(newer ? ["unsorted"] : []))
        if (theirs === undefined) continue
        const comparable = newer ? (each: string) => each : withoutModes
        same(`${path}: C, ${tool}`, comparable(c), comparable(bodyOf(theirs)))
        if (!newer) continue
        const list = printed(tool, ...file, "format", "c")
        if (list === undefined) continue
        const found = sorted.find((each) => each === bodyOf(list)) ?? ""
        same(`${path}: sorted, ${tool}`, found, bodyOf(list))
      }
    }
    assert.deepStrictEqual(failures, [])
    assert.isAbove(compared, 500)
  })
})

describeWith({ kind: "oracle", tools: ["clang"], files: [kernelsFolder] }, "headers of kernels", () => {
  it("compile, with the size and all offsets of every struct", () => {
    const paths = ["/sys/kernel/btf/vmlinux", kernel("6.1").btf, kernel("6.12").btf].filter((path) =>
      Fs.existsSync(path)
    )
    for (const path of paths) {
      const btf = parse(read(path))
      const { names, problems } = dumpNamed(btf)
      assert.deepStrictEqual(problems, [])
      assert.isAbove(names.size, 4000)
      const header = text(BtfDump.toC(btf, { sorted: false }))
      const assertions = [...names].flatMap(([id, name]) => assertionsOf(btf, id, name))
      assert.deepStrictEqual(compileErrors([`${header}\n${assertions.join("\n")}\n`]), [], path)
      assert.deepStrictEqual(compileErrors([text(BtfDump.toC(btf))]), [], path)
    }
  })
})

describeWith({ kind: "oracle", files: [kernelsFolder, newBpftool] }, "dumps of kernels and their modules", () => {
  it("are bpftool's, with the types of the kernel in the header of a module", () => {
    for (const [series, step] of [["6.1", 40], ["6.12", 80]] as const) {
      const { btf: path, ...rest } = kernel(series)
      const base = parse(read(path))
      const flags = ["format", "c", "unsorted"]
      const whole = printed(newBpftool, "btf", "dump", "file", path, ...flags) ?? assert.fail("no dump")
      const ours = text(BtfDump.toC(base, { sorted: false }))
      assert.isTrue(withTagFault(bodyOf(ours)) === bodyOf(whole), path)
      assert.strictEqual(withoutFastcall(withTagFault(kfuncsOf(ours))), kfuncsOf(whole))
      const modules = modulesOf({ btf: path, ...rest }).filter((_, index) => index % step === 0)
      for (const module of modules) {
        const split = parse(B.elfSection(read(module), ".BTF"), base)
        const raw = printed(newBpftool, "-B", path, "btf", "dump", "file", module)
        assert.isTrue(text(BtfDump.toRaw(split)) === raw, `${module}: raw`)
        const theirs = printed(newBpftool, "-B", path, "btf", "dump", "file", module, ...flags) ?? ""
        const header = withTagFault(bodyOf(text(BtfDump.toC(split, { sorted: false }))))
        assert.isTrue(header === bodyOf(theirs), `${module}: C`)
      }
    }
  })
})
