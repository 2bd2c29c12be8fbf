/** The documents of `run` and `prog run`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

const bytes = (description: string) =>
  Field.list(Field.count("A byte."), `${description} Numbers from 0 to 255, as with bpftool.`)

const runFields = {
  data_out: Field.maybe(bytes("The packet that came back; where one did.")),
  ctx_out: Field.maybe(bytes("The context that came back; where one did.")),
  retval: Field.integer("What the program returned."),
  action: Field.maybe(Field.text("What that means to the program's hook: XDP_PASS.")),
  duration: Field.integer("Nanoseconds of a run, on average.")
}

const Line = Schema.Struct({
  line: Field.count("The line, from 1."),
  count: Field.count("How often an instruction of it ran, the one that ran most."),
  text: Field.text("Its text.")
})

const seenFields = {
  printk: Field.maybe(Field.list(Schema.String, "What programs printed; of a simulated kernel, where they did.")),
  coverage: Field.maybe(Field.list(
    Schema.Struct({
      file: Field.text("A file that was compiled."),
      covered: Field.count("Lines of it that ran."),
      total: Field.count("Lines of it that could."),
      percent: Field.number("How many of hundred that are."),
      lines: Field.list(Line, "The lines.")
    }),
    "What ran, with --coverage."
  ))
}

/** What a simulated kernel has seen beside the runs. */
export const Seen = Schema.Struct(seenFields)

/** A run on a packet of a capture. */
export const Packet = Schema.Struct({
  frame: Field.maybe(Field.count("The packet's number in the capture, from 0.")),
  ...runFields
})

/** One run, or those on the packets of a capture. */
export const Run = Schema.Union([
  Schema.Struct({ ...runFields, ...seenFields }).annotate({ title: "One run" }),
  Schema.Struct({
    packets: Field.list(Packet, "The runs on the packets of a capture."),
    ...seenFields
  }).annotate({ title: "Runs on a capture" })
])

/** The documents. */
export const documents: ByCommand = {
  run: {
    description:
      "What a program returned, once or for each packet of a capture. Keys of a run are those of bpftool prog run.",
    schema: Run
  },
  "prog run": {
    description: "What a program returned. Keys are those of bpftool prog run.",
    schema: Schema.Struct(runFields)
  }
}
