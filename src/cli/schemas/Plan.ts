/** The document of `plan`, and what others have in common with it. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"
import * as Relocations from "./Relocations.ts"
import * as Requirements from "./Requirements.ts"

/** A call of the kernel without what a plan has around it. */
export const callFields = {
  call: Field.text("The library's name of the call: MapCreate."),
  command: Field.text("The kernel's: BPF_MAP_CREATE, or another system call."),
  arguments: Field.named(
    Schema.Json,
    "The call's own fields in snake_case. Bytes are base64, 64-bit integers texts of decimal digits, references such as map#3 " +
      "positions in maps and programs."
  )
}

const Note = Schema.String

/** A step, as it is in TypeScript. */
export type StepDocument =
  | {
    readonly call: string
    readonly command: string
    readonly why: string
    readonly required: boolean
    readonly notes: ReadonlyArray<string>
    readonly arguments: { readonly [key: string]: Schema.Json }
    readonly must_equal?: Schema.Json
    readonly otherwise: ReadonlyArray<{
      readonly on: "any" | ReadonlyArray<string>
      readonly steps: ReadonlyArray<StepDocument>
    }>
  }
  | {
    readonly ensure: string
    readonly pinned_at: string
    readonly why: string
    readonly notes: ReadonlyArray<string>
    readonly must_equal: Schema.Json
    readonly otherwise: ReadonlyArray<StepDocument>
  }

const steps = (description: string) => Schema.Array(Schema.suspend(() => Step)).annotate({ description })

/** A step of a plan. */
export const Step: Schema.Codec<StepDocument> = Schema.Union([
  Schema.Struct({
    ...callFields,
    why: Field.text("What it is for."),
    required: Field.flag("Whether the load fails where the kernel refuses it."),
    notes: Field.list(Note, "What is worth knowing."),
    must_equal: Field.maybe(Field.any("What the kernel must answer.")),
    otherwise: Field.list(
      Schema.Struct({
        on: Schema.Union([Schema.Literal("any"), Schema.Array(Schema.String)]).annotate({
          description: "The errors that lead here, by their names."
        }),
        steps: steps("What is done then.")
      }),
      "What is done instead where the kernel refuses it."
    )
  }).annotate({ title: "A call" }),
  Schema.Struct({
    ensure: Field.text("The map that is there when this step is done: map#3."),
    pinned_at: Field.text("The pin that it is shared by."),
    why: Field.text("What it is for."),
    notes: Field.list(Note, "What is worth knowing."),
    must_equal: Field.any("What a map that is there must be like."),
    otherwise: steps("What is done where there is none.")
  }).annotate({ title: "A map that is shared" })
]).annotate({ identifier: "Step", title: "A step of a plan" })

const fact = (description: string) =>
  Schema.Json.annotate({
    description: `${description} null: not asked for; deferred: left to the kernel that it is done on.`
  })

/** What a plan was made for. */
export const Kernel = Schema.Struct({
  name: Field.text("The kernel's name: live, simulated, or a profile's."),
  release: Field.orNull(Field.text("The release, as uname says it.")),
  architecture: Field.orNull(Field.text("The architecture, as uname says it.")),
  byte_order: Field.oneOf(["little", "big"], "The byte order."),
  page_size: fact("Bytes of a page."),
  possible_cpus: fact("How many CPUs there may be."),
  kernel_version: fact("The version as a number."),
  kconfig: Field.named(Schema.Json, "Options of its configuration that the object reads."),
  features: Field.named(Schema.Json, "Features that decide how the object is loaded, and whether the kernel has them."),
  symbols: Field.named(Schema.Json, "Addresses of its symbols that the object refers to, in hexadecimal.")
}).annotate({ identifier: "Kernel", title: "The kernel that the plan is for" })

/** Something that could not be found out. */
export const Assumed = Schema.Struct({
  what: Field.text("What was assumed, as a person would name it."),
  value: Field.text("The value."),
  why: Field.text("Why the kernel did not say.")
}).annotate({ identifier: "Assumed", title: "Something that was assumed" })

/** The document. */
export const Plan = Schema.Struct({
  object: Schema.Struct({ name: Field.text("The object's name."), path: Field.text("The file.") })
    .annotate({ description: "The object." }),
  kernel: Kernel,
  maps: Field.list(Schema.String, "The maps by their positions: map#0 is the first."),
  programs: Field.list(Schema.String, "The programs by their positions."),
  assumed: Field.list(Assumed, "What could not be found out."),
  requirements: Requirements.Requirements,
  steps: Field.list(Step, "The calls, in order."),
  core: Field.list(Relocations.Summary, "What became of the CO-RE relocations of each program that has some."),
  core_relocations: Field.list(Relocations.Relocation, "Each of them.")
})

/** The documents. */
export const documents: ByCommand = {
  plan: { description: "The kernel calls that a load would make, in order, each with its reason.", schema: Plan }
}
