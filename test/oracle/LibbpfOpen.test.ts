/**
 * Opening before its judge: what libbpf has of every fixture after `bpf_object__open`, field by field.
 *
 * The ways in which they differ on purpose stand in `deliberate`; which fixture differs in which of them stands here, and
 * a difference that no longer occurs fails as one does that nobody expected.
 */
import { assert, it } from "@effect/vitest"
import * as Path from "node:path"
import type { OpenOptions } from "../../src/stages/open/Open.ts"
import {
  type DeliberateName,
  type Difference,
  differences,
  newerSections,
  whichDeliberate
} from "../support/OpenedBeside.ts"
import * as Peer from "../support/Peer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { allFixtures, describeWith, fixture, repository } from "../support/Require.ts"

/** Fixtures that differ, and how. libbpf 1.1 refuses big-endian ones, so these are listed where both refuse. */
const expected: Readonly<Record<string, ReadonlyArray<DeliberateName>>> = {
  "arena.bpf.o": ["arena"],
  "arena_anywhere.bpf.o": ["arena"],
  "legacy_maps.bpf.o": ["legacyMaps"],
  "legacy_maps_extended.bpf.o": ["legacyMaps"],
  "link_main.eb.o": [],
  "map_kinds.bpf.o": ["ringSize"],
  "map_types.bpf.o": ["ringSize"],
  "section_kinds.bpf.o": ["newerSection"],
  "static_entry.bpf.o": ["staticEntry"],
  "struct_ops.bpf.o": ["structOpsMember", "structOpsValue"],
  "struct_ops_link.bpf.o": ["structOpsLink"],
  "struct_ops_shapes.bpf.o": ["structOpsLink"],
  "usdt_wide.bpf.o": ["newerSection"]
}

const pathOf = (name: string): string => Path.join(repository, "test/fixtures", name)

const show = ({ at, field, libbpf, ours }: Difference): string => `${at}: ${field} is ${ours}, libbpf has ${libbpf}`

/** The deliberate differences among these, sorted; anything else fails with all that is unexplained. */
const explained = (found: ReadonlyArray<Difference>): ReadonlyArray<DeliberateName> => {
  const kinds = found.map(whichDeliberate)
  assert.deepStrictEqual(found.filter((_, index) => kinds[index] === undefined).map(show), [])
  return [...new Set(kinds.filter((kind) => kind !== undefined))].sort()
}

describeWith({ kind: "oracle", ...Libbpf.needs("system") }, "open, beside libbpf", () => {
  for (const name of allFixtures()) {
    it(name, () => {
      const found = differences(fixture(name), pathOf(name), Peer.open(pathOf(name)))
      assert.deepStrictEqual(explained(found), expected[name] ?? (name.endsWith(".eb.o") ? ["byteOrder"] : []))
    })
  }

  it("every section name that is called newer than libbpf is", () => {
    const name = "section_kinds.bpf.o"
    const found = differences(fixture(name), pathOf(name), Peer.open(pathOf(name)))
    const unknown = new Set(found.map(({ section }) => section))
    for (const newer of newerSections) {
      assert.isTrue([...unknown].some((section) => section === newer || section.startsWith(`${newer}/`)), newer)
    }
  })

  // libbpf 1.1 opens none of them, but the little-endian build of the same source has the same programs and maps.
  for (const name of allFixtures().filter((each) => each.endsWith(".eb.o"))) {
    it(`${name} has the programs and maps of the little-endian build`, () => {
      const little = name.replace(".eb.o", ".bpf.o")
      const libbpf = Peer.open(pathOf(little))
      const found = differences(fixture(name), pathOf(name), libbpf).filter(({ field }) =>
        // Code and images depend on the byte order.
        field !== "insns" && field !== "insn_cnt" && field !== "initial_value"
      )
      assert.deepStrictEqual(
        explained(found),
        expected[little] ?? []
      )
    })
  }

  it("options mean the same", () => {
    const beside = (name: string, args: ReadonlyArray<string>, options: OpenOptions): ReadonlyArray<Difference> =>
      differences(fixture(name), pathOf(name), Peer.open(pathOf(name), args), options)
    for (const name of ["short", "a.name with-dots", "a_name_that_is_longer_than_the_kernel_takes", ""]) {
      assert.deepStrictEqual(beside("global_data.bpf.o", ["--name", name], { name }), [], name)
    }
    assert.deepStrictEqual(
      beside("pinned_map.bpf.o", ["--pin-root", "/sys/fs/bpf/elsewhere"], { pinRoot: "/sys/fs/bpf/elsewhere" }),
      []
    )
    assert.deepStrictEqual(explained(beside("map_kinds.bpf.o", ["--relaxed"], { relaxedMaps: true })), ["ringSize"])
    assert.deepStrictEqual(
      beside("global_data.bpf.o", ["--name", "one"], { name: "two" }).slice(0, 1).map(({ field }) => field),
      ["name"]
    )
  })

  it("an initial value, an attribute or an instruction that differs is seen", () => {
    const name = "global_data.bpf.o"
    const libbpf = Peer.open(pathOf(name))
    const bent = {
      ...libbpf,
      programs: (libbpf.programs ?? []).map((each) => ({ ...each, insns: each.insns?.replace(/^../, "ff") ?? null })),
      maps: (libbpf.maps ?? []).map((each, index) => ({
        ...each,
        map_flags: each.map_flags ^ (index === 0 ? 1 : 0),
        initial_value: each.initial_value?.replace(/..$/, "ee") ?? null
      }))
    }
    const fields = differences(fixture(name), pathOf(name), bent).map(({ field }) => field)
    assert.deepStrictEqual([...new Set(fields)].sort(), ["initial_value", "insns", "map_flags"])
  })
})
