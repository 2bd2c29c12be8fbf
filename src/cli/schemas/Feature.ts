/** The document of `feature probe`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

const answers = (description: string) =>
  Field.named(Schema.NullOr(Schema.Boolean), `${description} null: it is not known of a kernel that cannot be tried.`)

/** The document. */
export const Features = Schema.Struct({
  kernel: Schema.Struct({
    name: Field.text("The kernel that was asked: live, simulated, or a profile."),
    release: Field.orNull(Field.text("The release, as uname says it.")),
    architecture: Field.orNull(Field.text("The architecture, as uname says it."))
  }).annotate({ description: "The kernel that was asked." }),
  system_config: Field.named(
    Schema.Union([Schema.Null, Schema.String, Field.integer("A setting.")]),
    "Settings, -1 where they could not be read, and options of the configuration as they are written there; null where they " +
      "are not set or were not asked for."
  ),
  syscall_config: answers("Whether there is the system call: have_bpf_syscall."),
  program_types: answers("Types of programs: have_TYPE_prog_type."),
  map_types: answers("Types of maps: have_TYPE_map_type."),
  attach_types: answers("Ways to attach: have_TYPE_attach_type."),
  kernel_features: answers("What decides how objects are loaded: have_FEATURE."),
  misc: answers("What bpftool asks besides: have_large_insn_limit."),
  helpers: Field.named(
    Schema.Array(Schema.String),
    "The helpers that programs of each type may call: TYPE_available_helpers."
  ),
  refused: Field.named(
    Schema.Struct({
      errno: Field.text("The error, by its name."),
      hint: Field.orNull(Field.text("What would help."))
    }),
    "What the kernel would not say, by section and key; there it is false, as with bpftool."
  ),
  undetermined: Field.named(
    Schema.NullOr(Schema.String),
    "What cannot be found out, by section and key, and why."
  )
})

/** The documents. */
export const documents: ByCommand = {
  "feature probe": {
    description:
      "What a kernel supports. Sections, keys and values are those of bpftool feature probe, and more of them.",
    schema: Features
  }
}
