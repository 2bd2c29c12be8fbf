/** Sizes, alignments and offsets of real types, beside libbpf's and pahole's. */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import { elfSection, expectSuccess } from "../support/arbitrary/BtfBlob.ts"
import * as BtfPeer from "../support/BtfPeer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import * as Beside from "../support/LayoutBeside.ts"
import { allFixtures, describeWith, fixture, kernel, kernelsFolder, repository, run } from "../support/Require.ts"

const running = "/sys/kernel/btf/vmlinux"

const blobOf = (path: string): Btf.Btf => expectSuccess(Btf.parse(new Uint8Array(Fs.readFileSync(path))))

const objects = allFixtures().map((name) => ({
  name,
  path: Path.join(repository, "test/fixtures", name),
  btf: () => expectSuccess(Btf.parse(elfSection(fixture(name), ".BTF"), { pointerSize: 8 }))
}))

/** What pahole prints of all structs and unions of a file. It complains about each tag of types, which it does not know. */
const pahole = (path: string): ReadonlyArray<Beside.Printed> => {
  const done = run("pahole", ["-F", "btf", path])
  assert.strictEqual(done.status, 0, done.stderr.slice(-1000))
  return Beside.readPahole(done.stdout)
}

describeWith(
  { kind: "oracle", ...Libbpf.needs("system", "1.5"), files: [...Libbpf.needs("1.5").files, running] },
  "layouts beside libbpf",
  () => {
    for (const version of Libbpf.versions) {
      it(`all types of the running kernel, libbpf ${version}`, () => {
        const btf = blobOf(running)
        const judged = BtfPeer.layout(version, running)
        assert.strictEqual(judged.length, btf.endId - 1)
        assert.deepEqual(Beside.layoutDifferences(btf, judged), [])
      })
    }

    it("all types of the fixtures, of both byte orders", () => {
      for (const { btf, name, path } of objects) {
        assert.deepEqual(Beside.layoutDifferences(btf(), BtfPeer.layout("1.5", path)), [], name)
      }
    })

    it("is a comparison that finds faults: pointers of 4 bytes, packed structs with natural alignment", () => {
      const btf = blobOf(running)
      const judged = BtfPeer.layout("1.5", running).slice(0, 20_000)
      const shortPointers: Beside.Answers = {
        ...Beside.ours,
        size: (btf, id) => Btf.kindOf(btf, id) === Btf.BTF_KIND_PTR ? 4 : Beside.ours.size(btf, id)
      }
      assert.isAtLeast(Beside.layoutDifferences(btf, judged, shortPointers).length, 1000)
      const nothingPacked: Beside.Answers = {
        ...Beside.ours,
        alignment: (btf, id) => {
          const type = Btf.typeOf(btf, id)
          if (type._tag !== "Struct" && type._tag !== "Union") return Beside.ours.alignment(btf, id)
          return Math.max(1, ...type.members.map((member) => Beside.ours.alignment(btf, member.type) ?? 1))
        }
      }
      assert.isAtLeast(Beside.layoutDifferences(btf, judged, nothingPacked).length, 10)
    })
  }
)

const matches = (path: string): void => {
  const printed = pahole(path)
  assert.isAtLeast(printed.length, 5000)
  assert.deepEqual(Beside.paholeDifferences(blobOf(path), printed), [])
}

describeWith({ kind: "oracle", tools: ["pahole"], files: [running] }, "layouts beside pahole", () => {
  it("members of all structs and unions of the running kernel", () => matches(running))

  it("members of all structs and unions of the fixtures", () => {
    let count = 0
    for (const { btf, name, path } of objects) {
      const printed = pahole(path)
      count += printed.length
      assert.deepEqual(Beside.paholeDifferences(btf(), printed), [], name)
    }
    assert.isAtLeast(count, 50)
  })

  it("is a comparison that finds a fault: members of anonymous types placed from the start of those", () => {
    const printed = pahole(running)
    assert.isAtLeast(Beside.paholeDifferences(blobOf(running), printed, () => 0).length, 500)
  })
})

describeWith({ kind: "oracle", tools: ["pahole"], files: [kernelsFolder] }, "layouts of other kernels", () => {
  it("members of all structs and unions of Linux 6.1", () => matches(kernel("6.1").btf))

  it("members of all structs and unions of Linux 6.12", () => matches(kernel("6.12").btf))
})

describe("pahole as a judge", () => {
  it("is read member by member", () => {
    const text = "struct event {\n\tu64                        time;                 /*     0     8 */\n" +
      "\tu8                         kind:3;               /*     8: 4  1 */\n\n\t/* XXX 6 bytes hole */\n\n" +
      "\t/* size: 16, cachelines: 1, members: 2 */\n};\nunion u {\n\tint  a; /*     0     4 */\n};\n"
    assert.deepEqual(
      Beside.readPahole(text).map((
        { name, places, size }
      ) => [name, size, ...places.map((p) => [p.offset, p.bit, p.size])]),
      [["event", 16, [0, undefined, 8], [8, 4, 1]], ["u", undefined, [0, undefined, 4]]]
    )
  })
})
