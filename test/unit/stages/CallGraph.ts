/** Objects of functions that call each other, made without a file. */
import * as Encode from "../../../src/insn/Encode.ts"
import type { BpfObject, Program, Relocation } from "../../../src/stages/open/BpfObject.ts"
import { code } from "./ObjectBuilder.ts"

/** What stands in a function: plain instructions, a call of a function by its number, or its address. */
export type Part =
  | { readonly _tag: "Plain"; readonly value: number }
  | { readonly _tag: "Load"; readonly value: number }
  | { readonly _tag: "Call"; readonly to: number }
  | { readonly _tag: "Address"; readonly of: number }

/** The section of entry programs, and that of subprograms. */
export const entrySection = 1
export const textSection = 2

/** A program as opening would make it. */
export const program = (fields: Partial<Program> & Pick<Program, "name" | "insns">): Program => ({
  section: "socket",
  sectionIndex: entrySection,
  sectionSlot: 0,
  sectionSlots: fields.insns.length / 8,
  relocations: [],
  entry: true,
  global: true,
  hidden: false,
  autoload: true,
  optional: false,
  type: 1,
  expectedAttachType: 0,
  flags: 0,
  ifindex: 0,
  definition: undefined,
  attachTarget: undefined,
  logLevel: 0,
  ...fields
})

/** An object as opening would make it, of these programs. */
export const object = (programs: ReadonlyArray<Program>, more: Partial<BpfObject> = {}): BpfObject => ({
  name: "made",
  byteOrder: "little",
  license: "GPL",
  kernelVersion: undefined,
  programs,
  maps: [],
  externs: [],
  btf: undefined,
  btfExt: undefined,
  notes: [],
  ...more
})

const slotsOf = (part: Part): number => part._tag === "Load" || part._tag === "Address" ? 2 : 1

/** Function 0 is the entry program, all others are subprograms in one section, one after another. */
export const make = (functions: ReadonlyArray<ReadonlyArray<Part>>): BpfObject => {
  const lengths = functions.map((parts) => parts.reduce((sum, part) => sum + slotsOf(part), 1))
  const starts: Array<number> = []
  let end = 0
  for (const [index, length] of lengths.entries()) {
    starts.push(index === 0 ? 0 : end)
    if (index > 0) end += length
  }
  return object(functions.map((parts, index) => {
    const relocations: Array<Relocation> = []
    let at = 0
    const leadsTo = (target: number) => ({
      section: target === 0 ? entrySection : textSection,
      slot: starts[target] ?? 0
    })
    const insns = code(
      ...parts.map((part) => {
        const here = at
        at += slotsOf(part)
        switch (part._tag) {
          case "Plain":
            return Encode.mov64Imm(0, part.value)
          case "Load":
            return Encode.ldImm64(1, BigInt(part.value))
          case "Call":
            relocations.push({ _tag: "Call", at: here, ...leadsTo(part.to) })
            return Encode.callSubprogram(-1)
          case "Address":
            relocations.push({ _tag: "Function", at: here, ...leadsTo(part.of) })
            return Encode.ldImm64(2, 0)
        }
      }),
      Encode.exit()
    )
    const isEntry = index === 0
    return program({
      name: `f${index}`,
      insns,
      section: isEntry ? "socket" : ".text",
      sectionIndex: isEntry ? entrySection : textSection,
      sectionSlot: starts[index] ?? 0,
      relocations,
      entry: isEntry
    })
  }))
}
