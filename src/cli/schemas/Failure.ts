/** The document of a failure, which every command prints in the place of its own. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { Published } from "./Published.ts"

const Mismatch = Field.any("A type of the object that has no partner in the base.")

/** A failure. The error's own fields, which differ from type to type, stand beside. */
export const Failure = Schema.StructWithRest(
  Schema.Struct({
    error: Field.text("What went wrong, in words; bpftool's key."),
    type: Field.text("Which failure it is: KernelError, OpenError, UsageError."),
    hints: Field.list(Schema.String, "What to do about it."),
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
