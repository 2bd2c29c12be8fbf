/** The document of a failure, which every command prints in the place of its own. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { Published } from "./Published.ts"

const Mismatch = Field.any("A type of the object that has no partner in the base.")

const Place = Schema.Struct({
  file: Field.orNull(Field.text("The file of C.")),
  line: Field.orNull(Field.count("Counted from 1.")),
  column: Field.orNull(Field.count("The byte of the line, counted from 1.")),
  text: Field.text("The line without the blanks around it."),
  start: Field.orNull(Field.count("Where in `text` that begins which is meant.")),
  end: Field.orNull(Field.count("Where it ends."))
}).annotate({ identifier: "Place", title: "A place in C" })

const Explanation = Schema.Struct({
  cause: Field.orNull(Field.text("Why, by a name that stays the same: NullPointer.")),
  title: Field.orNull(Field.text("The cause in a few words.")),
  subject: Field.orNull(Field.text("What the complaint is about: a helper, a map.")),
  complaint: Field.text("The verifier's own words."),
  reason: Field.orNull(Field.text("Why, in a sentence: of Linux 7.3 and later.")),
  place: Field.orNull(Place),
  instruction: Field.orNull(
    Schema.Struct({
      at: Field.count("The instruction, in slots of the whole program."),
      text: Field.orNull(Field.text("Its words."))
    }).annotate({ description: "The instruction that was refused." })
  ),
  known: Field.list(
    Schema.Struct({
      name: Field.text("A register or a stack slot: r0, fp-8."),
      words: Field.text("What the verifier knew of it."),
      text: Field.text("The same as the kernel wrote it.")
    }),
    "What the verifier knew of what the instruction uses."
  ),
  related: Field.list(
    Schema.Struct({
      what: Field.text("What this place has to do with it."),
      at: Field.count("The instruction."),
      place: Field.orNull(Place)
    }),
    "Other places that the complaint speaks of."
  ),
  path: Field.list(
    Schema.Struct({
      at: Field.count("The jump."),
      condition: Field.text("What held there."),
      taken: Field.flag("Whether the jump was taken."),
      place: Field.orNull(Place)
    }),
    "The last branches on the way there, the first one first."
  ),
  path_before: Field.count("How many branches in front of them are left out."),
  advice: Field.orNull(Field.text("What to change."))
}).annotate({ description: "A program that the verifier refused, explained; of VerifierError." })

/** A failure. The error's own fields, which differ from type to type, stand beside. */
export const Failure = Schema.StructWithRest(
  Schema.Struct({
    error: Field.text("What went wrong, in words; bpftool's key."),
    type: Field.text("Which failure it is: KernelError, OpenError, UsageError."),
    hints: Field.list(Schema.String, "What to do about it."),
    explanation: Field.maybe(Explanation),
    reason: Field.maybe(Field.text("Why, by a name that stays the same: MissingCapability; of errors that tell it.")),
    capabilities: Field.maybe(Field.list(Schema.String, "The capabilities that are missing: CAP_PERFMON.")),
    attributes: Field.maybe(Field.list(
      Schema.Struct({
        attribute: Field.text("The attribute of the map, as union bpf_attr names it: max_entries."),
        value: Field.text("What was asked for."),
        reason: Field.text("Why the kernel refuses it.")
      }),
      "What of a map the kernel refuses, found by trying; of KernelError."
    )),
    mismatches: Field.maybe(Field.list(Mismatch, "What has no partner; of BtfRelocateError."))
  }),
  [Schema.Record(Schema.String, Schema.Unknown)]
)

/** The document. */
export const failure: Published = {
  description:
    "A failure: on standard output in the place of a command's own document, with exit status 1, or 2 for wrong usage. The " +
    "fields of the error stand beside the keys that all have: errno, name, section, offset.",
  schema: Failure
}
