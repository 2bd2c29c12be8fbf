/** Reports of CO-RE relocations: `core` and `core_relocations` of `plan`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"

/** What became of the relocations of a program. */
export const Summary = Schema.Struct({
  program: Field.text("The program."),
  relocations: Field.count("How many it has."),
  values: Field.count("How many got a value."),
  unchanged: Field.count("How many kept theirs."),
  absent: Field.count("How many ask whether there is something that is not there."),
  guarded: Field.count("How many ask for what is not there where the program never comes to."),
  reachable: Field.count("How many ask for what is not there where the program can come to."),
  unknown: Field.count("How many ask for what is not there where only the verifier can tell."),
  failed: Field.count("How many cannot be applied."),
  deferred: Field.count("How many are left to the kernel that the program is loaded on.")
}).annotate({ identifier: "CoreSummary", title: "What became of a program's CO-RE relocations" })

const candidateFields = {
  module: Field.orNull(Field.text("The module that has it; null for the kernel itself.")),
  type: Field.text("The type, as C writes it."),
  type_id: Field.count("Its identifier.")
}

/** A type of the kernel that could be meant. */
export const Candidate = Schema.Union([
  Schema.Struct({
    ...candidateFields,
    matches: Schema.Literal(true),
    path: Field.text("The field, by its names there."),
    bit_offset: Field.count("Bits from the start of the type."),
    value: Field.digits("What the relocation is by this type."),
    reason: Schema.Null,
    at: Schema.Null
  }),
  Schema.Struct({
    ...candidateFields,
    matches: Schema.Literal(false),
    path: Schema.Null,
    bit_offset: Schema.Null,
    value: Schema.Null,
    reason: Field.text("Why it is not what is meant."),
    at: Field.text("The step that it was refused at; empty for the whole type.")
  })
]).annotate({ identifier: "CoreCandidate", title: "A type of the kernel that could be meant" })

/** One relocation. */
export const Relocation = Schema.Struct({
  program: Field.text("The program that is loaded."),
  insn: Field.count("The slot in the program as it is loaded."),
  function: Field.text("The function that it was compiled in."),
  function_insn: Field.count("The slot in that function."),
  file: Field.orNull(Field.text("The file that was compiled.")),
  line: Field.orNull(Field.count("The line, from 1.")),
  column: Field.orNull(Field.count("The column, from 1.")),
  source: Field.orNull(Field.text("The line's text.")),
  kind: Field.text("What is asked: byte_off, field_exists, type_size."),
  path: Field.text("What it is asked of, by names."),
  access: Field.orNull(Field.text("The same by indexes, separated by colons.")),
  type_id: Field.count("The type in the object's types."),
  local_value: Field.orNull(Field.digits("The answer by the object's own types.")),
  value: Field.orNull(Field.digits("The answer by the kernel's types.")),
  size: Field.orNull(Field.count("Bytes of the access where they had to be changed.")),
  why: Field.orNull(Field.text("Why there is no value.")),
  verdict: Field.orNull(
    Field.oneOf(
      ["guarded", "reachable", "unknown"],
      "Whether the program can come to an instruction that was made invalid."
    )
  ),
  error: Field.orNull(Field.text("Why it cannot be applied.")),
  outcome: Field.oneOf(
    ["value", "unchanged", "absent", "poisoned", "failed", "deferred"],
    "What became of it. Absent: the program is told so; poisoned: the instruction was made invalid, for what it needs is " +
      "not there; deferred: the kernel that the program is loaded on decides."
  ),
  candidate_count: Field.count("How many types could be meant."),
  candidates: Field.list(Candidate, "Types that could be meant, at most 16 of them.")
}).annotate({ identifier: "CoreRelocation", title: "A CO-RE relocation" })
