import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import { objectName } from "../../../../src/stages/open/OpenOptions.ts"
import { fixture } from "../../../support/Require.ts"
import { btf, build, EXEC, nothing, program } from "../ObjectBuilder.ts"
import { failureOf, open, refusal } from "./opening.ts"

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

describe("the file", () => {
  const { section, symbol } = program("socket")
  const spec = { sections: [section], symbols: [symbol] }

  it("must be relocatable and for BPF; machine 0 is what old compilers wrote", () => {
    assert.deepInclude(refusal({ ...spec, type: 2 }), {
      reason: "NotBpf",
      detail: "the ELF file is of type 2, not a relocatable object (1)"
    })
    assert.deepInclude(refusal({ ...spec, machine: 62 }), {
      reason: "NotBpf",
      detail: "the ELF file is for machine 62, not BPF (247)"
    })
    assert.strictEqual(open({ ...spec, machine: Elf.EM_NONE }).programs.length, 1)
  })

  it("must have one symbol table", () => {
    assert.deepInclude(refusal({ ...spec, withoutSymbols: true, symbols: [] }), {
      reason: "SymbolTable",
      detail: "the object has no symbol table"
    })
    const second = { name: ".symtab2", type: Elf.SHT_SYMTAB, link: 4, entrySize: 24, bytes: new Uint8Array(24) }
    const two = refusal({ ...spec, sections: [section, second] })
    assert.strictEqual(two.reason, "SymbolTable")
    assert.match(two.detail, /2 symbol tables/)
  })

  it("that is no ELF file is refused by the ELF reader", () => {
    const failed = Open.fromBytes(text("hello"))
    assert.isTrue(Result.isFailure(failed) && failed.failure._tag === "ElfError")
  })

  it("may be of either byte order, and is opened the same", () => {
    const names = ["global_data", "map_kinds", "subprograms", "map_in_map", "externs", "ksyms"]
    for (const name of names) {
      const [little, big] = [".bpf.o", ".eb.o"].map((kind) => {
        const object = Result.getOrThrow(Open.fromBytes(fixture(name + kind), { name: "same" }))
        return {
          // Byte order changes a few instructions, so not where relocations stand.
          programs: object.programs.map(({ name, relocations, section }) => ({
            name,
            section,
            relocations: relocations.map(({ _tag }) => _tag)
          })),
          maps: object.maps.map((map) => ({
            name: map.name,
            attr: map.attr,
            slots: map.slots,
            inner: map.inner?.attr
          })),
          externs: object.externs
        }
      })
      assert.deepStrictEqual(big, little, name)
    }
  })
})

describe("license and version", () => {
  const { section, symbol } = program("socket")
  const withSection = (name: string, bytes: Uint8Array, type?: number) => ({
    sections: [section, { name, bytes, ...(type === undefined ? {} : { type }) }],
    symbols: [symbol]
  })

  it("are read; without them there is none", () => {
    const object = open({
      sections: [section, { name: "license", bytes: text("Dual BSD/GPL\0rest") }, {
        name: "version",
        bytes: Uint8Array.of(5, 18, 6, 0)
      }],
      symbols: [symbol]
    })
    assert.strictEqual(object.license, "Dual BSD/GPL")
    assert.strictEqual(object.kernelVersion, 0x06_12_05)
    const bare = open({ sections: [section], symbols: [symbol] })
    assert.strictEqual(bare.license, "")
    assert.isUndefined(bare.kernelVersion)
  })

  it("the license is cut to 63 bytes and needs no NUL", () => {
    assert.strictEqual(open(withSection("license", text("x".repeat(100)))).license, "x".repeat(63))
    assert.strictEqual(open(withSection("license", text("GPL"))).license, "GPL")
  })

  it("the version is in the file's byte order", () => {
    const spec = { ...withSection("version", Uint8Array.of(0, 6, 18, 5)), byteOrder: "big" as const }
    assert.strictEqual(open(spec).kernelVersion, 0x06_12_05)
  })

  it("are refused when they cannot be what they are called", () => {
    assert.deepInclude(refusal(withSection("license", new Uint8Array())), { reason: "Section", section: "license" })
    assert.deepInclude(refusal(withSection("version", new Uint8Array(3))), {
      reason: "Section",
      section: "version",
      detail: "has 3 bytes instead of 4"
    })
    assert.deepInclude(refusal(withSection(".BTF", new Uint8Array(24), Elf.SHT_NOTE)), {
      reason: "Section",
      section: ".BTF",
      detail: "is not a section of program data"
    })
  })
})

