/** The documents of `kernel`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

/** A module. */
export const Module = Schema.Struct({
  name: Field.text("The module."),
  types: Field.orNull(Field.count("How many types it has.")),
  bytes: Field.orNull(Field.count("Bytes of them.")),
  problem: Field.orNull(Field.text("Why its types are not known."))
}).annotate({ identifier: "Module", title: "A module" })

const profileFields = {
  release: Field.orNull(Field.text("The release, as uname says it.")),
  architecture: Field.orNull(Field.text("The architecture, as uname says it.")),
  byte_order: Field.oneOf(["little", "big"], "The byte order."),
  page_size: Field.orNull(Field.count("Bytes of a page.")),
  possible_cpus: Field.orNull(Field.count("How many CPUs there may be.")),
  kernel_version: Field.orNull(Field.count("The version as a number.")),
  features: Field.named(
    Schema.NullOr(Schema.Boolean),
    "Features that decide how objects are loaded; null where it is not known."
  ),
  btf: Field.orNull(
    Schema.Struct({ types: Field.count("How many types it has."), bytes: Field.count("Bytes of them.") })
      .annotate({ description: "The kernel's types." })
  ),
  modules: Field.orNull(Field.list(
    Module,
    "The modules that are loaded."
  )),
  config: Field.orNull(
    Schema.Struct({ options: Field.count("How many options are set.") })
      .annotate({ description: "The kernel's configuration." })
  ),
  symbols: Field.orNull(Field.count("How many symbols are known by name.")),
  missing: Field.named(Schema.String, "Why something is null, by its key or by the file that would hold it.")
}

/** What is known of a kernel. */
export const Profile = Schema.Struct(profileFields)

/** What was written. */
export const Snapshot = Schema.Struct({
  path: Field.text("The folder."),
  files: Field.list(
    Schema.Struct({ name: Field.text("The file in it."), bytes: Field.count("Its size.") }),
    "The files."
  ),
  ...profileFields
})

/** The documents. */
export const documents: ByCommand = {
  "kernel show": { description: "What is known of a kernel.", schema: Profile },
  "kernel snapshot": { description: "The profile that was written, and what is known of the kernel.", schema: Snapshot }
}
