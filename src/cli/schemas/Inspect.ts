/** The document of `inspect`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

/** One instruction of `--insns`. */
export const Insn = Schema.Struct({
  insn: Field.count("The slot in the function."),
  bytes: Field.text("The instruction's bytes in hexadecimal."),
  text: Field.text("The instruction as text, with what it refers to."),
  source: Field.orNull(
    Schema.Struct({
      file: Field.text("The file that was compiled."),
      line: Field.count("The line, from 1."),
      column: Field.count("The column, from 1; 0 where the compiler did not say."),
      text: Field.text("The line as it was compiled.")
    }).annotate({ description: "The C line that it came from." })
  )
}).annotate({ identifier: "Insn", title: "An instruction" })

const functionFields = {
  name: Field.text("The function's name."),
  section: Field.text("The section that it stands in."),
  linkage: Field.oneOf(["global", "static", "hidden"], "Who may refer to it."),
  insns: Field.count("Instruction slots of the function alone, without those that it calls."),
  disassembly: Field.orNull(Field.list(Insn, "The instructions, with --insns."))
}

/** A function that others call. */
export const Subprogram = Schema.Struct(functionFields).annotate({
  identifier: "Subprogram",
  title: "A function that others call"
})

/** A program that can be loaded on its own. */
export const Program = Schema.Struct({
  ...functionFields,
  type: Field.orNull(Field.text("The type in bpftool's words; null where the section's name says none.")),
  attach_type: Field.orNull(Field.text("The attach type in bpftool's words.")),
  attach_to: Field.orNull(Field.text("The hook, function or tracepoint that the section's name says.")),
  flags: Field.count("The flags of its load."),
  flag_names: Field.list(
    Schema.String,
    "The kernel's names of the flags; of those without one the bits, in hexadecimal."
  ),
  autoload: Field.flag("Whether it is loaded unless told otherwise.")
}).annotate({ identifier: "Program", title: "A program" })

const mapFields = {
  name: Field.text("The name in the object."),
  type: Field.text("The type in bpftool's words."),
  section: Field.text("The section that it stands in; empty for one that has none of its own."),
  origin: Field.oneOf(
    ["btf", "legacy", "data", "rodata", "bss", "kconfig", "structops"],
    "How the object defines it: in .maps, in the old manner, or as the data of a section."
  ),
  flags: Field.count("The flags of its creation."),
  flag_names: Field.list(
    Schema.String,
    "The kernel's names of the flags; of those without one the bits, in hexadecimal."
  ),
  bytes_key: Field.count("Bytes of a key."),
  bytes_value: Field.count("Bytes of a value."),
  max_entries: Field.count("The most elements; 0 where the machine decides."),
  key_type: Field.orNull(Field.text("The key's type, as C writes it.")),
  value_type: Field.orNull(Field.text("The value's type, as C writes it.")),
  numa_node: Field.count("The NUMA node that it is to lie on."),
  map_extra: Field.digits("What types have beside their sizes."),
  pinned: Field.orNull(Field.text("The path that the map is shared by.")),
  autocreate: Field.flag("Whether it is created unless told otherwise."),
  slots: Field.list(
    Schema.Struct({ slot: Field.count("The index."), holds: Field.text("The map or program in it.") }),
    "What stands in it before it is used, of maps of maps and of programs."
  ),
  struct_ops: Field.orNull(Field.text("The kernel's struct that it implements.")),
  initial_value: Field.orNull(Field.base64("The initial value of a section's data."))
}

const InnerMap = Schema.Struct({ ...mapFields, inner: Schema.Null }).annotate({
  identifier: "InnerMap",
  title: "The shape of the maps that a map holds"
})

/** A map. */
export const Map = Schema.Struct({
  ...mapFields,
  inner: Field.orNull(InnerMap)
}).annotate({ identifier: "Map", title: "A map" })

/** A global variable. */
export const Variable = Schema.Struct({
  name: Field.text("The variable's name."),
  map: Field.text("The map that holds it."),
  section: Field.text("The section that it stands in."),
  type: Field.text("Its type, as C writes it."),
  offset: Field.count("Bytes from the start of the map's value."),
  bytes: Field.count("Its size."),
  linkage: Field.oneOf(["global", "static"], "Whether other objects may refer to it."),
  value: Field.any(
    "The initial value by its type, 64-bit integers as texts of digits; null where the kernel's configuration gives it, or " +
      "where it does not fit its type."
  )
}).annotate({ identifier: "Variable", title: "A global variable" })

/** An extern. */
export const Extern = Schema.Struct({
  name: Field.text("The name."),
  kind: Field.oneOf(
    ["kconfig", "function", "variable", "address"],
    "An option of the kernel's configuration, a function or variable of the kernel, or an address without a type."
  ),
  type: Field.orNull(Field.text("Its type, as C writes it.")),
  weak: Field.flag("Whether the object can do without.")
}).annotate({ identifier: "Extern", title: "Something that the object expects of the kernel" })

/** A place in the instructions that depends on something else. */
export const Relocation = Schema.Struct({
  program: Field.text("The function that it is in."),
  insn: Field.count("The slot in the function."),
  kind: Field.oneOf(["map", "map_value", "call", "function", "jump_table", "extern"], "What it refers to."),
  target: Field.text("The name of what it refers to."),
  offset: Field.orNull(Field.integer("Bytes from the start of the map's value.")),
  variable: Field.orNull(Field.text("The variable that is there."))
}).annotate({ identifier: "Relocation", title: "A relocation" })

/** A CO-RE relocation. */
export const CoreRecord = Schema.Struct({
  section: Field.text("The section of the instruction."),
  insn: Field.count("The slot in the section."),
  kind: Field.text("What is asked of the kernel: byte_off, type_exists."),
  type: Field.text("The type, as C writes it."),
  access: Field.text("The way to the field: indexes, separated by colons.")
}).annotate({ identifier: "CoreRecord", title: "A CO-RE relocation" })

/** The object's types in numbers. */
export const Types = Schema.Struct({
  bytes: Field.count("Bytes of the section .BTF."),
  types: Field.count("How many types there are."),
  kinds: Field.named(Field.count("How many."), "Types by kind, as bpftool spells kinds."),
  func_info: Field.count("Records of functions."),
  line_info: Field.count("Records of lines."),
  core_relocations: Field.count("CO-RE relocations.")
}).annotate({ identifier: "Types", title: "The object's types in numbers" })

/** The document. */
export const Inspect = Schema.Struct({
  name: Field.text("The object's name."),
  path: Field.text("The file."),
  byte_order: Field.oneOf(["little", "big"], "The byte order."),
  license: Field.text("The license."),
  kernel_version: Field.orNull(Field.count("The kernel version that old programs ask for.")),
  programs: Field.list(Program, "Programs that can be loaded on their own."),
  subprograms: Field.list(Subprogram, "Functions that others call."),
  maps: Field.list(Map, "The maps, those of sections included."),
  variables: Field.list(Variable, "Global variables."),
  externs: Field.list(Extern, "What is expected of the kernel."),
  relocations: Field.list(Relocation, "Places in the instructions that depend on something else."),
  core_relocations: Field.list(CoreRecord, "What is asked of the kernel's types."),
  btf: Field.orNull(Types),
  notes: Field.list(Schema.String, "What is odd about the object.")
})

/** The documents. */
export const documents: ByCommand = {
  inspect: {
    description: "What is in an object. Keys are those of bpftool where it has them: bytes_key, max_entries, flags.",
    schema: Inspect
  }
}
