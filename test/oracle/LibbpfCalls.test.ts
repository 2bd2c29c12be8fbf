/**
 * Loading before its judge: the bpf(2) calls that load each fixture are those of libbpf, in the same order and with the
 * same contents: BTF, maps, initial values, instructions, function and line records. Both are read where they enter the
 * kernel. Of libbpf there are two: 1.5, and Debian's 1.1, which lacks much that fixtures have. Programs of each kind of section
 * by themselves: `LibbpfSections.full.test.ts`.
 */
import { assert, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Libbpf from "../support/Libbpf.ts"
import { deliberate, type DeliberateName, loadDifferences, whichDeliberate } from "../support/LoadedBeside.ts"
import { loadOurs, openDescriptors } from "../support/LoadOurs.ts"
import type { CallDifference } from "../support/Normalise.ts"
import { differences } from "../support/OpenedBeside.ts"
import * as Peer from "../support/Peer.ts"
import { allFixtures, bpffs, describeWith, fixture, repository, run, temporaryFolder } from "../support/Require.ts"

/** What loads show beside one version of libbpf. */
interface Judge {
  readonly version: Libbpf.Version
  /** Fixtures that differ, and how. Not listed is `kernelVersion`, which every program shows. */
  readonly differing: Readonly<Record<string, ReadonlyArray<DeliberateName>>>
}

/** What differs from each version. */
const always: Judge["differing"] = {
  "externs.bpf.o": ["syscallWrapper"],
  "legacy_maps.bpf.o": ["legacyMaps"],
  "legacy_maps_extended.bpf.o": ["legacyMaps"],
  "map_in_map_late.bpf.o": ["lateInner"],
  "section_kinds.bpf.o": ["beforeAnyCall"],
  "static_entry.bpf.o": ["staticEntry"]
}

const judges: ReadonlyArray<Judge> = [
  {
    version: "system",
    differing: {
      ...always,
      "arena.bpf.o": ["arena"],
      "arena_anywhere.bpf.o": ["arena"],
      "arena_empty.bpf.o": ["arena"],
      "exceptions.bpf.o": ["exceptionCallback"],
      "ksyms.bpf.o": ["flavouredFunction", "missingFunction"],
      "map_types_new.bpf.o": ["arenaTypes"],
      "old_kernels.bpf.o": ["usdtForMany"],
      "struct_ops_link.bpf.o": ["structOpsLink"],
      "usdt.bpf.o": ["usdtForMany"],
      "usdt_wide.bpf.o": ["usdtForMany"]
    }
  },
  {
    version: "1.5",
    differing: {
      ...always,
      "struct_ops_link.bpf.o": ["secondOptional"],
      "struct_ops_shapes.bpf.o": ["secondOptional"]
    }
  }
]

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
const loadBoth = async (name: string, version: Libbpf.Version) => {
  const pinRoot = Path.join(bpffs(), "pins")
  const libbpf = Peer.load(pathOf(name), ["--pin-root", pinRoot], version)
  Fs.rmSync(pinRoot, { recursive: true, force: true })
  const ours = await loadOurs(fixture(name), { path: pathOf(name), pinRoot })
  Fs.rmSync(pinRoot, { recursive: true, force: true })
  return { libbpf, ours }
}

for (const { differing, version } of judges) {
  describeWith({ kind: "live", ...Libbpf.needs(version) }, `the calls of a load, beside libbpf (${version})`, () => {
    const versions: Array<string> = []

    for (const name of littleEndian) {
      it(name, async () => {
        const { libbpf, ours } = await loadBoth(name, version)
        const found = loadDifferences(ours, libbpf)
        const kinds = found.map(whichDeliberate)
        assert.deepStrictEqual(found.filter((_, index) => kinds[index] === undefined).map(show), [])
        assert.strictEqual(openDescriptors(), 0)
        if (kinds.includes("kernelVersion")) versions.push(name)
        const shown = new Set(kinds.filter((kind) => kind !== undefined && kind !== "kernelVersion"))
        const wanted = (differing[name] ?? []).filter((kind) => deliberate[kind].absentHere !== true)
        assert.deepStrictEqual([...shown].sort(), wanted)
        assert.strictEqual(
          ours.error !== undefined && libbpf.error !== undefined,
          loadedByNobody.has(name),
          `${ours.error?.message}, ${libbpf.error?.log}`
        )
      })
    }

    it("kern_version still differs", () => {
      assert.isAbove(versions.length, 10)
    })
  })
}

describeWith(
  { kind: "live", tools: [...Libbpf.needs("system").tools, "bpftool"] },
  "calls beside libbpf, besides",
  () => {
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

    it("a bent instruction, map, value, record or order is seen", async () => {
      const { libbpf, ours } = await loadBoth("global_data.bpf.o", "system")
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
      for (const field of ["prog_flags", "expected_attach_type"] as const) {
        assert.deepStrictEqual(seen((call) => call[field] === undefined ? {} : { [field]: call[field] ^ 0x10 }), [
          field
        ])
      }
      assert.deepStrictEqual(seen(({ value }) => value === undefined ? {} : { value: longer(value) }), ["value"])
      assert.deepStrictEqual(seen(({ line_info: lines }) => lines === undefined ? {} : { line_info: longer(lines) }), [
        "line_info"
      ])
      assert.deepStrictEqual(seen(({ btf, command }) => command === "BTF_LOAD" ? { btf: longer(btf) } : {}), ["btf"])
      assert.deepStrictEqual(seen(({ command }) => ({ probe: command === "MAP_FREEZE" })), ["sequence"])
      const elsewhere = (call: Peer.Call) =>
        call.map_references?.map((each) => ({ ...each, map: "map:elsewhere" })) ?? []
      assert.deepStrictEqual(seen((call) => ({ map_references: elsewhere(call) })), ["map_references"])
    })
  }
)
