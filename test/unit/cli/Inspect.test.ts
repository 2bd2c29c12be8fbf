import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Listing from "../../../src/cli/Listing.ts"
import { jsonText } from "../../../src/cli/json/Json.ts"
import * as ObjectDocument from "../../../src/cli/json/ObjectDocument.ts"
import { objectText } from "../../../src/cli/text/ObjectText.ts"
import { plain, render } from "../../../src/cli/text/Text.ts"
import { ProgFlag } from "../../../src/services/Kernel/abi/BpfConstants.ts"
import * as BtfEdit from "../../../src/btf/BtfEdit.ts"
import * as Open from "../../../src/stages/open/Open.ts"
import { allFixtures, fixture } from "../../support/Require.ts"

const open = (bytes: Uint8Array, path: string) => Open.fromBytes(bytes, { path })

const opened = (name: string): Open.BpfObject => {
  const object = open(fixture(name), name)
  if (Result.isFailure(object)) throw object.failure
  return object.success
}

const describeObject = (
  name: string,
  disassemble: ObjectDocument.Describe["disassemble"] = "none"
): ObjectDocument.ObjectDocument => ObjectDocument.describe(opened(name), { path: name, disassemble })

const textOf = (document: ObjectDocument.ObjectDocument): string => render(objectText(document), plain)

describe("ObjectDocument", () => {
  const firewall = describeObject("xdp_firewall.bpf.o")

  it("has stable keys", () => {
    assert.deepStrictEqual(Object.keys(firewall), [
      "name",
      "path",
      "byte_order",
      "license",
      "kernel_version",
      "programs",
      "subprograms",
      "maps",
      "variables",
      "externs",
      "relocations",
      "core_relocations",
      "btf",
      "notes"
    ])
    assert.deepStrictEqual(Object.keys(firewall.maps[0] ?? {}), [
      "name",
      "type",
      "section",
      "origin",
      "flags",
      "flag_names",
      "bytes_key",
      "bytes_value",
      "max_entries",
      "key_type",
      "value_type",
      "numa_node",
      "map_extra",
      "pinned",
      "autocreate",
      "inner",
      "slots",
      "struct_ops",
      "initial_value"
    ])
  })

  it("describes programs, subprograms, maps and variables", () => {
    assert.deepInclude(firewall.programs[0], { name: "xdp_firewall", type: "xdp", attach_type: "xdp", autoload: true })
    assert.deepStrictEqual(firewall.subprograms.map(({ linkage, name }) => [name, linkage]), [
      ["parse_packet", "static"],
      ["report", "static"]
    ])
    assert.deepInclude(firewall.maps.find(({ name }) => name === "stats"), {
      type: "hash",
      key_type: "enum protocol",
      value_type: "struct protocol_stats",
      bytes_key: 4,
      bytes_value: 16,
      max_entries: 16
    })
    assert.deepInclude(firewall.maps.find(({ name }) => name === "blocklist"), {
      flags: 1,
      flag_names: ["BPF_F_NO_PREALLOC"]
    })
    assert.deepInclude(firewall.variables.find(({ name }) => name === "blocked_ports"), {
      type: "const volatile __u16[4]",
      value: [23, 0, 0, 0],
      offset: 0,
      bytes: 8
    })
    assert.deepInclude(firewall.relocations.find(({ kind }) => kind === "call"), {
      program: "xdp_firewall",
      target: "parse_packet"
    })
  })

  it("describes what other objects have", () => {
    const pinned = describeObject("pinned_map.bpf.o").maps.find(({ name }) => name === "shared_counters")
    assert.strictEqual(pinned?.pinned, "/sys/fs/bpf/shared_counters")
    const outer = describeObject("map_in_map.bpf.o").maps.find(({ name }) => name === "array_of_maps")
    assert.strictEqual(outer?.inner?.type, "array")
    assert.deepStrictEqual(outer?.slots, [{ slot: 0, holds: "first_inner" }, { slot: 2, holds: "second_inner" }])
    const externs = describeObject("ksyms.bpf.o").externs
    assert.deepStrictEqual(
      Object.fromEntries(externs.map(({ kind, name, weak }) => [name, `${kind}${weak ? ", weak" : ""}`])),
      {
        bpf_rcu_read_lock: "function",
        bpf_rcu_read_lock___second_spelling: "function, weak",
        bpf_rcu_read_unlock: "function",
        schedule: "address",
        there_is_no_such_address: "address, weak",
        there_is_no_such_function: "function, weak"
      }
    )
    const core = describeObject("core_reads.bpf.o").core_relocations
    assert.isAbove(core.length, 0)
    assert.include(core.map(({ kind }) => kind), "field_exists")
    assert.strictEqual(
      describeObject("struct_ops.bpf.o").maps.find(({ origin }) => origin === "structops")?.struct_ops,
      "tcp_congestion_ops"
    )
  })

  it("is the same for both byte orders, but for what says which", () => {
    const big = describeObject("xdp_firewall.eb.o")
    assert.deepStrictEqual([big.byte_order, firewall.byte_order], ["big", "little"])
    assert.deepStrictEqual(big.variables, firewall.variables)
    assert.deepStrictEqual(
      big.maps.map((map) => ({ ...map, initial_value: null })),
      firewall.maps.map((map) => ({ ...map, initial_value: null }))
    )
  })

  it("names flags, and says what has no name", () => {
    assert.deepStrictEqual(ObjectDocument.flagNames(0x10 | 0x20, ProgFlag), ["BPF_F_SLEEPABLE", "BPF_F_XDP_HAS_FRAGS"])
    assert.deepStrictEqual(ObjectDocument.flagNames(0x8000_0000 | 1, { A: 1 }), ["A", "0x80000000"])
  })
})

