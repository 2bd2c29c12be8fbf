/**
 * Why bytes that are an ELF file are not an object that can be opened.
 */
import * as Schema from "effect/Schema"

/** An object that breaks the rules of BPF objects, or asks for something that this library does not open. */
export class OpenError extends Schema.TaggedError<OpenError>()("OpenError", {
  reason: Schema.Literals([
    /** An ELF file, but not a relocatable BPF one. */
    "NotBpf",
    /** No symbol table, or two. */
    "SymbolTable",
    /** A section whose contents cannot be what its name says. */
    "Section",
    /** A function symbol that does not delimit whole instructions, or bytes that are no instructions. */
    "Program",
    /** A map definition that cannot be read, or that contradicts itself. */
    "MapDefinition",
    /** A map definition with a member or a shape that is not understood. */
    "UnsupportedMapDefinition",
    /** An object of the time before BTF-defined maps, refused as the options ask. */
    "LegacyMaps",
    /** A data section that its BTF does not describe. */
    "Datasec",
    /** An extern that cannot be looked up by what the object says of it. */
    "Extern",
    /** A struct_ops variable that is not a struct of function pointers and values. */
    "StructOps",
    /** A relocation that points nowhere, or stands at an instruction that cannot have one. */
    "Relocation",
    /** Something that needs BTF in an object that has none. */
    "MissingBtf"
  ]),
  /** The ELF section that the fault is in. */
  section: Schema.optionalKey(Schema.String),
  /** Bytes from the start of that section. */
  offset: Schema.optionalKey(Schema.Number),
  /** The symbol, map, variable or member that the fault is about. */
  name: Schema.optionalKey(Schema.String),
  detail: Schema.String,
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const where = this.section === undefined
      ? ""
      : `section ${this.section}${this.offset === undefined ? "" : ` at byte ${this.offset}`}: `
    // Every error has a name, the class's, where none was given.
    const who = Object.hasOwn(this, "name") ? `${this.name}: ` : ""
    return `${where}${who}${this.detail}${this.hint === undefined ? "" : `\nhint: ${this.hint}`}`
  }
}

/** Whether something thrown is an `OpenError`. */
export const isOpenError = (thrown: unknown): thrown is OpenError => thrown instanceof OpenError
