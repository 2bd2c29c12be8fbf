import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Edits from "../../../src/cli/Edits.ts"
import { suggest } from "../../../src/cli/Usage.ts"
import * as Edit from "../../../src/stages/open/Edit.ts"
import * as Given from "../../../src/stages/open/Given.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import { fixture } from "../../support/Require.ts"

const opened = (name: string): Open.BpfObject => {
  const object = Open.fromBytes(fixture(name), { path: name })
  if (Result.isFailure(object)) throw object.failure
  return object.success
}

const firewall = opened("xdp_firewall.bpf.o")
const none: Edits.Edits = { set: [], map: [], autoload: [], noAutoload: [], attachTo: [] }

const edited = (edits: Partial<Edits.Edits>, object = firewall): Open.BpfObject => {
  const result = Edits.apply(object, { ...none, ...edits })
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

const refusal = (edits: Partial<Edits.Edits>, object = firewall): string => {
  const result = Edits.apply(object, { ...none, ...edits })
  if (Result.isSuccess(result)) throw new Error("the edit was accepted")
  return `${result.failure._tag}: ${result.failure.message}`
}

const valueOf = (object: Open.BpfObject, name: string) => {
  const value = Edit.getVariable(object, name)
  if (Result.isFailure(value)) throw value.failure
  return value.success
}

describe("Edits.parseValue", () => {
  it("reads integers in decimal and hexadecimal, exactly", () => {
    fc.assert(fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }), (value) => {
      // Numbers and bigints are both right, where they are exact.
      const read = (text: string): unknown =>
        JSON.stringify(
          Edits.parseValue(text),
          (_, each) => typeof each === "bigint" || Number.isSafeInteger(each) ? `exactly ${each}` : each
        )
      assert.strictEqual(read(String(value)), `"exactly ${value}"`)
      if (value >= 0n) assert.strictEqual(read(`0x${value.toString(16)}`), `"exactly ${value}"`)
      assert.strictEqual(read(`[${value}]`), `["exactly ${value}"]`)
    }))
  })

  it("reads JSON, and takes anything else as it stands", () => {
    assert.deepStrictEqual(Edits.parseValue("[80, 443]"), [80, 443])
    assert.deepStrictEqual(Edits.parseValue("{\"limit\": 3}"), { limit: 3 })
    assert.strictEqual(Edits.parseValue("true"), true)
    assert.strictEqual(Edits.parseValue("\"12\""), "12")
    assert.strictEqual(Edits.parseValue("MODE_STRICT"), "MODE_STRICT")
    assert.strictEqual(Edits.parseValue("[1,"), "[1,")
  })
})