describe("Listing", () => {
  const firewall = opened("xdp_firewall.bpf.o")
  const context = Listing.context(firewall)
  const listingOf = (object: Open.BpfObject, name: string) => {
    const program = object.programs.find((each) => each.name === name)
    if (program === undefined) throw new Error(`no function ${name}`)
    return Listing.list(object === firewall ? context : Listing.context(object), program)
  }

  it("names what instructions refer to, and the lines that they came from", () => {
    const report = listingOf(firewall, "report")
    assert.deepStrictEqual(report.map(({ slot, text }) => `${slot}: ${text}`), [
      "0: (bf) r2 = r1",
      "1: (18) r1 = map[events]",
      "3: (b7) r3 = 64",
      "4: (b7) r4 = 0",
      "5: (85) call bpf_ringbuf_output#130",
      "6: (15) if r0 == 0x0 goto pc+4",
      "7: (b7) r1 = 1",
      "8: (18) r2 = map[xdp_fire.bss][0]+0 <totals>",
      "10: (db) lock *(u64 *)(r2 +16) += r1",
      "11: (95) exit"
    ])
    assert.deepInclude(report[1]?.source, {
      text: "if (bpf_ringbuf_output(&events, event, sizeof(*event), 0))",
      file: "./xdp_firewall.bpf.c"
    })
  })

  it("names functions without distances that mean nothing yet", () => {
    const calls = listingOf(firewall, "xdp_firewall").filter(({ text }) => text.includes("call "))
    assert.include(calls.map(({ text }) => text), "(85) call parse_packet")
    const kernel = listingOf(opened("ksyms.bpf.o"), "call_kernel").map(({ text }) => text)
    assert.include(kernel, "(85) call bpf_rcu_read_lock")
    const callbacks = opened("subprograms.bpf.o").programs.flatMap((program) =>
      listingOf(opened("subprograms.bpf.o"), program.name).map(({ text }) => text)
    )
    assert.isTrue(callbacks.some((text) => /= &\w+$/.test(text)), "an address of a function is written &name")
  })

  it("names the variable at an offset", () => {
    const map = firewall.maps.findIndex(({ name }) => name === "xdp_fire.rodata")
    assert.strictEqual(Listing.variableName(context, map, 0), "blocked_ports")
    assert.strictEqual(Listing.variableName(context, map, 6), "blocked_ports+6")
    assert.strictEqual(Listing.variableName(context, map, 8), "sample_every")
    assert.strictEqual(Listing.variableName(context, map, 1000), undefined)
  })
})

