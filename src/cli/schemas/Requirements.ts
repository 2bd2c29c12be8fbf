/** What an object needs of the kernel: parts of documents. */
import * as Schema from "effect/Schema"
import { type Kind, kinds } from "../../diagnostics/requirements/Requirement.ts"
import * as Field from "./Field.ts"

const isKind = (name: string): name is Kind => Object.hasOwn(kinds, name)

const release = (description: string) => Field.orNull(Field.text(description))

/** One thing that is needed. */
export const Requirement = Schema.Struct({
  kind: Field.oneOf(Object.keys(kinds).filter(isKind), "What it is."),
  name: Field.text("As the kernel spells it: bpf_ringbuf_output, BPF_MAP_TYPE_RINGBUF."),
  description: Field.orNull(Field.text("More words.")),
  module: Field.orNull(Field.text("The module that has it, where the kernel itself does not.")),
  since: release("The oldest release of mainline Linux that has it; null where that is not known."),
  after: release("Where that is not known: a release that does not have it yet."),
  by: release("Where that is not known: a release that has it."),
  when: Field.oneOf(["load", "attach"], "When it is needed."),
  required: Field.flag("Whether a kernel without it does not do."),
  otherwise: Field.orNull(Field.text("What makes a kernel without it do.")),
  count: Field.count("How many places need it."),
  uses: Field.list(
    Schema.Struct({
      program: Field.orNull(Field.text("The program.")),
      map: Field.orNull(Field.text("The map.")),
      function: Field.orNull(Field.text("The function that has the instruction.")),
      insn: Field.orNull(Field.count("The slot in that function.")),
      file: Field.orNull(Field.text("The file that was compiled.")),
      line: Field.orNull(Field.count("The line, from 1.")),
      column: Field.orNull(Field.count("The column, from 1.")),
      source: Field.orNull(Field.text("The line's text."))
    }),
    "The first of these places."
  )
}).annotate({ identifier: "Requirement", title: "Something that an object needs of the kernel" })

/** The oldest kernel. */
export const Oldest = Schema.Struct({
  release: release("The release of mainline Linux; null where nothing is needed whose release is known."),
  because: Field.list(Schema.String, "What came with that release."),
  open: Field.list(Schema.String, "What came with a release that is not known: the oldest may be newer.")
}).annotate({ identifier: "Oldest", title: "The oldest kernel that does" })

/** All that an object needs. */
export const Requirements = Schema.Struct({
  oldest: Schema.Struct({ load: Oldest, attach: Oldest }).annotate({
    description: "The oldest kernels that the object can be loaded into, and attached on."
  }),
  lacking: Field.list(
    Schema.String,
    "What of it the kernel that the plan is for does not have, by its release; that kernel may have it all the same."
  ),
  needs: Field.list(Requirement, "What is required first, the newest of it first.")
}).annotate({ identifier: "Requirements", title: "What an object needs of the kernel" })
