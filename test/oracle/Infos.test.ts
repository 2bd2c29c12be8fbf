/**
 * What the kernel says of the maps and programs of each fixture after our load is what it says after libbpf's: types,
 * sizes, names, BTF, whether they are frozen, what program arrays hold; translated length, how many instructions the
 * verifier followed, function and line records, maps in use, the target's type, and the tag, which is a digest of the
 * instructions as the kernel took them, CO-RE records applied. Of libbpf there are two: 1.5, and Debian's 1.1.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Libbpf from "../support/Libbpf.ts"
import { type InfoDifference, infoDifferences } from "../support/InfosBeside.ts"
import { loadOurs } from "../support/LoadOurs.ts"
import * as Peer from "../support/Peer.ts"
import { allFixtures, bpffs, describeWith, fixture, repository } from "../support/Require.ts"

/** What infos show beside one version of libbpf. */
interface Judge {
  readonly version: Libbpf.Version
  /** Fixtures that one of the two does not load, or of which it loads something else. Why is told in LibbpfCalls. */
  readonly notCompared: ReadonlySet<string>
  /** The infos of a fixture that differ. */
  readonly differing: Readonly<Record<string, ReadonlyArray<string>>>
}

const notCompared: ReadonlyArray<string> = [
  "legacy_maps.bpf.o",
  "legacy_maps_extended.bpf.o",
  "link_main.bpf.o",
  "map_in_map_late.bpf.o",
  "map_types_new.bpf.o",
  "section_kinds.bpf.o",
  "static_entry.bpf.o"
]

const judges: ReadonlyArray<Judge> = [
  {
    version: "system",
    notCompared: new Set([
      ...notCompared,
      "arena.bpf.o",
      "arena_anywhere.bpf.o",
      "arena_empty.bpf.o",
      "exceptions.bpf.o",
      "struct_ops_link.bpf.o"
    ]),
    differing: {
      // libbpf 1.1 does not find a kernel function behind a flavoured name, so that a branch of this program is another.
      "ksyms.bpf.o": [
        "program call_kernel: tag",
        "program call_kernel: xlated_prog_len",
        "program call_kernel: verified_insns",
        "program call_kernel: line_info"
      ]
    }
  },
  {
    version: "1.5",
    notCompared: new Set([...notCompared, "struct_ops_shapes.bpf.o"]),
    // A variable that is optional, in libbpf 1.5 only if it is the first of its section.
    differing: { "struct_ops_link.bpf.o": ["maps: names"] }
  }
]

const pathOf = (name: string): string => Path.join(repository, "test/fixtures", name)

const loadBoth = async (name: string, version: Libbpf.Version) => {
  const pinRoot = Path.join(bpffs(), "pins")
  const libbpf = Peer.load(pathOf(name), ["--pin-root", pinRoot], version)
  Fs.rmSync(pinRoot, { recursive: true, force: true })
  const ours = await loadOurs(fixture(name), { path: pathOf(name), pinRoot, concurrent: true })
  Fs.rmSync(pinRoot, { recursive: true, force: true })
  return { libbpf, ours }
}

const where = ({ at, field }: InfoDifference): string => `${at}: ${field}`

for (const { differing, notCompared, version } of judges) {
  describeWith({ kind: "live", ...Libbpf.needs(version) }, `infos after a load, beside libbpf (${version})`, () => {
    let compared = 0

    for (const name of allFixtures().filter((each) => each.endsWith(".bpf.o"))) {
      it(name, async () => {
        const { libbpf, ours } = await loadBoth(name, version)
        assert.strictEqual(
          ours.error !== undefined || libbpf.error !== undefined,
          notCompared.has(name),
          ours.error?.message
        )
        if (notCompared.has(name)) return
        compared += ours.programs.length
        const found = infoDifferences(ours, libbpf)
        if (differing[name] === undefined) assert.deepStrictEqual(found, [])
        else assert.deepStrictEqual(found.map(where), differing[name])
      })
    }

    it("they are of many programs", () => {
      assert.isAbove(compared, 60)
    })

    it("an info that differs is seen", async () => {
      const { libbpf, ours } = await loadBoth("prog_array.bpf.o", version)
      const bent = {
        ...ours,
        programs: ours.programs.map(({ kernel, name }) => ({
          name,
          kernel: { ...kernel, tag: `${kernel.tag.slice(0, -1)}_` }
        })),
        maps: ours.maps.map(({ kernel, name }) => ({
          name,
          kernel: { ...kernel, max_entries: kernel.max_entries + 1, frozen: !kernel.frozen }
        }))
      }
      assert.deepStrictEqual(infoDifferences(bent, libbpf).map(where), [
        ...ours.programs.map(({ name }) => `program ${name}: tag`),
        ...ours.maps.flatMap(({ name }) => [`map ${name}: max_entries`, `map ${name}: frozen`])
      ])
      assert.deepStrictEqual(
        infoDifferences({ ...ours, maps: ours.maps.slice(1) }, libbpf).map(where),
        ["maps: names"]
      )
    })
  })
}