describe("ObjectText", () => {
  it("shows what an object is made of", () => {
    const text = textOf(describeObject("xdp_firewall.bpf.o"))
    for (
      const expected of [
        /^xdp_firewall\.bpf\.o: BPF object, little-endian, license Dual MIT\/GPL$/m,
        /^Programs \(1\)$/m,
        /^ {2}xdp_firewall +xdp +xdp +xdp +125 +yes$/m,
        /^ {2}stats +hash, max_entries 16\n +key 4 B \(enum protocol\), value 16 B \(struct protocol_stats\)$/m,
        /^ {2}events +ringbuf, max_entries 65536$/m,
        /^ {2}xdp_fire\.bss +array, max_entries 1, BPF_F_MMAPABLE$/m,
        /^ {2}blocked_ports +xdp_fire\.rodata +const volatile __u16\[4\] +\{23, 0, 0, 0\}$/m,
        /^ {2}report: map events, variables of xdp_fire\.bss$/m,
        /118 source lines/
      ]
    ) assert.match(text, expected)
    assert.notMatch(text, /\(18\)/, "no instructions unless asked for")
  })

  it("shows instructions under their lines when asked", () => {
    const text = textOf(describeObject("xdp_firewall.bpf.o", { programs: new Set(["report"]) }))
    assert.match(text, /^report \(\.text, 12 instructions\)$/m)
    assert.match(
      text,
      /^ {2}; __sync_fetch_and_add\(&totals\.events_lost, 1\); {2}@ xdp_firewall\.bpf\.c:232\n {3}8: \(18\)/m
    )
    assert.notInclude(text, "parse_packet (.text")
  })

  it("says what is missing", () => {
    const empty = ObjectDocument.describe(
      { ...opened("xdp_firewall.bpf.o"), programs: [], maps: [], btf: undefined, btfExt: undefined, license: "" },
      { path: "x.o", disassemble: "all" }
    )
    const text = textOf(empty)
    assert.match(text, /no license/)
    assert.match(text, /none: no function/)
    assert.match(text, /no BTF: compile with -g/)
  })

  it("renders every fixture, and its document is JSON", () => {
    for (const name of allFixtures()) {
      const object = open(fixture(name), name)
      if (Result.isFailure(object)) continue
      const document = ObjectDocument.describe(object.success, { path: name, disassemble: "all" })
      assert.include(textOf(document), name)
      assert.deepStrictEqual(JSON.parse(jsonText(document, false)), JSON.parse(JSON.stringify(document)))
    }
  })

  it("never throws and prints no control character, whatever became of the file", () => {
    const whole = fixture("xdp_firewall.bpf.o")
    let described = 0
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: whole.length - 1 }), fc.constantFrom(0x1b, 0x00, 0x0a, 0xff, 0x9b, 0x41)), {
          minLength: 1,
          maxLength: 12
        }),
        (changes) => {
          const bytes = whole.slice()
          for (const [at, value] of changes) bytes[at] = value
          const object = open(bytes, "mutated.o")
          if (Result.isFailure(object)) return
          described++
          const document = ObjectDocument.describe(object.success, { path: "mutated.o", disassemble: "all" })
          jsonText(document, true)
          assert.notMatch(textOf(document).replaceAll("\n", ""), /\p{Cc}/u)
        }
      ),
      { numRuns: 300 }
    )
    assert.isAbove(described, 0)
  })

  it("shows a name with an escape sequence in it as what it is", () => {
    const bytes = fixture("xdp_firewall.bpf.o")
    const name = new TextEncoder().encode("\0blocklist\0")
    let changed = 0
    for (let at = 0; at + name.length <= bytes.length; at++) {
      if (name.every((byte, index) => bytes[at + index] === byte)) {
        bytes.set(new TextEncoder().encode("\x1b[2Jgone"), at + 1)
        changed++
      }
    }
    assert.isAbove(changed, 0)
    const object = open(bytes, "forged.o")
    if (Result.isFailure(object)) throw object.failure
    const text = textOf(ObjectDocument.describe(object.success, { path: "forged.o", disassemble: "none" }))
    assert.include(text, "\\x1b[2Jgone")
    assert.notInclude(text, "\x1b")
  })

  it("stays in proportion where many variables lie at one place", () => {
    const object = opened("global_data.bpf.o")
    const position = object.maps.findIndex(({ name }) => name.endsWith(".data"))
    const map = object.maps[position]
    if (object.btf === undefined || map === undefined) throw new Error("no .data")
    const size = 60_000
    const editor = BtfEdit.edit(object.btf)
    const byte = editor.addInt("byte", 1, 0)
    const variable = editor.addVar("everything", editor.addArray(byte, byte, size), 1)
    // A thousand variables, each of them the whole section: sixty million numbers, of sixty thousand bytes.
    const entries = Array.from({ length: 1000 }, () => ({ type: variable, offset: 0, size }))
    const valueType = editor.addDatasec(".data", size, entries)
    const btf = editor.finish()
    if (Result.isFailure(btf)) throw btf.failure
    const forged: Open.BpfObject = {
      ...object,
      btf: btf.success,
      maps: [{ ...map, valueType, attr: { ...map.attr, valueSize: size }, initialValue: new Uint8Array(size).fill(1) }]
    }
    const document = ObjectDocument.describe(forged, { path: "forged.o", disassemble: "none" })
    assert.strictEqual(document.variables.length, 1000)
    assert.isBelow(jsonText(document, false).length, 10_000_000)
    assert.isNotNull(document.variables[0]?.value)
    assert.isNull(document.variables.at(-1)?.value)
  })
})