describe("other sections", () => {
  const { section, symbol } = program("socket")

  it("are passed over with a note; strings, debug information and empty .text without one", () => {
    const object = open({
      sections: [
        section,
        { name: ".comment", bytes: text("clang") },
        { name: ".data", type: Elf.SHT_NOBITS, size: 8 },
        { name: ".debug_info", bytes: text("x") },
        { name: ".text", flags: EXEC },
        { name: ".llvm_addrsig", type: Elf.SHT_LLVM_ADDRSIG, bytes: text("x") }
      ],
      symbols: [symbol]
    })
    assert.deepStrictEqual(object.notes, [
      "section .comment is not of a kind that a load looks at",
      "section .data is not of a kind that a load looks at"
    ])
    assert.deepStrictEqual(object.maps, [])
  })

  it("relocations of sections that do not matter are passed over", () => {
    const object = open({
      sections: [section, { name: ".rodata", bytes: new Uint8Array(8) }],
      symbols: [symbol],
      relocations: [{ section: ".rodata", offset: 0, symbol: "prog" }]
    })
    assert.deepStrictEqual(object.notes, ["section .rel.rodata relocates .rodata, which a load does not look at"])
  })

  it("a relocation section must have entries of 16 bytes", () => {
    const bad = { name: ".relsocket", type: Elf.SHT_REL, link: 3, info: 1, entrySize: 8, bytes: new Uint8Array(16) }
    assert.deepInclude(refusal({ sections: [section, bad], symbols: [symbol] }), {
      reason: "Section",
      section: ".relsocket",
      detail: "has entries of 8 bytes instead of 16"
    })
  })
})

describe("BTF", () => {
  const { section, symbol } = program("socket")

  it("that is damaged is left out with a note where nothing needs it", () => {
    const object = open({ sections: [section], symbols: [symbol], btf: new Uint8Array(30) })
    assert.isUndefined(object.btf)
    assert.match(object.notes.join(), /BTF is damaged and was left out/)
  })

  it("of instructions that is damaged is left out with a note where nothing needs it", () => {
    const object = open({ sections: [section], symbols: [symbol], btf: btf(() => {}), btfExt: new Uint8Array(5) })
    assert.isDefined(object.btf)
    assert.isUndefined(object.btfExt)
    assert.match(object.notes.join(), /\.BTF\.ext is damaged/)
  })

  it("that is damaged is an error of its own where definitions or externs need it", () => {
    const maps = { name: ".maps", bytes: new Uint8Array(8) }
    const extern = { name: "outside", section: 0, type: Elf.STT_NOTYPE }
    assert.strictEqual(
      failureOf({ sections: [section, maps], symbols: [symbol], btf: new Uint8Array(30) })._tag,
      "BtfError"
    )
    assert.strictEqual(
      failureOf({ sections: [section], symbols: [symbol, extern], btf: new Uint8Array(30) })._tag,
      "BtfError"
    )
    assert.strictEqual(
      failureOf({ sections: [section, maps], symbols: [symbol], btf: btf(() => {}), btfExt: new Uint8Array(5) })._tag,
      "BtfError"
    )
  })

  it("that is missing is named, with what needs it", () => {
    const maps = { name: ".maps", bytes: new Uint8Array(8) }
    const extern = { name: "outside", section: 0, type: Elf.STT_NOTYPE }
    assert.deepInclude(refusal({ sections: [section, maps], symbols: [symbol] }), {
      reason: "MissingBtf",
      section: ".maps"
    })
    assert.deepInclude(
      refusal({ sections: [section, { name: ".struct_ops", bytes: new Uint8Array(8) }], symbols: [symbol] }),
      {
        reason: "MissingBtf",
        section: ".struct_ops"
      }
    )
    assert.deepInclude(refusal({ sections: [section], symbols: [symbol, extern] }), {
      reason: "MissingBtf",
      section: ".symtab",
      offset: 48,
      name: "outside"
    })
    assert.deepInclude(refusal({ sections: [section, maps], symbols: [symbol], btf: btf(() => {}) }), {
      reason: "MissingBtf",
      section: ".maps",
      detail: "the object's BTF does not describe this section"
    })
  })
})

describe("the object's name", () => {
  it("is the file's, without folders, cut to 15 characters and then at the first dot", () => {
    assert.strictEqual(objectName({}, "/some/where/xdp.bpf.o"), "xdp")
    assert.strictEqual(objectName({}, "a_very_long_name_of_a_file.bpf.o"), "a_very_long_nam")
    assert.strictEqual(objectName({}, "plain"), "plain")
    assert.strictEqual(objectName({}, undefined), "object")
  })

  it("is cut but kept whole where it is given", () => {
    assert.strictEqual(objectName({ name: "my.object.with.dots" }, "x.o"), "my.object.with.")
  })
})

