/**
 * Linking before its judges: bpftool 7.1 and 7.5 link the same groups, libbpf 1.1 and 1.5 load both results, and
 * llvm-readelf reads ours.
 */
import { assert, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Linker from "../../src/linker/Linker.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Group from "../support/arbitrary/Link.ts"
import * as Libbpf from "../support/Libbpf.ts"
import {
  bpftoolRefusal,
  bpftools,
  linkBoth,
  linkOurs,
  loadDifferences,
  meanings,
  readelfComplaints
} from "../support/LinkBeside.ts"
import { meaning, meaningOf, open, typeDifferences } from "../support/LinkMeaning.ts"
import { loadOurs } from "../support/LoadOurs.ts"
import * as Peer from "../support/Peer.ts"
import { describeWith, linkFixtures, repository, runs, temporaryFolder } from "../support/Require.ts"

const pathOf = (name: string): string => Path.join(repository, "test/fixtures", `${name}.o`)

const read = (path: string): Uint8Array => new Uint8Array(Fs.readFileSync(path))

/** A group that bpftool links and libbpf loads. */
interface Linkable {
  readonly parts: ReadonlyArray<string>
  /** bpftool forgets to move an offset in BTF. */
  readonly stale?: boolean
  /**
   * Places in data sections differ: we leave out dead weak definitions, and align what a file adds to a section as that
   * file wants, where libbpf aligns it as any file before wanted.
   */
  readonly moved?: boolean
  /** libbpf 1.1 does not know what is in it. */
  readonly newer?: boolean
}

const groups: ReadonlyArray<Linkable> = [
  { parts: ["link/funcs_a", "link/funcs_b"] },
  { parts: ["link/funcs_b", "link/funcs_a"] },
  { parts: ["link/vars_a", "link/vars_b"], stale: true },
  { parts: ["link/vars_b", "link/vars_a"], stale: true, moved: true },
  { parts: ["link/maps_b", "link/maps_a"] },
  { parts: ["link/weak_a", "link/weak_b", "link/weak_c"], moved: true, stale: true },
  { parts: ["link/weak_c", "link/weak_b", "link/weak_a"], moved: true, stale: true },
  { parts: ["link/weak_b", "link/weak_a", "link/weak_c"], moved: true, stale: true },
  { parts: ["link/statics_a", "link/statics_b"] },
  { parts: ["link/kconfig_a", "link/kconfig_b"] },
  { parts: ["link/ksyms_a", "link/ksyms_b"] },
  { parts: ["link/core_a", "link/core_b"] },
  { parts: ["link/chain_a", "link/chain_b", "link/chain_c"] },
  { parts: ["link/arena_a", "link/arena_b"], newer: true },
  { parts: ["link_library", "link_main"], moved: true },
  {
    parts: [
      "link/statics_b",
      "link/funcs_a",
      "link/core_b",
      "link/vars_b",
      "link/kconfig_a",
      "link/funcs_b",
      "link/vars_a"
    ],
    stale: true,
    moved: true
  },
  { parts: ["xdp_firewall"] },
  { parts: ["struct_ops"] },
  { parts: ["global_data", "subprograms", "map_in_map", "prog_array", "core_reads"] }
]

const named = ({ parts }: Linkable): string => parts.map((part) => part.replace("link/", "")).join()

for (const version of Libbpf.versions) {
  const needs = Libbpf.needs(version)
  const files = version === "1.5" ? [...needs.files, bpftools[version]] : needs.files

  describeWith(
    { kind: "oracle", tools: [...needs.tools, "bpftool"], files },
    `links beside bpftool of libbpf ${version}`,
    () => {
      for (const group of groups) {
        it(`${named(group)} means the same`, () => {
          const linked = linkBoth(version, group.parts.map((part) => pathOf(`${part}.bpf`)), group.stale)
          const { ours, theirs, types } = meanings(linked)
          assert.deepStrictEqual(ours, theirs)
          assert.deepStrictEqual(types, [])
        })
      }

      it("of generated groups means the same", () => {
        const folder = temporaryFolder()
        const little = Group.groups({ min: 2, max: 4 }).map((group) =>
          Group.definedFirst({ ...group, byteOrder: "little" })
        )
        fc.assert(
          fc.property(little, (group) => {
            const inputs = Group.filesOf(group)
            const paths = inputs.map(({ bytes, name }) => {
              const path = Path.join(folder, name)
              Fs.writeFileSync(path, bytes)
              return path
            })
            const out = Path.join(folder, "out.o")
            assert.strictEqual(bpftoolRefusal(version, out, paths), "")
            const [ours, theirs] = [open(Result.getOrThrow(Linker.link(inputs)).bytes), open(read(out))]
            assert.deepStrictEqual(meaningOf(ours), meaningOf(theirs))
            assert.deepStrictEqual(typeDifferences(theirs, ours), [])
          }),
          { numRuns: runs(100) }
        )
      })
    }
  )

  describeWith(
    { kind: "live", tools: [...needs.tools, "bpftool"], files },
    `linked objects loaded by libbpf ${version}`,
    () => {
      for (const group of groups) {
        if (group.newer === true && version === "system") continue
        it(`${named(group)} loads, and is sent as bpftool's is`, async () => {
          const linked = linkBoth(version, group.parts.map((part) => pathOf(`${part}.bpf`)), group.stale)
          const { differences, error, programs } = loadDifferences(version, linked)
          assert.strictEqual(error, "")
          assert.isAbove(programs, 0)
          const places: ReadonlySet<string> = new Set(["insn", "value", "value_size"])
          assert.deepStrictEqual(
            differences.filter(({ field }) => group.moved !== true || !places.has(field)),
            []
          )
          // And bpftool's is loaded by us, as ours is.
          for (const path of [linked.theirs, linked.ours]) {
            const load = await loadOurs(read(path), { path })
            assert.strictEqual(load.stage, "loaded", load.error?.message)
          }
        })
      }

      it("what bpftool links and then does not load, or refuses", () => {
        // The offset in BTF of what was extern or weak before it was defined is not moved.
        const stale = [["link/maps_a", "link/maps_b"], ["link/weak_map_a", "link/weak_map_b"]]
        for (const parts of stale) {
          const { ours, theirs } = linkBoth(version, parts.map((part) => pathOf(`${part}.bpf`)))
          assert.match(Peer.load(theirs, [], version).error?.log ?? "", /failed to find map for section '\.maps'/)
          assert.strictEqual(Peer.load(ours, [], version).error?.log, undefined)
        }
        const refused: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
          [["link/ksyms_a", "link/ksyms_c"], /failed to resolve size of underlying type/],
          [["link/licence_a", "link/licence_b"], /non-identical contents of section 'license'/],
          // A strong extern of a weak definition makes that strong, for it.
          [["link/weak_a", "link/weak_c", "link/weak_b"], /conflicting non-weak symbol/]
        ]
        for (const [parts, why] of refused) {
          const paths = parts.map((part) => pathOf(`${part}.bpf`))
          const refusal = bpftoolRefusal(version, Path.join(temporaryFolder(), "out.o"), paths)
          if (parts[1] !== "link/weak_c") assert.match(refusal, why)
          assert.strictEqual(Peer.load(linkOurs(paths), [], version).error?.log, undefined, parts.join())
        }
      })
    }
  )
}

