/** The documents of `elf`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

/** Where a function is. */
export const Place = Schema.Struct({
  symbol: Field.text("The function as it was asked for; of a pattern its name."),
  offset: Field.count("Bytes from the start of the file path: what a uprobe takes."),
  path: Field.text("The file."),
  name: Field.text("The symbol's name."),
  version: Field.orNull(Field.text("The symbol's version.")),
  default_version: Field.orNull(Field.flag("Whether the version is the one that programs are linked with.")),
  address: Field.digits("The symbol's value."),
  size: Field.digits("Bytes of the function."),
  binding: Field.oneOf(["local", "global", "weak"], "The symbol's binding."),
  table: Field.text("The table that has the symbol."),
  indirect: Field.flag("Whether the function chooses another one when the program starts.")
}).annotate({ identifier: "Place", title: "Where a function is" })

/** The documents. */
export const documents: ByCommand = {
  "elf offset": {
    description: "Where functions are in a binary.",
    schema: Field.list(Place, "The functions, in the order in which they were asked for.")
  }
}
