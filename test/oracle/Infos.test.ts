/**
 * What the kernel says of the maps and programs of each fixture after our load is what it says after libbpf's: types,
 * sizes, names, BTF, translated length, function and line records, maps in use, and the tag, which is a digest of the
 * instructions as the kernel took them, CO-RE records applied.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { type InfoDifference, infoDifferences } from "../support/InfosBeside.ts"
import { loadOurs } from "../support/LoadOurs.ts"
import * as Peer from "../support/Peer.ts"
import { allFixtures, bpffs, describeWith, fixture, repository } from "../support/Require.ts"

/** Fixtures that one of the two does not load. Why is told in LibbpfCalls. */
const notCompared: ReadonlySet<string> = new Set([
  "arena.bpf.o",
  "exceptions.bpf.o",
  "legacy_maps.bpf.o",
  "legacy_maps_extended.bpf.o",
  "link_main.bpf.o",
  "map_in_map_late.bpf.o",
  "map_types_new.bpf.o",
  "section_kinds.bpf.o",
  "static_entry.bpf.o",
  "struct_ops.bpf.o",
  "struct_ops_link.bpf.o"
])

/** libbpf 1.1 does not find a kernel function behind a flavoured name, so that a branch of this program is another. */
const flavoured: ReadonlyArray<string> = [
  "program call_kernel: tag",
  "program call_kernel: xlated_prog_len",
  "program call_kernel: line_info"
]

const pathOf = (name: string): string => Path.join(repository, "test/fixtures", name)

const loadBoth = async (name: string) => {
  const pinRoot = Path.join(bpffs(), "pins")
  const libbpf = Peer.load(pathOf(name), ["--pin-root", pinRoot])
  Fs.rmSync(pinRoot, { recursive: true, force: true })
  const ours = await loadOurs(fixture(name), { path: pathOf(name), pinRoot, concurrent: true })
  Fs.rmSync(pinRoot, { recursive: true, force: true })
  return { libbpf, ours }
}

const where = ({ at, field }: InfoDifference): string => `${at}: ${field}`

describeWith({ kind: "live", tools: Peer.peerTools }, "infos after a load, beside libbpf", () => {
  for (const name of allFixtures().filter((each) => each.endsWith(".bpf.o"))) {
    it(name, async () => {
      const { libbpf, ours } = await loadBoth(name)
      assert.strictEqual(
        ours.error !== undefined || libbpf.error !== undefined,
        notCompared.has(name),
        ours.error?.message
      )
      if (notCompared.has(name)) return
      assert.isAbove(ours.programs.length, 0)
      const found = infoDifferences(ours, libbpf)
      if (name === "ksyms.bpf.o") assert.deepStrictEqual(found.map(where), flavoured)
      else assert.deepStrictEqual(found, [])
    })
  }

  it("an info that differs is seen", async () => {
    const { libbpf, ours } = await loadBoth("prog_array.bpf.o")
    const bent = {
      ...ours,
      programs: ours.programs.map(({ kernel, name }) => ({
        name,
        kernel: { ...kernel, tag: `${kernel.tag.slice(0, -1)}_` }
      })),
      maps: ours.maps.map(({ kernel, name }) => ({ name, kernel: { ...kernel, max_entries: kernel.max_entries + 1 } }))
    }
    assert.deepStrictEqual(infoDifferences(bent, libbpf).map(where), [
      ...ours.programs.map(({ name }) => `program ${name}: tag`),
      ...ours.maps.map(({ name }) => `map ${name}: max_entries`)
    ])
    assert.deepStrictEqual(
      infoDifferences({ ...ours, maps: ours.maps.slice(1) }, libbpf).map(where),
      ["maps: names"]
    )
  })
})