describeWith({ kind: "oracle", tools: ["llvm-readelf-19", "bpftool"] }, "what is linked", () => {
  const all = [
    ...groups.map(({ parts }) => parts),
    ["link/maps_a", "link/maps_b"],
    ["link/weak_map_a", "link/weak_map_b"],
    ["link/ksyms_a", "link/ksyms_c"],
    ["link/licence_a", "link/licence_b"],
    ["link/legacy_a", "link/legacy_b"]
  ]

  it("is read by llvm-readelf without a complaint", () => {
    for (const parts of all) {
      for (const order of ["bpf", "eb"]) {
        const paths = parts.map((part) => pathOf(`${part}.${order}`))
        if (!paths.every((path) => Fs.existsSync(path))) continue
        for (const options of [{}, { relocatable: true }]) {
          assert.strictEqual(readelfComplaints(linkOurs(paths, options)), "", `${parts.join()} ${order}`)
        }
      }
    }
  })

  it("is linked again by bpftool, and means the same", () => {
    for (const version of Libbpf.versions) {
      if (!Fs.existsSync(bpftools[version]) && version !== "system") continue
      for (const { parts } of groups) {
        const ours = linkOurs(parts.map((part) => pathOf(`${part}.bpf`)))
        const out = Path.join(temporaryFolder(), "linked.o")
        assert.strictEqual(bpftoolRefusal(version, out, [ours]), "", parts.join())
        assert.deepStrictEqual(meaning(read(out)), meaning(read(ours)), parts.join())
      }
    }
  })

  // No version of bpftool that Debian has links those of the other byte order.
  it("big-endian, has the programs, maps, externs and types of the little-endian link", () => {
    let compared = 0
    for (const parts of all) {
      const paths = parts.map((part) => pathOf(`${part}.eb`))
      if (!paths.every((path) => Fs.existsSync(path))) continue
      const [big, little] = [
        open(read(linkOurs(paths))),
        open(read(linkOurs(parts.map((part) => pathOf(`${part}.bpf`)))))
      ]
      assert.strictEqual(big.byteOrder, "big")
      const names = (object: Open.BpfObject) => ({
        license: object.license,
        maps: object.maps.map(({ attr, name, sectionName }) => ({ ...attr, name, sectionName })),
        programs: Open.entryPrograms(object).map(({ name, section, type }) => ({ name, section, type })),
        externs: object.externs.map(({ _tag, name, weak }) => ({ _tag, name, weak }))
      })
      assert.deepStrictEqual(names(big), names(little), parts.join())
      assert.deepStrictEqual(typeDifferences(little, big), [], parts.join())
      compared++
    }
    assert.isAbove(compared, 15)
  })

  it("has a part in every group of the fixtures, and every part in both byte orders", () => {
    const used = new Set(all.flat())
    const parts = linkFixtures().map((name) => name.replace(/\.(bpf|eb)\.o$/, ""))
    const unused = [...new Set(parts)].filter((part) => !used.has(part))
    assert.deepStrictEqual(unused, [
      "link/conflict_a",
      "link/conflict_b",
      "link/mismatch_func",
      "link/mismatch_map",
      "link/mismatch_var"
    ])
    for (const part of parts) assert.strictEqual(parts.filter((each) => each === part).length, 2, part)
  })
})