describe("Edits.apply", () => {
  it("sets initial values of variables", () => {
    const object = edited({ set: ["blocked_ports=[80, 443]", "sample_every=0x10", "drop_malformed=false"] })
    assert.deepStrictEqual(valueOf(object, "blocked_ports"), [80, 443, 0, 0])
    assert.strictEqual(valueOf(object, "sample_every"), 16)
    assert.strictEqual(valueOf(object, "drop_malformed"), false)
    assert.deepStrictEqual(valueOf(firewall, "blocked_ports"), [23, 0, 0, 0], "the original stays")
  })

  it("changes maps, those of data sections too", () => {
    const object = edited({ map: ["stats.max_entries=8", "events.pinned=/sys/fs/bpf/e", "blocklist.autocreate=no"] })
    assert.strictEqual(Open.findMap(object, "stats")?.attr.maxEntries, 8)
    assert.strictEqual(Open.findMap(object, "events")?.pinPath, "/sys/fs/bpf/e")
    assert.strictEqual(Open.findMap(object, "blocklist")?.autocreate, false)
    assert.strictEqual(Open.findMap(edited({ map: ["xdp_fire.bss.numa_node=1"] }), ".bss")?.attr.numaNode, 1)
    assert.strictEqual(Open.findMap(edited({ map: [".bss.map_extra=3"] }), ".bss")?.attr.extra, 3n)
  })

  it("says which programs are loaded", () => {
    const loads = (object: Open.BpfObject) =>
      object.programs.filter((program) => program.entry && program.autoload).map((program) => program.name)
    assert.deepStrictEqual(loads(edited({ noAutoload: ["xdp_firewall"] })), [])
    const tracepoint = opened("tracepoint.bpf.o")
    const optional = tracepoint.programs.find((program) => program.entry && !program.autoload)?.name ?? ""
    assert.notInclude(loads(tracepoint), optional)
    assert.include(loads(edited({ autoload: [optional] }, tracepoint)), optional)
  })

  it("says for which function of another program a program is", () => {
    const targets = opened("program_targets.bpf.o")
    const attached = (text: string) => {
      const { attachProgram, attachTarget } =
        edited({ attachTo: [text] }, targets).programs.find(({ name }) => name === "replacement") ?? {}
      return [attachProgram, attachTarget]
    }
    assert.deepStrictEqual(attached("replacement=target:target"), ["target", "target"])
    // Without a function it is the section's.
    assert.deepStrictEqual(attached("replacement=target"), ["target", "choose"])
    assert.deepStrictEqual(attached("replacement=42:other"), [Given.id(42), "other"])
    assert.deepStrictEqual(attached("replacement=id 42:other"), [Given.id(42), "other"])
    assert.deepStrictEqual(attached("replacement=/sys/fs/bpf/a:b:other"), [Given.pin("/sys/fs/bpf/a:b"), "other"])
    assert.deepStrictEqual(attached("replacement=pinned here:other"), [Given.pin("here"), "other"])
    for (const text of ["replacement", "=42:other", "replacement=:other", "replacement=42:"]) {
      assert.match(
        refusal({ attachTo: [text] }, targets),
        /^UsageError.*hint: as in --attach-to replacement=42:choose/s
      )
    }
    assert.match(refusal({ attachTo: ["replacment=42:other"] }, targets), /did you mean replacement\?/)
    assert.match(refusal({ attachTo: ["replacement=targe:other"] }, targets), /did you mean target\?/)
    assert.match(refusal({ attachTo: ["replacement=0:other"] }, targets), /^EditError.*0 is no identifier/s)
    assert.match(refusal({ attachTo: ["xdp_firewall=42:other"] }), /^EditError.*freplace, fentry, fexit/s)
  })

  it("says what does not exist, and what is near it", () => {
    assert.match(
      refusal({ set: ["sample_evry=1"] }),
      /^UsageError: --set sample_evry: .*\nhint: did you mean sample_every\?/
    )
    assert.match(refusal({ set: ["nothing=1"] }), /hint: variables of the object: blocked_ports, /)
    assert.match(refusal({ map: ["stat.max_entries=1"] }), /did you mean stats\?/)
    assert.match(refusal({ noAutoload: ["firewall"] }), /did you mean xdp_firewall\?/)
    assert.match(refusal({ autoload: ["report"] }), /is a subprogram/)
  })

  it("says how an edit is written", () => {
    assert.match(
      refusal({ set: ["sample_every"] }),
      /^UsageError: --set sample_every: .*\nhint: as in --set sample_every=10/
    )
    assert.match(refusal({ set: ["=1"] }), /^UsageError/)
    assert.match(refusal({ map: ["stats=1"] }), /^UsageError: .*as in --map stats\.max_entries=1024/s)
    assert.match(refusal({ map: ["stats.size=1"] }), /maps have no field size\nhint: the fields are max_entries/)
    assert.match(refusal({ map: ["stats.toString=1"] }), /maps have no field toString/)
    assert.match(refusal({ map: ["stats.max_entries=many"] }), /does not fit max_entries/)
  })

  it("hands on what the object refuses", () => {
    assert.match(refusal({ set: ["blocked_ports=[70000]"] }), /^EditError: blocked_ports: .*70000 does not fit/)
    assert.match(refusal({ map: ["stats.max_entries=-1"] }), /^EditError: stats: maxEntries/)
  })
})

describe("Usage.suggest", () => {
  it("names what is near, else what there is", () => {
    assert.strictEqual(suggest("statz", ["stats", "events"], "maps"), "did you mean stats?")
    assert.strictEqual(suggest("x", ["stats", "events"], "maps"), "maps of the object: stats, events")
    assert.strictEqual(suggest("x", [], "maps"), "the object has no maps")
    const many = Array.from({ length: 50 }, (_, index) => `map_number_${index}`)
    assert.match(suggest("q", many, "maps"), /, … \(50 in all\)$/)
  })

  it("answers soon, however long the names", () => {
    const long = "a".repeat(100_000)
    assert.isBelow(suggest(long, Array.from({ length: 100 }, () => `${long}b`), "maps").length, 20_000)
  })
})
