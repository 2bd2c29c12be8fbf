/**
 * Loading before its judge: the bpf(2) calls that load each fixture are those of libbpf, in the same order and with the
 * same contents: BTF, maps, initial values, instructions, function and line records. Both are read where they enter the
 * kernel.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { deliberate, type DeliberateName, loadDifferences, whichDeliberate } from "../support/LoadedBeside.ts"
import { loadOurs, openDescriptors } from "../support/LoadOurs.ts"
import type { CallDifference } from "../support/Normalise.ts"
import { differences } from "../support/OpenedBeside.ts"
import * as Peer from "../support/Peer.ts"
import { allFixtures, bpffs, describeWith, fixture, repository, run, temporaryFolder } from "../support/Require.ts"

/** Fixtures that differ, and how. Not listed is `kernelVersion`, which every program shows. */
const expected: Readonly<Record<string, ReadonlyArray<DeliberateName>>> = {
  "arena.bpf.o": ["arena"],
  "arena_anywhere.bpf.o": ["arena"],
  "arena_empty.bpf.o": ["arena"],
  "exceptions.bpf.o": ["exceptionCallback"],
  "externs.bpf.o": ["syscallWrapper"],
  "ksyms.bpf.o": ["flavouredFunction", "missingFunction"],
  "legacy_maps.bpf.o": ["legacyMaps"],
  "legacy_maps_extended.bpf.o": ["legacyMaps"],
  "map_in_map_late.bpf.o": ["lateInner"],
  "map_types_new.bpf.o": ["arenaTypes"],
  "section_kinds.bpf.o": ["beforeAnyCall"],
  "static_entry.bpf.o": ["staticEntry"],
  "struct_ops_link.bpf.o": ["structOpsLink"]
}

/** Fixtures that neither loads here. */
const loadedByNobody: ReadonlySet<string> = new Set([
  "link_main.bpf.o",
  "map_types_new.bpf.o",
  "section_kinds.bpf.o"
])

const littleEndian = allFixtures().filter((name) => name.endsWith(".bpf.o"))

const pathOf = (name: string): string => Path.join(repository, "test/fixtures", name)

const show = ({ at, field, libbpf, ours }: CallDifference): string =>
  `${at}: ${field} is ${ours}, libbpf has ${libbpf}`.slice(0, 2000)

/** Loads with both, each with its own share of pins. */
const loadBoth = async (name: string) => {
  const pinRoot = Path.join(bpffs(), "pins")
  const libbpf = Peer.load(pathOf(name), ["--pin-root", pinRoot])
  Fs.rmSync(pinRoot, { recursive: true, force: true })
  const ours = await loadOurs(fixture(name), { path: pathOf(name), pinRoot })
  Fs.rmSync(pinRoot, { recursive: true, force: true })
  return { libbpf, ours }
}

