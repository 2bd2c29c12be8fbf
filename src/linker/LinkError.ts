/** The error of the linker: what is wrong, in which file, and what to do about it. */
import * as Schema from "effect/Schema"

/** One side of a conflict: what a file says of a symbol. */
const Side = Schema.Struct({
  file: Schema.String,
  section: Schema.optionalKey(Schema.String),
  /** What the symbol is there, as C or in words. */
  definition: Schema.String
})

/** One side of a conflict: which file, which section, and what the symbol is there, as C or in words. */
export type LinkSide = typeof Side.Type

/**
 * Objects that cannot be linked.
 *
 * - `Elf`: no ELF file, or a malformed one
 * - `NotBpf`: an ELF file, but no relocatable BPF object of 64 bits
 * - `ByteOrder`: another byte order than that of the files before
 * - `SymbolTable`: no symbol table, or two
 * - `Section`: a section that breaks the rules of BPF objects, or of a type that a linker cannot merge
 * - `Symbol`: a symbol that breaks the rules of BPF objects
 * - `Relocation`: a relocation that points nowhere, stands nowhere, or is of a type that a linker cannot move
 * - `Btf`: `.BTF` or `.BTF.ext` are malformed, or contradict the file's sections and symbols
 * - `MissingBtf`: types are needed, to declare an extern or to compare two mentions of a symbol, and there are none
 * - `Ambiguous`: the types of one file describe a symbol twice, and differently
 * - `SectionMismatch`: two files have a section of one name that cannot be merged, or a symbol in two sections
 * - `License`: licenses, or versions of the kernel, that do not go together
 * - `Duplicate`: two files define a symbol, and neither definition is weak
 * - `Incompatible`: two files have a symbol with types, or as a map with properties, that differ
 * - `Unresolved`: a final link in which nobody defines what is declared extern
 * - `TooLarge`: the result is more than an object can hold, or comparing types is out of proportion to them
 * - `NoInput`: nothing was added
 * - `Finished`: the linker has made its result
 * - `Failed`: an earlier file could not be added, and what the linker holds is incomplete
 */
export class LinkError extends Schema.TaggedError<LinkError>()("LinkError", {
  reason: Schema.Literals([
    "Elf",
    "NotBpf",
    "ByteOrder",
    "SymbolTable",
    "Section",
    "Symbol",
    "Relocation",
    "Btf",
    "MissingBtf",
    "Ambiguous",
    "SectionMismatch",
    "License",
    "Duplicate",
    "Incompatible",
    "Unresolved",
    "TooLarge",
    "NoInput",
    "Finished",
    "Failed"
  ]),
  /** The name of the input. */
  file: Schema.optionalKey(Schema.String),
  section: Schema.optionalKey(Schema.String),
  /** The symbol, by name where it has one, else by index. */
  symbol: Schema.optionalKey(Schema.String),
  /** Bytes from the start of the section, or of the file where no section is given. */
  offset: Schema.optionalKey(Schema.Number),
  /** What is wrong, as a clause. */
  detail: Schema.String,
  /** Both sides of a conflict. */
  sides: Schema.optionalKey(Schema.Array(Side)),
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const where: Array<string> = []
    if (this.file !== undefined) where.push(this.file)
    if (this.section !== undefined) where.push(`section ${this.section}`)
    if (this.symbol !== undefined) where.push(this.symbol)
    const place = where.length === 0 ? "" : `${where.join(": ")}: `
    const offset = this.offset === undefined ? "" : ` (at byte ${this.offset})`
    const sides = (this.sides ?? []).map(({ definition, file, section }) =>
      `\n  ${file}${section === undefined ? "" : `, section ${section}`}:\n${indented(definition)}`
    )
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return place + this.detail + offset + sides.join("") + hint
  }
}

const indented = (text: string): string => text.split("\n").map((line) => `    ${line}`).join("\n")

/** What a `LinkError` may carry beside its reason and detail. */
export type LinkErrorPlace = Omit<ConstructorParameters<typeof LinkError>[0], "reason" | "detail">

/** Throws a `LinkError`; for the inside of this folder, whose public functions catch it with `attempt`. */
export const refuse: (reason: LinkError["reason"], detail: string, place?: LinkErrorPlace) => never = (
  reason,
  detail,
  place = {}
) => {
  throw new LinkError({ ...place, reason, detail })
}

/** Whether a thrown value is a `LinkError`; for `attempt`. */
export const isLinkError = (thrown: unknown): thrown is LinkError => thrown instanceof LinkError
