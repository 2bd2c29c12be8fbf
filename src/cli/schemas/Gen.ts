/** The documents of `gen`. */
import * as Schema from "effect/Schema"
import * as LoaderProgram from "../../stages/gen/LoaderProgram.ts"
import { Blob, Change } from "./Btf.ts"
import * as Field from "./Field.ts"
import { callFields } from "./Plan.ts"
import type { ByCommand } from "./Published.ts"

/** Types in numbers. */
export const Count = Schema.Struct({
  bytes: Field.count("Bytes of the types."),
  types: Field.count("How many there are."),
  bytes_strings: Field.count("Bytes of their strings.")
}).annotate({ identifier: "TypeCount", title: "Types in numbers" })

/** The map of a link. */
export const Linked = Schema.Struct({
  output: Schema.Struct({ path: Field.text("The file that was written."), bytes: Field.count("Its size.") })
    .annotate({ description: "The output." }),
  relocatable: Field.flag("Whether it may be linked again."),
  inputs: Field.list(
    Schema.Struct({ path: Field.text("The file."), bytes: Field.count("Its size.") }),
    "What was linked."
  ),
  license: Field.orNull(
    Schema.Struct({ text: Field.text("The license."), files: Field.list(Schema.String, "The files that have it.") })
      .annotate({ description: "The license; null where no file has one." })
  ),
  types: Field.orNull(
    Schema.Struct({ before: Count, after: Count }).annotate({
      description: "The types before and after they were merged."
    })
  ),
  sections: Field.list(
    Schema.Struct({
      name: Field.text("The name."),
      kind: Field.oneOf(
        ["data", "code", "zeros", "relocations", "declared"],
        "What is in it. Declared: it is in the types alone, for variables that the kernel gives."
      ),
      index: Field.count("The number in the file; 0 for one that is declared only."),
      size: Field.count("Bytes."),
      alignment: Field.count("Bytes that it starts at a multiple of."),
      parts: Field.list(
        Schema.Struct({
          path: Field.text("The file that it came from."),
          offset: Field.count("Bytes from the start of the section."),
          size: Field.count("Bytes of it."),
          left_out: Field.count("Bytes of the file's section that were left out.")
        }),
        "What it was made of."
      )
    }),
    "The sections."
  ),
  symbols: Field.list(
    Schema.Struct({
      name: Field.text("The name."),
      section: Field.orNull(Field.text("The section that it is in; null for an extern without one.")),
      offset: Field.count("Bytes from the start of the section."),
      size: Field.count("Bytes."),
      why: Field.oneOf(
        ["only", "strong", "firstWeak", "extern"],
        "Why the mention that counts does: the only definition; strong beside weak ones; the first of several weak ones; " +
          "extern, because nobody defines it."
      ),
      mentions: Field.list(
        Schema.Struct({
          path: Field.text("The file."),
          section: Field.orNull(Field.text("Its section.")),
          kind: Field.oneOf(["definition", "extern"], "What the file says of it."),
          weak: Field.flag("Whether it is weak."),
          hidden: Field.flag("Whether other objects may refer to it."),
          counts: Field.flag("Whether the symbol is this one."),
          left_out: Field.flag("Whether the bytes of a definition that does not count were left out.")
        }),
        "What the files say of it."
      )
    }),
    "The global symbols."
  )
})

/** What gen min_core_btf wrote. */
export const MinCoreBtf = Schema.Struct({
  input: Field.text("The kernel's types."),
  output: Blob,
  types: Change,
  bytes: Change,
  modules: Field.list(Schema.String, "Modules that types were taken of."),
  objects: Field.list(
    Schema.Struct({
      path: Field.text("The object."),
      relocations: Field.count("How many CO-RE relocations it has."),
      target_type_ids: Field.count("How many of its relocations ask for the identifier of a type."),
      problems: Field.list(
        Schema.Struct({
          section: Field.text("The section of the relocation."),
          record: Field.orNull(Field.count("Its number there.")),
          insn: Field.orNull(Field.count("The slot in the section.")),
          kind: Field.orNull(Field.text("What is asked: byte_off.")),
          path: Field.orNull(Field.text("What it is asked of.")),
          reason: Field.text("What is wrong, by the library's name."),
          error: Field.text("What is wrong, in words.")
        }),
        "Relocations that cannot be followed."
      )
    }),
    "The objects."
  )
})

const Published = Schema.Struct({
  name: Field.text("The name."),
  published: Field.flag("Whether the loader hands it out.")
})

/** What gen loader wrote. */
export const Recorded = Schema.Struct({
  output: Field.text("The file that was written."),
  object: Field.text("The object."),
  byte_order: Field.oneOf(["little", "big"], "The byte order."),
  instructions: Field.count("Slots of the loader."),
  data_bytes: Field.count("Bytes of its data."),
  context_size: Field.count("Bytes of the context that it is run on."),
  maps: Field.list(Published, "The maps that it creates."),
  programs: Field.list(Published, "The programs that it loads."),
  inputs: Field.list(Schema.String, "What it has to be told of the machine, by kind."),
  signed: Field.flag("Whether it is signed."),
  notes: Field.list(Schema.String, "What is worth knowing.")
})

