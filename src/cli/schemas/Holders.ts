/** Who holds an object of the kernel, in the documents of those that show objects. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"

/** A process that holds an object. */
export const Holder = Schema.Struct({
  pid: Field.count("The number of the process."),
  comm: Field.text("Its name, which it has chosen itself.")
}).annotate({ identifier: "Holder", title: "A process that holds an object" })

/** The processes that hold an object, where some do that this user may look into. */
export const Pids = Field.maybe(
  Field.list(
    Holder,
    "The processes that have a descriptor of it, as far as this user may look into them; left out where none has."
  )
)
