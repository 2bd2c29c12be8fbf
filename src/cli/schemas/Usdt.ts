/** The documents of `usdt`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

const Location = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("constant"), value: Field.exact("The value.") }),
  Schema.Struct({ kind: Schema.Literal("register"), register: Field.text("The register.") }),
  Schema.Struct({
    kind: Schema.Literal("memory"),
    base: Field.text("The register that has the address."),
    offset: Field.exact("Bytes from there.")
  }),
  Schema.Struct({
    kind: Schema.Literal("indexed"),
    base: Field.text("The register that has the address."),
    index: Field.text("The register that has the index."),
    scale: Field.count("Bytes of an element."),
    offset: Field.exact("Bytes from there.")
  }),
  Schema.Struct({
    kind: Schema.Literal("symbol"),
    symbol: Field.text("The symbol that has the address."),
    offset: Field.exact("Bytes from there.")
  })
]).annotate({ identifier: "Location", title: "Where an argument is" })

/** An argument of a probe. */
export const Parameter = Schema.Struct({
  size: Field.count("Bytes."),
  signed: Field.flag("Whether it may be negative."),
  location: Location
})

/** A place of a probe. */
export const Probe = Schema.Struct({
  path: Field.text("The file."),
  provider: Field.text("The provider."),
  name: Field.text("The name."),
  address: Field.exact("The address."),
  file_offset: Field.orNull(
    Field.exact("Bytes from the start of the file; null where it is in no part that is executed.")
  ),
  semaphore: Field.orNull(
    Schema.Struct({
      address: Field.exact("The address."),
      file_offset: Field.orNull(Field.exact("Bytes from the start of the file."))
    }).annotate({ description: "What counts who listens." })
  ),
  note: Field.text("The arguments as the note has them."),
  arguments: Field.orNull(Field.list(
    Parameter,
    "The arguments; null where the note makes no sense."
  )),
  problems: Field.maybe(Field.list(Schema.String, "Why it cannot be attached to."))
}).annotate({ identifier: "Probe", title: "A place of a probe" })

/** The documents. */
export const documents: ByCommand = {
  "usdt list": {
    description: "The probes of a program, a library or a process.",
    schema: Field.list(Probe, "The places, in the order in which they are in their files.")
  }
}