/** Where a loader does something else than is planned. */
export const Difference = Schema.Union([
  Schema.Struct({
    difference: Field.oneOf(["missing", "added"], "Whether a planned call is missing, or was made besides."),
    position: Field.count("Where, in calls from the first."),
    ...callFields
  }),
  Schema.Struct({
    difference: Schema.Literal("changed"),
    position: Field.count("Where, in calls from the first."),
    call: Field.text("The call."),
    fields: Field.list(
      Schema.Struct({
        path: Field.list(Schema.String, "The way to the argument."),
        planned: Field.any("What is planned."),
        made: Field.any("What was given.")
      }),
      "Arguments that are others."
    )
  })
]).annotate({ identifier: "Difference", title: "Where a loader does something else than is planned" })

/** What a replay came to. */
export const Replay = Schema.Struct({
  path: Field.text("The loader."),
  kernel: Field.orNull(
    Field.text("The kernel that it ran on; null for none: every call was answered as if it had worked.")
  ),
  byte_order: Field.oneOf(["little", "big"], "The byte order."),
  retval: Field.integer("What the loader returned: 0, or an error number, negative."),
  calls: Field.list(Schema.Struct(callFields), "The kernel calls that it made, in order."),
  maps: Field.list(
    Schema.Struct({
      name: Field.text("The name."),
      ref: Field.text("What the calls name it: map#0."),
      values: Field.count("How many elements it is filled with."),
      frozen: Field.flag("Whether user space cannot change it after."),
      published: Field.flag("Whether the loader hands it out.")
    }),
    "The maps."
  ),
  programs: Field.list(
    Schema.Struct({
      name: Field.text("The name."),
      ref: Field.text("What the calls name it: prog#0."),
      published: Field.flag("Whether the loader hands it out.")
    }),
    "The programs."
  ),
  symbols: Field.list(
    Schema.Struct({ name: Field.text("The name."), kind: Field.text("What it is: a kind of BTF by name, or ksym.") }),
    "Symbols of the kernel that it looks up."
  ),
  inputs: Field.list(
    Schema.Struct({
      offset: Field.count("Bytes from the start of the context."),
      size: Field.count("Bytes."),
      what: Field.text("What is there.")
    }),
    "What it reads of its context."
  ),
  printed: Field.list(Schema.String, "What it printed."),
  leaked: Field.list(Schema.String, "What it opened and neither closed nor handed out."),
  stray_closes: Field.count("How often it closed what was not open."),
  diff: Field.maybe(
    Schema.Struct({
      object: Field.text("The object."),
      differences: Field.list(Difference, "Where its calls are not those of the object's plan; none when they are.")
    }).annotate({ description: "The comparison with a plan, with --diff." })
  )
})

const skeletonFields = {
  name: Field.text("What all names begin with."),
  language: Field.oneOf(["c", "ts"], "The language."),
  maps: Field.list(Schema.String, "The maps."),
  programs: Field.list(Schema.String, "The programs."),
  notes: Field.list(Schema.String, "What is worth knowing.")
}

const skeleton = (description: string) => ({
  description,
  schema: Schema.Union([
    Schema.Struct({ ...skeletonFields, output: Field.text("The file that was written.") }).annotate({
      title: "With --output"
    }),
    Schema.Struct({ ...skeletonFields, text: Field.text("The text.") }).annotate({ title: "Without --output" })
  ])
})

/** Whose signature it is. */
export const Verified = Schema.Struct({
  path: Field.text("The loader."),
  valid: Schema.Literal(true).annotate({ description: "A signature that is not valid is a failure." }),
  subject: Field.text("Whose key it is, by the certificate."),
  key_identifier: Field.text("The key's identifier, in hexadecimal."),
  covers: Field.oneOf(["insns_and_data", "insns"], "What is signed: instructions alone check their data."),
  signature_bytes: Field.count("Bytes of the signature."),
  exclusive_hash: Field.text("The hash of the instructions that the data may be read by, in hexadecimal.")
})

/** The documents. */
export const documents: ByCommand = {
  "gen object": { description: "What was linked, and the map of it.", schema: Linked },
  "gen skeleton": skeleton("A skeleton of an object, or what was written."),
  "gen subskeleton": skeleton("A skeleton of a library, or what was written."),
  "gen loader": {
    description: "What was recorded. Without --output the loader itself, as the file would have it.",
    schema: Schema.Union([
      Recorded.annotate({ title: "With --output" }),
      Schema.toEncoded(LoaderProgram.codec).annotate({
        title: "Without --output",
        description: "The loader. docs/loader.md tells what a runner does with it."
      })
    ])
  },
  "gen replay": {
    description:
      "The kernel calls that a loader makes, and what it leaves; exit status 1 where it fails, or differs from a plan.",
    schema: Replay
  },
  "gen verify": { description: "Whose signature a loader has. Another one is a failure.", schema: Verified },
  "gen min_core_btf": { description: "The types that were written, and what each object needs.", schema: MinCoreBtf }
}
