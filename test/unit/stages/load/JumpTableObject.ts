/** An object with a jump table, made here: no clang at hand writes them yet. */
import * as Encode from "../../../../src/insn/Encode.ts"
import * as Insn from "../../../../src/insn/Insn.ts"
import * as Elf from "../../../../src/services/Elf/Elf.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import { build, code, EXEC, type ObjectSpec } from "../ObjectBuilder.ts"

/** The entries of tables, byte offsets. */
const entries = (byteOrder: Elf.ByteOrder, offsets: ReadonlyArray<number>): Uint8Array => {
  const bytes = new Uint8Array(8 * offsets.length)
  const view = new DataView(bytes.buffer)
  offsets.forEach((offset, at) => view.setBigUint64(8 * at, BigInt(offset), byteOrder === "little"))
  return bytes
}

/** `switcher` in `.text` jumps by a table, behind `first`; `prog` calls it from slot 1. */
export const spec = (
  offsets: ReadonlyArray<number> = [40, 56],
  table: { readonly value?: number; readonly size?: number } = {},
  byteOrder: Elf.ByteOrder = "little",
  more: Pick<ObjectSpec, "symbols" | "relocations"> = {}
): ObjectSpec => {
  const first = code(Encode.mov64Imm(0, 1), Encode.exit())
  const switcher = code(
    Encode.ldImm64(1, 0),
    Encode.gotox(1),
    Encode.mov64Imm(0, 2),
    Encode.exit(),
    Encode.mov64Imm(0, 3),
    Encode.exit()
  )
  const prog = code(Encode.mov64Imm(0, 0), Encode.callSubprogram(-1), Encode.exit())
  const text = new Uint8Array(first.length + switcher.length)
  text.set(first)
  text.set(switcher, first.length)
  const order = (insns: Uint8Array): Uint8Array => Insn.toByteOrder(insns, byteOrder)
  return {
    byteOrder,
    sections: [
      { name: "socket", flags: EXEC, bytes: order(prog) },
      { name: ".text", flags: EXEC, bytes: order(text) },
      { name: ".jumptables", bytes: entries(byteOrder, offsets) },
      { name: "license", bytes: Uint8Array.of(71, 80, 76, 0) }
    ],
    symbols: [
      { name: "prog", section: "socket", size: prog.length },
      { name: "first", section: ".text", size: first.length },
      { name: "switcher", section: ".text", value: first.length, size: switcher.length },
      {
        name: "table",
        section: ".jumptables",
        value: table.value ?? 0,
        size: table.size ?? 8 * offsets.length,
        type: Elf.STT_OBJECT
      },
      ...more.symbols ?? []
    ],
    relocations: [
      { section: "socket", offset: 8, symbol: "switcher" },
      { section: ".text", offset: first.length, symbol: "table" },
      ...more.relocations ?? []
    ]
  }
}

/** Opens such an object. */
export const open = (spec: ObjectSpec): ReturnType<typeof Open.fromBytes> =>
  Open.fromBytes(build(spec), { path: "tables.bpf.o" })
