/** The document of `core check`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"
import { Oldest } from "./Requirements.ts"

const Named = Schema.Struct({
  name: Field.text("The name."),
  path: Field.text("The file."),
  problem: Field.orNull(Field.text("Why it cannot be read."))
}).annotate({ identifier: "Named", title: "A kernel" })

const Object = Schema.Struct({
  ...Named.fields,
  oldest: Field.orNull(
    Schema.Struct({ load: Oldest, attach: Oldest }).annotate({
      description:
        "The oldest releases of Linux that it can be loaded into, and attached on; null where it cannot be opened."
    })
  )
}).annotate({ identifier: "Object", title: "An object" })

const verdict = Field.oneOf(
  ["green", "guarded", "unknown", "fatal"],
  "Green: the kernel has everything; guarded: the object's own checks keep it from using what is missing; unknown: only the " +
    "verifier can tell; fatal: the object cannot be loaded."
)

const Cell = Schema.Struct({
  object: Field.text("The object's path."),
  kernel: Field.text("The kernel's name."),
  verdict,
  relocations: Schema.Struct({
    relocations: Field.count("How many there are."),
    resolved: Field.count("Of what the kernel has."),
    guarded: Field.count("Of what it does not have, which the program is told or checks for itself."),
    unknown: Field.count("Of what only the verifier can tell."),
    fatal: Field.count("Of what the program cannot do without.")
  }).annotate({ description: "What became of its CO-RE relocations." }),
  findings: Field.ids("What was found, by its positions in findings."),
  omitted: Field.count("How many findings are left out for being too many.")
}).annotate({ identifier: "Cell", title: "An object on a kernel" })

/** Something that an object cannot have. */
export const Finding = Schema.Struct({
  object: Field.orNull(Field.text("The object's path; null for what is about the kernel alone.")),
  kernels: Field.list(Schema.String, "The kernels, by their names."),
  rule: Field.text("What kind of thing it is: field-missing."),
  verdict: Field.oneOf(["guarded", "unknown", "fatal"], "What it means for the object."),
  subject: Field.text("What the object refers to: struct task_struct.state."),
  detail: Field.text("What is wrong."),
  hint: Field.orNull(Field.text("What to do about it.")),
  programs: Field.list(Schema.String, "The programs that it is found in."),
  function: Field.orNull(Field.text("The function that has the instruction.")),
  insn: Field.orNull(Field.count("The slot in that function.")),
  file: Field.orNull(Field.text("The file that was compiled.")),
  line: Field.orNull(Field.count("The line, from 1.")),
  column: Field.orNull(Field.count("The column, from 1.")),
  source: Field.orNull(Field.text("The line's text.")),
  kinds: Field.list(Schema.String, "What is asked of the kernel: byte_off."),
  optional: Field.flag("Whether it concerns only what the object leaves out unless told otherwise."),
  candidates: Field.list(
    Schema.Struct({
      module: Field.orNull(Field.text("The module that has it; null for the kernel itself.")),
      type: Field.text("The type, as C writes it."),
      reason: Field.orNull(Field.text("Why it is not what is meant.")),
      at: Field.text("The step that it was refused at; empty for the whole type.")
    }),
    "Types of the kernel of that name."
  )
}).annotate({ identifier: "Finding", title: "Something that an object cannot have" })

const placeFields = {
  present: {
    state: Schema.Literal("present"),
    module: Field.orNull(Field.text("The module that has it; null for the kernel itself.")),
    bit_offset: Field.orNull(Field.count("Of a field: bits from the start of its outermost type.")),
    type: Field.orNull(Field.text("Of a field, function or variable, as C writes it.")),
    size: Field.orNull(Field.count("Of a type: bytes.")),
    value: Field.orNull(Field.digits("Of an enumerator."))
  },
  absent: {
    state: Schema.Literal("absent"),
    reason: Field.text("Why: no_type."),
    at: Field.text("The step that is missing.")
  },
  unclear: { state: Schema.Literal("unclear"), reason: Field.text("Why.") }
}

/** Where something is in a kernel. */
export const Place = Schema.Union([
  Schema.Struct(placeFields.present),
  Schema.Struct(placeFields.absent),
  Schema.Struct(placeFields.unclear)
])

const runFields = {
  from: Field.text("The first of these kernels."),
  to: Field.text("The last.")
}

const Run = Schema.Union([
  Schema.Struct({ ...runFields, ...placeFields.present }),
  Schema.Struct({ ...runFields, ...placeFields.absent }),
  Schema.Struct({ ...runFields, ...placeFields.unclear })
]).annotate({ identifier: "Run", title: "Kernels in which something is the same" })

/** What became of something over the kernels. */
export const History = Schema.Struct({
  what: Field.oneOf(["field", "enumerator", "type", "shape", "function", "variable"], "What it is."),
  path: Field.text("What it is called: struct task_struct.comm."),
  runs: Field.list(Run, "Kernels in which it is the same, in order."),
  changes: Field.list(
    Schema.Struct({
      before: Field.text("The kernel before."),
      after: Field.text("The kernel after."),
      kinds: Field.list(
        Field.oneOf(
          ["appeared", "gone", "renamed", "moved", "retyped", "resized", "renumbered", "elsewhere"],
          "In what way. Elsewhere: it went to a module, or from one to another."
        ),
        "In what ways it is another."
      ),
      name: Field.orNull(Field.text("What it is called in the one that does not have it under its own name."))
    }),
    "What is different between them."
  )
}).annotate({ identifier: "History", title: "What became of something over the kernels" })

/** The document. */
export const Check = Schema.Struct({
  objects: Field.list(Object, "The objects."),
  kernels: Field.list(Named, "The kernels, in order."),
  summary: Schema.Struct({
    green: Field.count("How many cells."),
    guarded: Field.count("How many cells."),
    unknown: Field.count("How many cells."),
    fatal: Field.count("How many cells.")
  }).annotate({ description: "How many cells have each verdict." }),
  cells: Field.list(Cell, "Each object on each kernel."),
  findings: Field.list(Finding, "What was found, each once."),
  history: Field.list(History, "What became of each thing that objects refer to over the kernels."),
  unchecked: Field.list(
    Schema.Struct({
      object: Field.text("The object's path."),
      what: Field.text("What it refers to."),
      kernels: Field.list(Schema.String, "The kernels that it was not checked for.")
    }),
    "What was not checked."
  )
})

/** The documents. */
export const documents: ByCommand = {
  "core check": {
    description: "Whether objects can be loaded on kernels; exit status 1 where one cannot.",
    schema: Check
  }
}