describe("programs", () => {
  const insns = nothing

  it("must be whole instructions inside their section", () => {
    const spec = (more: Parameters<typeof program>[2]) => {
      const { section, symbol } = program("socket", insns, more)
      return { sections: [section], symbols: [symbol] }
    }
    const outside = {
      reason: "Program" as const,
      section: "socket",
      name: "prog",
      detail: "the function reaches beyond its section"
    }
    assert.deepInclude(refusal(spec({ size: 24 })), { ...outside, offset: 0 })
    assert.deepInclude(refusal(spec({ value: 8 })), { ...outside, offset: 8 })
    assert.deepInclude(refusal(spec({ value: 0xffff_ffff_ffff_fff8n, size: 16n })), outside)
    assert.deepInclude(refusal(spec({ size: 0 })), { reason: "Program", section: "socket", offset: 0 })
    assert.match(refusal(spec({ size: 4 })).detail, /4 bytes is not made of whole instructions/)
    assert.match(refusal(spec({ value: 4, size: 8 })).detail, /not made of whole instructions/)
  })

  it("must not overlap; two names of one function are fine", () => {
    const { section, symbol } = program("socket")
    const other = (more: object) => ({ sections: [section], symbols: [symbol, { ...symbol, name: "other", ...more }] })
    assert.deepInclude(refusal(other({ value: 8, size: 8 })), {
      reason: "Program",
      section: "socket",
      offset: 8,
      name: "other",
      detail: "the function overlaps with prog"
    })
    assert.strictEqual(refusal(other({ size: 8 })).detail, "the function overlaps with prog")
    assert.deepStrictEqual(open(other({})).programs.map((each) => each.name), ["prog", "other"])
  })

  it("are found by SEC(): type, attach type, flags, target, and the question mark", () => {
    const { section, symbol } = program("?fentry.s/mod:func/with/slashes")
    const [found] = open({ sections: [section], symbols: [symbol] }).programs
    assert.deepInclude({ ...found }, {
      section: "fentry.s/mod:func/with/slashes",
      autoload: false,
      type: 26,
      expectedAttachType: 24,
      flags: 0x10,
      attachTarget: "mod:func/with/slashes",
      entry: true
    })
  })

  it("of a section that no definition fits have no type", () => {
    const { section, symbol } = program("xdp/foo")
    const [found] = open({ sections: [section], symbols: [symbol] }).programs
    assert.deepInclude({ ...found }, { type: 0, definition: undefined, attachTarget: "foo", autoload: true })
  })

  it("that are static are entry programs, unless another function calls them", () => {
    const { section, symbol } = program("socket", nothing, { binding: Elf.STB_LOCAL })
    const [alone] = open({ sections: [section], symbols: [symbol] }).programs
    assert.deepInclude({ ...alone }, { entry: true, global: false, type: 1 })
    const static_ = Result.getOrThrow(Open.fromBytes(fixture("static_entry.bpf.o")))
    assert.deepStrictEqual(static_.programs.map(({ entry, name, type }) => ({ entry, name, type })), [
      { entry: true, name: "static_program", type: 1 }
    ])
  })

  it("of .text are subprograms", () => {
    const object = Result.getOrThrow(Open.fromBytes(fixture("subprograms.bpf.o")))
    assert.deepStrictEqual(
      object.programs.filter((each) => !each.entry).map((each) => [each.name, each.global, each.hidden, each.section]),
      object.programs.filter((each) => each.section === ".text").map((
        each
      ) => [each.name, each.global, each.hidden, ".text"])
    )
    assert.deepStrictEqual(object.programs.filter((each) => each.hidden).map((each) => each.name).sort(), [
      "add_element",
      "hidden_negate"
    ])
    assert.deepStrictEqual(object.programs.filter((each) => each.entry).map((each) => each.name), [
      "nested_calls",
      "shared_calls",
      "static_callback",
      "global_callback",
      "no_calls"
    ])
  })

  it("have the log level that the options ask for", () => {
    const { section, symbol } = program("socket")
    assert.strictEqual(open({ sections: [section], symbols: [symbol] }, { logLevel: 6 }).programs[0]?.logLevel, 6)
    assert.strictEqual(open({ sections: [section], symbols: [symbol] }).programs[0]?.logLevel, 0)
  })

  it("of a file that is used further are views of its bytes", () => {
    const { section, symbol } = program("socket")
    const bytes = build({ sections: [section], symbols: [symbol] })
    const object = Result.getOrThrow(Open.fromBytes(bytes))
    assert.strictEqual(object.programs[0]?.insns.buffer, bytes.buffer)
  })
})
