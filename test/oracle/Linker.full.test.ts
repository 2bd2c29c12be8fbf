/**
 * The kernel's own tests of its linker (Linux 6.1), and all other groups of the corpus that make a whole: linked by us and by
 * bpftool 7.1 and 7.5, loaded by libbpf 1.1 and 1.5; and every object of the corpus linked alone.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Linker from "../../src/linker/Linker.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Libbpf from "../support/Libbpf.ts"
import {
  bpftoolRefusal,
  bpftools,
  linkBoth,
  loadDifferences,
  meanings,
  readelfComplaints
} from "../support/LinkBeside.ts"
import { meaningOf, open, typeDifferences } from "../support/LinkMeaning.ts"
import { loadOurs } from "../support/LoadOurs.ts"
import * as Peer from "../support/Peer.ts"
import { corpus, corpusFolder, describeWith, temporaryFolder } from "../support/Require.ts"

interface Group {
  readonly parts: ReadonlyArray<string>
  /** bpftool forgets to move an offset in BTF of what was extern or weak before it was defined. */
  readonly stale?: boolean
}

const groups: ReadonlyArray<Group> = [
  { parts: ["linked_funcs1", "linked_funcs2"] },
  { parts: ["linked_maps1", "linked_maps2"], stale: true },
  { parts: ["linked_vars1", "linked_vars2"], stale: true },
  { parts: ["test_static_linked1", "test_static_linked2"] },
  { parts: ["test_subskeleton_lib2", "test_subskeleton_lib", "test_subskeleton"], stale: true },
  { parts: ["test_usdt", "test_usdt_multispec"] },
  { parts: ["sample_xdp_redirect", "sample_xdp_sample"] },
  { parts: ["sample_xdp_redirect_cpu", "sample_xdp_sample"] },
  { parts: ["sample_xdp_router_ipv4", "sample_xdp_sample"] }
]

const pathOf = (name: string): string => Path.join(corpusFolder, "objects", `${name}.o`)

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

for (const version of Libbpf.versions) {
  const needs = Libbpf.needs(version)
  const files = [...(version === "1.5" ? [...needs.files, bpftools[version]] : needs.files), corpusFolder]

  describeWith(
    { kind: "live", tools: [...needs.tools, "bpftool", "llvm-readelf-19"], files },
    `groups of the corpus beside bpftool and libbpf ${version}`,
    () => {
      const withoutLoad: Array<string> = []

      for (const { parts, stale } of groups) {
        it(parts.join(), async () => {
          const linked = linkBoth(version, parts.map(pathOf), stale)
          const { ours, theirs, types } = meanings(linked)
          assert.deepStrictEqual(ours, theirs)
          assert.deepStrictEqual(types, [])
          assert.strictEqual(readelfComplaints(linked.ours), "")
          const libbpf = [linked.ours, linked.theirs].map((path) => Peer.load(path, [], version).error?.name)
          assert.strictEqual(libbpf[0], libbpf[1])
          // Places in data differ where we leave out dead definitions, and pad less; their contents were compared above.
          const places: ReadonlySet<string> = new Set(["insn", "value", "value_size"])
          const { differences, programs } = loadDifferences(version, linked)
          assert.deepStrictEqual(differences.filter(({ field }) => !places.has(field)), [])
          // What needs devices or a newer verifier loads in neither form.
          if (libbpf[0] === undefined) assert.isAbove(programs, 0)
          else withoutLoad.push(parts[0] ?? "")
          for (const path of [linked.ours, linked.theirs]) {
            const load = await loadOurs(read(path), { path })
            assert.strictEqual(load.stage === "loaded", libbpf[0] === undefined, load.error?.message)
          }
        })
      }

      it("most groups load", () => {
        assert.deepStrictEqual(withoutLoad.filter((name) => !name.startsWith("sample_")), [])
      })
    }
  )
}

describeWith(
  { kind: "oracle", tools: ["bpftool"], files: [corpusFolder] },
  "objects of the corpus, each linked alone",
  () => {
    it("mean what they did, and what bpftool makes of them", () => {
      const counts = { same: 0, besideBpftool: 0, refused: 0 }
      const wrong: Array<string> = []
      const refused = new Map<string, string>()
      const out = Path.join(temporaryFolder(), "out.o")
      for (const path of corpus()) {
        const name = Path.basename(path)
        const bytes = read(path)
        const before = Open.fromBytes(bytes, { path: "object.o", relaxedMaps: true })
        if (Result.isFailure(before)) continue
        const linked = Linker.link([{ name, bytes }], { relocatable: true })
        const refusal = bpftoolRefusal("system", out, [path])
        if (Result.isFailure(linked)) {
          counts.refused++
          // What bpftool links we must, too.
          if (refusal === "") wrong.push(`${name}: ${linked.failure.message}`)
          refused.set(linked.failure.reason, `${name}: ${linked.failure.detail}`)
          continue
        }
        try {
          const after = open(linked.success.bytes)
          assert.deepStrictEqual(meaningOf(after), meaningOf(before.success))
          assert.deepStrictEqual(typeDifferences(before.success, after), [])
          counts.same++
          if (refusal !== "") continue
          assert.deepStrictEqual(meaningOf(after), meaningOf(open(read(out))))
          counts.besideBpftool++
        } catch (error) {
          wrong.push(`${name}: ${error instanceof Error ? error.message.slice(0, 300) : String(error)}`)
        }
      }
      Fs.writeSync(2, `${JSON.stringify(counts)} ${JSON.stringify(Object.fromEntries(refused))}\n`)
      assert.deepStrictEqual(wrong, [])
      assert.isAbove(counts.besideBpftool, 200)
    })
  }
)
