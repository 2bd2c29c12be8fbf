import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDistill from "../../src/btf/BtfDistill.ts"
import * as BtfFile from "../../src/btf/BtfFile.ts"
import * as BtfPermute from "../../src/btf/BtfPermute.ts"
import * as B from "../support/arbitrary/BtfBlob.ts"
import { elf32, elf64 } from "../support/BtfElf.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { allFixtures, describeWith, fixture, repository, run, temporaryFolder } from "../support/Require.ts"

const vmlinux = "/sys/kernel/btf/vmlinux"

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

const queryOf = (btf: Btf.Btf, id: number): { readonly name: string; readonly kind: number } => ({
  name: Btf.nameOf(btf, id),
  kind: Btf.kindOf(btf, id)
})

const answers = (btf: Btf.Btf, queries: ReadonlyArray<{ readonly name: string; readonly kind: number }>) =>
  // libbpf says -ENOENT.
  queries.map(({ kind, name }) => (kind === 0 ? Btf.findOne(btf, name) : Btf.findOne(btf, name, kind)) ?? -2)

describeWith({ kind: "oracle", tools: Libbpf.needs().tools, files: [vmlinux] }, "names of the running kernel", () => {
  const kernel = B.expectSuccess(Btf.parse(read(vmlinux)))
  const folder = temporaryFolder()

  // libbpf walks over all types for each name; the full run asks for all of them.
  it("are found where libbpf finds them, and absent ones nowhere", () => {
    const queries = [{ name: "absent of all", kind: 0 }, { name: "int", kind: Btf.BTF_KIND_STRUCT }]
    for (let id = 1; id < kernel.endId; id += 131) {
      const query = queryOf(kernel, id)
      if (query.name === "") continue
      queries.push(query, { ...query, kind: 0 }, { name: `${query.name}_`, kind: query.kind })
    }
    assert.isAbove(queries.length, 1500)
    assert.deepEqual(answers(kernel, queries), BtfPeer.find("system", vmlinux, queries))
  })

  it("are found in the order of names as libbpf finds them by walking", () => {
    const { btf: sorted } = B.expectSuccess(BtfPermute.sortByName(kernel))
    const path = Path.join(folder, "sorted.btf")
    Fs.writeFileSync(path, sorted.bytes)
    const queries = Array.from({ length: 900 }, (_, index) => queryOf(sorted, sorted.endId - 1 - index * 97))
      .filter(({ name }) => name !== "")
    assert.isAbove(queries.length, 500)
    assert.deepEqual(answers(sorted, queries), BtfPeer.find("system", path, queries))
    assert.isAtLeast(sorted.internal.cache.names?.sortedFrom ?? -1, 0)
  })
})

describeWith(
  { kind: "oracle", tools: [...Libbpf.needs().tools, "bpftool"] },
  "names of objects",
  () => {
    it("are all found where libbpf and bpftool have them", () => {
      for (const object of allFixtures().filter((name) => name.endsWith(".bpf.o"))) {
        const path = Path.join(repository, "test/fixtures", object)
        const file = BtfFile.parse(fixture(object))
        if (file._tag === "Failure") {
          assert.include(["NoBtf"], file.failure._tag === "BtfError" ? file.failure.reason : file.failure._tag)
          continue
        }
        const { btf } = file.success
        const queries = Array.from({ length: btf.endId - 1 }, (_, index) => queryOf(btf, index + 1))
          .filter(({ name }) => name !== "")
        const found = answers(btf, queries)
        assert.deepEqual(found, BtfPeer.find("system", path, queries))
        const dump = run("bpftool", ["btf", "dump", "file", path]).stdout
        for (const [index, { name }] of queries.entries()) assert.include(dump, `[${found[index]}] `, name)
      }
    })
  }
)

describeWith({ kind: "oracle", ...Libbpf.needs("1.5"), files: [vmlinux] }, "files", () => {
  const kernel = B.expectSuccess(Btf.parse(read(vmlinux)))
  const folder = temporaryFolder()

  /** What libbpf makes of the file, written again; `undefined` with the reason where it refuses. */
  const theirs = (version: Libbpf.Version, bytes: Uint8Array, base?: string): Uint8Array | string => {
    const path = Path.join(folder, "file")
    Fs.writeFileSync(path, bytes)
    const answer = BtfPeer.ask(version, "raw", path, "-", ...(base === undefined ? [] : ["--base", base]))
    return answer.error === undefined ? BtfPeer.bytesOf(answer.result) : answer.error.name ?? ""
  }

  const ours = (bytes: Uint8Array, base?: Btf.Btf): Uint8Array | string => {
    const file = BtfFile.parse(bytes, { base })
    if (file._tag === "Success") return file.success.btf.bytes.slice()
    return file.failure._tag === "BtfError" ? file.failure.reason : file.failure._tag
  }

  it("of both classes and orders hold what libbpf finds in them", () => {
    for (const write of [elf64, elf32]) {
      for (const order of ["little", "big"] as const) {
        const bytes = B.blob(B.everyKind, { order })
        const file = write([{ name: ".text", bytes: new Uint8Array(5) }, { name: ".BTF", bytes }], order)
        assert.deepEqual(ours(file), bytes)
        assert.deepEqual(theirs("1.5", file), bytes)
        assert.deepEqual(theirs("system", file), bytes)
      }
    }
  })

  it("without BTF, of none of the formats, or with data that is none are refused by both", () => {
    const blob = B.blob(B.everyKind)
    const cases: ReadonlyArray<readonly [string, Uint8Array]> = [
      ["NoBtf", elf64([{ name: ".text", bytes: blob }])],
      ["NotBtf", Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)],
      ["Truncated", blob.subarray(0, 20)],
      ["BadTypeId", B.blob([B.ptr(2)])],
      ["BadMagic", elf64([{ name: ".BTF", bytes: new Uint8Array(50) }])]
    ]
    for (const [reason, bytes] of cases) {
      assert.strictEqual(ours(bytes), reason)
      assert.isString(theirs("1.5", bytes))
    }
  })

  it("with a distilled base mean the same to libbpf, alone and over the kernel", () => {
    const task = Btf.findOne(kernel, "task_struct", Btf.BTF_KIND_STRUCT) ?? 0
    const int = Btf.findOne(kernel, "int", Btf.BTF_KIND_INT) ?? 0
    const split = B.btfOf([B.ptr(task), B.struct("mine", 16, [["task", kernel.endId, 0], ["n", int, 64]])], {
      base: kernel
    })
    const distilled = B.expectSuccess(BtfDistill.distill(split))
    const file = elf64([
      { name: ".BTF", bytes: distilled.split.bytes },
      { name: ".BTF.base", bytes: distilled.base.bytes }
    ])
    assert.deepEqual(ours(file, kernel), split.bytes)
    assert.deepEqual(theirs("1.5", file, vmlinux), split.bytes)
    assert.deepEqual(ours(file), distilled.split.bytes)
    assert.deepEqual(theirs("1.5", file), distilled.split.bytes)
  })
})
