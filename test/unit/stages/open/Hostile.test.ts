/**
 * Objects that are well formed and mean harm: few bytes that ask for much work. Each is made large enough that work
 * which grows with the square of it would take minutes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import { btf, build, code, EXEC, nothing, type ObjectSpec, program } from "../ObjectBuilder.ts"
import * as BadInput from "../BadInput.ts"
import { assertQuick } from "../../../support/CpuTime.ts"

/** Opens, relocates and plans in time that a linear pass over the bytes explains. */
const inTime = (spec: ObjectSpec, reached?: BadInput.Verdict["reached"]): BadInput.Verdict => {
  const bytes = build(spec)
  const verdict = BadInput.judge(bytes)
  assertQuick(verdict.milliseconds, 10_000)
  if (reached !== undefined) assert.strictEqual(verdict.reached, reached, verdict.error)
  return verdict
}

const many = <A>(count: number, make: (index: number) => A): ReadonlyArray<A> =>
  Array.from({ length: count }, (_, index) => make(index))

describe("many of everything", () => {
  const { section, symbol } = program("socket")

  it("names of one function that has many relocations", () => {
    const insns = code(...many(5000, () => Encode.ldImm64(1, 0)), Encode.exit())
    inTime({
      sections: [{ name: "socket", flags: EXEC, bytes: insns }, { name: ".data", bytes: new Uint8Array(8) }],
      symbols: [
        ...many(30_000, (index) => ({ name: `f${index}`, section: "socket", size: insns.length })),
        { name: "variable", section: ".data", size: 8, type: Elf.STT_OBJECT }
      ],
      relocations: many(5000, (index) => ({ section: "socket", offset: index * 16, symbol: "variable" }))
    }, "opened")
  })

  it("programs that all call one long function", () => {
    const body = code(...many(20_000, () => Encode.mov64Imm(0, 0)), Encode.exit())
    const entry = code(Encode.callSubprogram(-1), Encode.exit())
    const verdict = inTime({
      sections: [
        { name: "socket", flags: EXEC, bytes: code(...many(5000, () => entry)) },
        { name: ".text", flags: EXEC, bytes: body }
      ],
      symbols: [
        ...many(5000, (index) => ({ name: `f${index}`, section: "socket", value: index * 16, size: 16 })),
        { name: "long", section: ".text", size: body.length }
      ],
      relocations: many(5000, (index) => ({ section: "socket", offset: index * 16, symbol: "long" }))
    }, "opened")
    assert.match(verdict.error ?? "", /more than 4000000 instructions together/)
  })

  it("sections of data that BTF has many descriptions of", () => {
    const blob = btf((types) => {
      for (let index = 0; index < 50_000; index++) types.addDatasec(`.data.s${index % 20_000}`, 0, [])
    })
    inTime({
      sections: [section, ...many(20_000, (index) => ({ name: `.data.s${index}`, bytes: new Uint8Array(4) }))],
      symbols: [symbol],
      btf: blob
    }, "planned")
  })

  it("descriptions of kernel symbols", () => {
    const blob = btf((types) => {
      const params = many(2000, () => ({ name: "", type: 1 }))
      const long = types.addInt("long", 8, 1)
      const func = types.addFunc("outside", types.addFuncProto(long, params), Btf.BTF_FUNC_EXTERN)
      for (let index = 0; index < 50_000; index++) types.addDatasec(".ksyms", 0, [{ type: func, offset: 0, size: 0 }])
    })
    inTime({ sections: [section], symbols: [symbol, { name: "outside", section: 0, type: Elf.STT_NOTYPE }], btf: blob })
  })

  it("externs, and descriptions of configuration", () => {
    const blob = btf((types) => {
      const int = types.addInt("int", 4, 1)
      const variables = many(10_000, (index) => types.addVar(`CONFIG_${index}`, int, Btf.BTF_VAR_GLOBAL_EXTERN))
      types.addDatasec(".kconfig", 0, variables.map((type) => ({ type, offset: 0, size: 0 })))
      for (let index = 0; index < 30_000; index++) types.addDatasec(".kconfig", 0, [])
    })
    inTime({
      sections: [section],
      symbols: [symbol, ...many(10_000, (index) => ({ name: `CONFIG_${index}`, section: 0, type: Elf.STT_NOTYPE }))],
      btf: blob
    })
  })

  it("struct_ops variables, relocated by many sections", () => {
    const blob = btf((types) => {
      const struct = types.addStruct("ops", 8, [])
      types.addDatasec(
        ".struct_ops",
        8 * 20_000,
        many(20_000, (index) => ({
          type: types.addVar(`v${index}`, struct, Btf.BTF_VAR_STATIC),
          offset: index * 8,
          size: 8
        }))
      )
    })
    const rel = {
      name: ".rel.struct_ops",
      type: Elf.SHT_REL,
      link: 0,
      info: 2,
      entrySize: 16,
      bytes: new Uint8Array(0)
    }
    inTime({
      sections: [section, { name: ".struct_ops", bytes: new Uint8Array(8 * 20_000) }, ...many(5000, () => rel)],
      symbols: [symbol],
      btf: blob
    })
  })

  it("map definitions of one type of many members", () => {
    const blob = btf((types) => {
      const int = types.addInt("int", 4, 1)
      const type = types.addPtr(types.addArray(int, int, 1))
      const struct = types.addStruct("", 8, many(64, () => ({ name: "type", type, bitOffset: 0, bitfieldSize: 0 })))
      types.addDatasec(
        ".maps",
        8 * 10_000,
        many(10_000, (index) => ({
          type: types.addVar(`m${index}`, struct, Btf.BTF_VAR_GLOBAL_ALLOCATED),
          offset: index * 8,
          size: 8
        }))
      )
    })
    inTime({
      sections: [section, { name: ".maps", bytes: new Uint8Array(8 * 10_000) }],
      symbols: [
        symbol,
        ...many(
          10_000,
          (index) => ({ name: `m${index}`, section: ".maps", value: index * 8, size: 8, type: Elf.STT_OBJECT })
        )
      ],
      btf: blob
    }, "planned")
  })

  it("legacy definitions in many sections", () => {
    const record = new Uint8Array(20)
    record[0] = 1
    inTime({
      sections: [section, ...many(5000, (index) => ({ name: `maps/${index}`, bytes: record }))],
      symbols: [
        symbol,
        ...many(5000, (index) => ({ name: `m${index}`, section: `maps/${index}`, type: Elf.STT_OBJECT }))
      ]
    }, "planned")
  })

  it("tags that name exception callbacks", () => {
    const functions = many(20_000, (index) => ({ name: `sub${index}`, section: ".text", value: index * 16, size: 16 }))
    inTime({
      sections: [section, { name: ".text", flags: EXEC, bytes: code(...many(20_000, () => nothing)) }],
      symbols: [symbol, ...functions]
    }, "planned")
  })
})

describe("pages of zeroes", () => {
  it("are not made before it is known that they can be", () => {
    const { section, symbol } = program("socket")
    const bss = many(600, () => ({ name: ".bss", type: Elf.SHT_NOBITS, size: 2 ** 20 }))
    const before = process.memoryUsage().arrayBuffers
    const opened = Open.fromBytes(build({ sections: [section, ...bss], symbols: [symbol] }))
    assert.isTrue(
      Result.isFailure(opened) && opened.failure._tag === "OpenError" && opened.failure.reason === "Section"
    )
    assert.isBelow(process.memoryUsage().arrayBuffers - before, 2 ** 30)
  })
})