describeWith({ kind: "live", tools: [...Peer.peerTools, "bpftool"] }, "the calls of a load, beside libbpf", () => {
  const versions: Array<string> = []

  for (const name of littleEndian) {
    it(name, async () => {
      const { libbpf, ours } = await loadBoth(name)
      const found = loadDifferences(ours, libbpf)
      const kinds = found.map(whichDeliberate)
      assert.deepStrictEqual(found.filter((_, index) => kinds[index] === undefined).map(show), [])
      assert.strictEqual(openDescriptors(), 0)
      if (kinds.includes("kernelVersion")) versions.push(name)
      const shown = new Set(kinds.filter((kind) => kind !== undefined && kind !== "kernelVersion"))
      const wanted = (expected[name] ?? []).filter((kind) => deliberate[kind].absentHere !== true)
      assert.deepStrictEqual([...shown].sort(), wanted)
      assert.strictEqual(
        ours.error !== undefined && libbpf.error !== undefined,
        loadedByNobody.has(name),
        `${ours.error?.message}, ${libbpf.error?.log}`
      )
    })
  }

  it("programs of every kind of section, each by itself", async () => {
    const name = "section_kinds.bpf.o"
    const shown = new Set<DeliberateName>()
    let loaded = 0
    for (const { name: only, section } of Peer.open(pathOf(name)).programs ?? []) {
      const libbpf = Peer.load(pathOf(name), ["--only", only])
      const ours = await loadOurs(fixture(name), { path: pathOf(name), only })
      const found = loadDifferences(ours, libbpf)
      assert.deepStrictEqual(found.filter((each) => !whichDeliberate(each)).map(show), [], section)
      for (const kind of found.map(whichDeliberate)) if (kind !== undefined) shown.add(kind)
      if (ours.error === undefined && libbpf.error === undefined) loaded++
    }
    assert.deepStrictEqual([...shown].sort(), ["beforeAnyCall", "kernelVersion", "newerSection"])
    assert.isAbove(loaded, 50)
  })

  it("an object that bpftool has linked", async () => {
    const path = Path.join(temporaryFolder(), "linked.o")
    const linked = run("bpftool", ["gen", "object", path, pathOf("link_library.bpf.o"), pathOf("link_main.bpf.o")])
    assert.strictEqual(linked.status, 0, linked.stderr)
    const bytes = new Uint8Array(Fs.readFileSync(path))
    assert.deepStrictEqual(differences(bytes, path, Peer.open(path)), [])
    const ours = await loadOurs(bytes, { path })
    assert.strictEqual(ours.stage, "loaded", ours.error?.message)
    const found = loadDifferences(ours, Peer.load(path))
    assert.deepStrictEqual([...new Set(found.map(({ field }) => field))], ["kern_version"])
  })

  it("libbpf sends the instructions that bpf_program__insns() has", () => {
    const { calls, programs } = Peer.load(pathOf("subprograms.bpf.o"))
    const sent = (calls ?? []).filter((call) => call.command === "PROG_LOAD" && !call.probe).map((call) => call.insns)
    assert.deepStrictEqual((programs ?? []).map((program) => program.insns), sent)
  })

  it("kern_version still differs", () => {
    assert.isAbove(versions.length, 10)
  })

  it("a bent instruction, map, value, record or order is seen", async () => {
    const { libbpf, ours } = await loadBoth("global_data.bpf.o")
    const seen = (edit: (call: Peer.Call) => Partial<Peer.Call>): ReadonlyArray<string> => {
      const bent = { ...libbpf, calls: (libbpf.calls ?? []).map((call) => ({ ...call, ...edit(call) })) }
      return [
        ...new Set(loadDifferences(ours, bent).filter((each) => !whichDeliberate(each)).map(({ field }) => field))
      ]
    }
    const longer = (hex: string | null | undefined): string => `${hex}00`
    assert.deepStrictEqual(seen(() => ({})), [])
    assert.deepStrictEqual(seen(({ insns }) => typeof insns === "string" ? { insns: `ff${insns.slice(2)}` } : {}), [
      "insn"
    ])
    assert.deepStrictEqual(seen(({ map_flags: flags }) => flags === undefined ? {} : { map_flags: flags ^ 1 }), [
      "map_flags"
    ])
    assert.deepStrictEqual(seen(({ value }) => value === undefined ? {} : { value: longer(value) }), ["value"])
    assert.deepStrictEqual(seen(({ line_info: lines }) => lines === undefined ? {} : { line_info: longer(lines) }), [
      "line_info"
    ])
    assert.deepStrictEqual(seen(({ btf, command }) => command === "BTF_LOAD" ? { btf: longer(btf) } : {}), ["btf"])
    assert.deepStrictEqual(seen(({ command }) => ({ probe: command === "MAP_FREEZE" })), ["sequence"])
    const elsewhere = (call: Peer.Call) => call.map_references?.map((each) => ({ ...each, map: "map:elsewhere" })) ?? []
    assert.deepStrictEqual(seen((call) => ({ map_references: elsewhere(call) })), ["map_references"])
  })
})
