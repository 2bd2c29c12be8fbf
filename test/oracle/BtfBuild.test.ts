import { assert, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"
import * as BtfEncode from "../../src/btf/BtfEncode.ts"
import * as BtfPermute from "../../src/btf/BtfPermute.ts"
import * as Arbitrary from "../support/arbitrary/Btf.ts"
import { elfSection, expectSuccess } from "../support/arbitrary/BtfBlob.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { build, canBuild } from "../support/RebuildBtf.ts"
import { allFixtures, describeWith, fixture, run, runs, temporaryFolder } from "../support/Require.ts"

const kernelPath = "/sys/kernel/btf/vmlinux"

const kernelBtf = (): Btf.Btf => expectSuccess(Btf.parse(new Uint8Array(Fs.readFileSync(kernelPath))))

const appended = (one: Btf.Btf, other: Btf.Btf): Btf.Btf => {
  const editor = BtfEdit.edit(one)
  expectSuccess(editor.append(other))
  return expectSuccess(editor.finish())
}

/** The same types, added one by one to a new blob. */
const rebuilt = (btf: Btf.Btf): Btf.Btf => {
  const editor = BtfEdit.make({ byteOrder: btf.byteOrder })
  for (let id = 1; id < btf.endId; id++) {
    const type = Btf.typeOf(btf, id)
    assert.isTrue(canBuild(type), `a compiler made type ${id}`)
    build(editor, type, id % 2 === 0)
  }
  return expectSuccess(editor.finish())
}

const saved = (name: string, bytes: Uint8Array): string => {
  const path = Path.join(temporaryFolder(), name)
  Fs.writeFileSync(path, bytes)
  return path
}

describeWith({ kind: "oracle", files: [kernelPath] }, "the running kernel's types", () => {
  const btf = kernelBtf()

  it("come back byte for byte, also when swapped twice", () => {
    assert.isTrue(Buffer.from(btf.bytes).equals(BtfEncode.encode(btf)))
    const swapped = expectSuccess(Btf.parse(expectSuccess(BtfEncode.toByteOrder(btf, "big"))))
    assert.strictEqual(swapped.byteOrder, "big")
    for (let id = 1; id < btf.endId; id += 997) assert.deepEqual(Btf.typeOf(swapped, id), Btf.typeOf(btf, id))
    assert.isTrue(Buffer.from(btf.bytes).equals(expectSuccess(BtfEncode.toByteOrder(swapped, "little"))))
  })

  it("come back from the order of their names", () => {
    const sorted = expectSuccess(BtfPermute.sortByName(btf))
    const back = expectSuccess(BtfPermute.permute(sorted.btf, BtfPermute.inverse(sorted.map)))
    assert.isTrue(Buffer.from(btf.bytes).equals(back.btf.bytes))
  })

  it("are the first half of what they are appended to", () => {
    const swapped = expectSuccess(Btf.parse(expectSuccess(BtfEncode.toByteOrder(btf, "big"))))
    const twice = appended(btf, swapped)
    assert.strictEqual(twice.endId, 2 * btf.endId - 1)
    const types = (btf: Btf.Btf, length: number): Buffer =>
      Buffer.from(btf.bytes.subarray(btf.typesOffset, btf.typesOffset + length))
    assert.isTrue(types(twice, btf.typesLength).equals(types(btf, btf.typesLength)))
    assert.strictEqual(twice.stringsLength, btf.stringsLength)
  })
})

for (const version of Libbpf.versions) {
  describeWith({ kind: "oracle", ...Libbpf.needs(version) }, `append beside libbpf, ${version}`, () => {
    it("of generated types gives the same bytes", () => {
      const sample = fc.sample(
        fc.tuple(Arbitrary.programs(), Arbitrary.programs(), Arbitrary.order, fc.boolean()),
        runs(150)
      )
      const pairs = sample.map(([one, other, order, swapped]) => {
        const opposite = order === "little" ? "big" : "little"
        const blobs = [
          Arbitrary.writeProgram(one, { order }),
          Arbitrary.writeProgram(other, { order: swapped ? opposite : order })
        ] as const
        return blobs
      })
      const answers = BtfPeer.batch(
        version,
        pairs.map(([one, other]) => ["append", BtfPeer.inline(one.bytes), BtfPeer.inline(other.bytes), "-"])
      )
      for (const [index, [one, other]] of pairs.entries()) {
        const ours = appended(expectSuccess(Btf.parse(one.bytes)), expectSuccess(Btf.parse(other.bytes)))
        const theirs = BtfPeer.resultOf(answers[index] ?? {})
        assert.strictEqual(Buffer.from(ours.bytes).toString("hex"), Buffer.from(theirs).toString("hex"))
      }
    })
  })

  describeWith(
    { kind: "oracle", ...Libbpf.needs(version), files: [...Libbpf.needs(version).files, kernelPath] },
    `the kernel's types beside libbpf, ${version}`,
    () => {
      it("appended to themselves have the same bytes", { timeout: 60_000 }, () => {
        const folder = temporaryFolder()
        const path = Path.join(folder, "twice")
        const answer = BtfPeer.ask(version, "append", kernelPath, kernelPath, path)
        assert.isUndefined(answer.error)
        const btf = kernelBtf()
        assert.isTrue(Buffer.from(Fs.readFileSync(path)).equals(appended(btf, btf).bytes))
      })
    }
  )
}

describeWith(
  { kind: "oracle", tools: Libbpf.needs("system").tools, files: [kernelPath] },
  "the kernel's types as libbpf sees them",
  () => {
    it("sorted by name have the same sizes and alignments, and are found", { timeout: 60_000 }, () => {
      const btf = kernelBtf()
      const sorted = expectSuccess(BtfPermute.sortByName(btf))
      const path = saved("sorted", sorted.btf.bytes)
      const before = BtfPeer.layout("system", kernelPath)
      const after = BtfPeer.layout("system", path)
      assert.strictEqual(before.length, btf.endId - 1)
      for (const [index, each] of before.entries()) {
        const id = sorted.map[index + 1] ?? 0
        assert.deepEqual(after[id - 1], { ...each, id })
      }
      const queries = before.filter(({ id }) => id % 500 === 0).map(({ id }) => ({
        name: Btf.nameOf(btf, id),
        kind: Btf.kindOf(btf, id)
      })).filter(({ name }) => name !== "")
      const found = BtfPeer.find("system", path, queries)
      assert.isAbove(queries.length, 50)
      for (const [index, { kind, name }] of queries.entries()) {
        assert.strictEqual(found[index], Btf.findOne(sorted.btf, name, kind), name)
      }
    })

    it("built one by one are the same C", { timeout: 120_000 }, () => {
      const path = saved("rebuilt", rebuilt(kernelBtf()).bytes)
      const [ours, theirs] = [BtfPeer.dumpC("system", path), BtfPeer.dumpC("system", kernelPath)]
      assert.isAbove(theirs.length, 1_000_000)
      assert.isTrue(ours === theirs)
    })
  }
)

describeWith({ kind: "oracle", tools: ["bpftool"] }, "bpftool reads", () => {
  const dump = (bytes: Uint8Array): ReadonlyArray<Readonly<Record<string, unknown>>> => {
    const done = run("bpftool", ["--json", "btf", "dump", "file", saved("blob.btf", bytes)])
    assert.strictEqual(done.status, 0, done.stdout + done.stderr)
    return JSON.parse(done.stdout.replaceAll(/"val":(-?\d+)/g, "\"val\":\"$1\"")).types
  }

  const fixtures = allFixtures().filter((name) => name.endsWith(".bpf.o"))

  it("every fixture's types, built one by one, as those of the compiler", () => {
    for (const name of fixtures) {
      const btf = expectSuccess(Btf.parse(elfSection(fixture(name), ".BTF")))
      assert.deepEqual(dump(rebuilt(btf).bytes), dump(btf.bytes), name)
    }
  })

  it("generated types, built one by one, in either byte order", () => {
    for (const { bytes } of fc.sample(Arbitrary.wellFormed(), runs(25))) {
      const btf = expectSuccess(Btf.parse(bytes))
      const again = rebuilt(btf)
      const expected = dump(again.bytes)
      assert.strictEqual(expected.length, btf.endId - 1)
      assert.deepEqual(dump(expectSuccess(BtfEncode.toByteOrder(again, "big"))), expected)
      assert.deepEqual(dump(expectSuccess(BtfEncode.toByteOrder(again, "little"))), expected)
    }
  })
})
