/**
 * Objects of 100 KB and more for linking many: what a project compiled against one big header looks like. All share types,
 * as those of vmlinux.h, in places of their own; each has functions, lines and variables of its own, static ones of names
 * that all use, and calls a function of the file before.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Encode from "../src/insn/Encode.ts"
import * as Elf from "../src/services/Elf/Elf.ts"
import * as B from "../test/support/arbitrary/BtfBlob.ts"
import { infos, type Placed } from "../test/support/arbitrary/Elf.ts"
import { build, EXEC } from "../test/unit/stages/ObjectBuilder.ts"
import type { RelocationSpec, SymbolSpec } from "../test/unit/stages/ObjectBuilder.ts"

const STRUCTS = 500
const FUNCTIONS = 60
const SLOTS = 64
const MEMBERS = 8

/** File `index` of a set; the first one needs no other. */
export const linkInput = (index: number): Uint8Array => {
  const types: Array<B.Rec> = []
  const add = (type: B.Rec): number => types.push(type)
  const int = add(B.int("int", 4, 1))
  const long = add(B.int("long", 8, 1))
  for (let at = 0; at < STRUCTS; at++) {
    // Every file sees most of the header, and not the same part.
    if ((at + index) % 10 === 0) continue
    const pointer = add(B.ptr(types.length + 2))
    add(B.struct(
      `kernel_struct_${at}`,
      MEMBERS * 8,
      Array.from({ length: MEMBERS }, (_, member): B.MemberRec => [
        `member_${member}_of_${at % 40}`,
        member === 0 ? pointer : member % 2 === 0 ? long : int,
        member * 64
      ])
    ))
  }
  const proto = add(B.funcProto(int, [["context", add(B.ptr(0))]]))
  const symbols: Array<SymbolSpec> = []
  const relocations: Array<RelocationSpec> = []
  const placed: Array<Placed> = []
  const chunks: Array<Uint8Array> = []
  let at = 0
  for (let each = 0; each < FUNCTIONS; each++) {
    // Every other is static, of a name that all files use.
    const isStatic = each % 2 === 1
    const name = isStatic ? `static_${each}` : `function_${index}_${each}`
    const funcId = add(B.func(name, proto, isStatic ? 0 : 1))
    const body = Array.from({ length: SLOTS - 6 }, (_, slot) => Encode.mov64Imm(1, slot + each))
    relocations.push(
      { section: ".text", offset: at, symbol: `variable_${index}_${each % 20}` },
      each === 0 && index > 0
        ? { section: ".text", offset: at + 16, symbol: `function_${index - 1}_0`, type: 10 }
        : { section: ".text", offset: at + 16, symbol: `function_${index}_2`, type: 10 },
      { section: ".text", offset: at + 24, symbol: "map" }
    )
    const insns = Encode.program(
      Encode.ldImm64(2, 0n),
      Encode.callSubprogram(-1),
      Encode.ldImm64(1, 0n),
      ...body,
      Encode.exit()
    )
    chunks.push(insns)
    placed.push({ name, section: ".text", at, size: insns.length, funcId })
    symbols.push({ name, section: ".text", value: at, size: insns.length, binding: isStatic ? 0 : 1 })
    at += insns.length
  }
  if (index > 0) {
    add(B.func(`function_${index - 1}_0`, proto, 2))
    symbols.push({ name: `function_${index - 1}_0`, section: 0, type: Elf.STT_NOTYPE })
  }
  const variables = Array.from({ length: 20 }, (_, each): readonly [number, number, number] => {
    const name = `variable_${index}_${each}`
    symbols.push({ name, section: ".data", value: each * 8, size: 8, type: Elf.STT_OBJECT })
    return [add(B.variable(name, long, 1)), each * 8, 8]
  })
  add(B.datasec(".data", 160, variables))
  const number = (value: number): number => add(B.ptr(add(B.array(int, int, value))))
  const definition = add(B.struct("map_definition", 16, [["type", number(1), 0], ["max_entries", number(2), 64]]))
  // The first file defines the map that all use.
  const map = add(B.variable("map", definition, index === 0 ? 1 : 2))
  add(B.datasec(".maps", index === 0 ? 16 : 0, [[map, 0, 16]]))
  symbols.push(
    index === 0
      ? { name: "map", section: ".maps", size: 16, type: Elf.STT_OBJECT }
      : { name: "map", section: 0, type: Elf.STT_NOTYPE }
  )
  // A record for every fourth instruction, as compilers write them.
  const lines = placed.flatMap((one) =>
    Array.from({ length: SLOTS / 4 }, (_, line): Placed => ({ ...one, at: one.at + line * 32 }))
  )
  const texts = ["0", "prog.bpf.c", "int program(void *ctx)", ".text"]
  const btf = B.blob(types, {
    moreStrings: [...texts, ...Array.from({ length: 400 }, (_, n) => `\tx_${index} += ${n};`)]
  })
  return build({
    sections: [
      { name: ".text", flags: EXEC, bytes: Encode.program(...chunks) },
      { name: ".data", flags: Elf.SHF_ALLOC | Elf.SHF_WRITE, bytes: new Uint8Array(160).fill(index & 0xff) },
      ...(index === 0 ? [{ name: ".maps", flags: Elf.SHF_ALLOC | Elf.SHF_WRITE, bytes: new Uint8Array(16) }] : []),
      { name: "license", flags: Elf.SHF_ALLOC | Elf.SHF_WRITE, bytes: new TextEncoder().encode("GPL\0") }
    ],
    symbols: [...symbols.filter(({ binding }) => binding === 0), ...symbols.filter(({ binding }) => binding !== 0)],
    relocations,
    btf,
    btfExt: infos("little", btf, lines, [], int)
  })
}

/** Writes that many files into a folder, those that are not there; their paths. */
export const linkInputs = (folder: string, count: number): ReadonlyArray<string> => {
  Fs.mkdirSync(folder, { recursive: true })
  return Array.from({ length: count }, (_, index) => {
    const path = Path.join(folder, `object_${index}.o`)
    Fs.writeFileSync(path, linkInput(index))
    return path
  })
}
