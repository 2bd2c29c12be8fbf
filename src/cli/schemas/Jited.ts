/** Machine code of programs. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"

const Insn = Schema.Struct({
  src: Field.maybe(Field.text("The C line that begins here.")),
  file: Field.maybe(Field.text("Its file; with linum.")),
  line_num: Field.maybe(Field.count("Its number; with linum.")),
  line_col: Field.maybe(Field.count("Its column; with linum.")),
  pc: Schema.String.check(Schema.isPattern(/^0x[0-9a-f]+$/u)).annotate({
    description: "Bytes from the beginning of the function."
  }),
  operation: Field.text("The mnemonic, with its prefixes."),
  operands: Field.list(
    Schema.NullOr(Schema.String),
    "The operands in the order of AT&T on x86-64; one null where there are none."
  ),
  opcodes: Field.maybe(Field.hexBytes("The bytes of the instruction; with opcodes."))
}).annotate({ identifier: "MachineInstruction", title: "An instruction of the processor" })

/** A function of machine code. */
export const Jited = Schema.Struct({
  proto: Field.maybe(Field.text("The function as C would declare it.")),
  name: Field.text("The kernel's symbol; the address where there is none; unknown where that is hidden."),
  insns: Field.maybe(Field.list(Insn, "The instructions, where there is something to take them apart with.")),
  opcodes: Field.maybe(Field.hexBytes("The bytes of the function, where there is not."))
}).annotate({ identifier: "MachineFunction", title: "A function of machine code" })
