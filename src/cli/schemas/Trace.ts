/** The documents of `trace`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

/** What was attached. */
export const Attached = Schema.Struct({
  attached: Field.list(
    Schema.Struct({
      program: Field.text("The program, or the struct_ops map."),
      kind: Field.text("How it is attached: kprobe, xdp."),
      target: Field.text("What it is attached to."),
      means: Field.text("What the kernel was asked for it with: link, netlink."),
      link_id: Field.orNull(Field.count("The link's identifier; null where no link attaches it."))
    }),
    "What is attached."
  ),
  skipped: Field.list(
    Schema.Struct({
      program: Field.text("The program."),
      section: Field.text("The section that it stands in."),
      because: Field.text("Why it is not attached.")
    }),
    "What is not."
  )
}).annotate({ title: "What was attached: the first document" })

/** A record. */
export const Record = Schema.Struct({
  time: Field.text("When it was read: ISO 8601, in UTC."),
  map: Field.text("The buffer."),
  cpu: Field.orNull(Field.count("The CPU that it came from; of perf buffers.")),
  type: Field.orNull(Field.text("Its type, as C names it.")),
  value: Field.any("It by its type, 64-bit integers as texts of digits; null where it has none."),
  bytes: Field.orNull(Field.base64("Its bytes where it has no type."))
}).annotate({ title: "A record that a program has sent" })

/** The end. */
export const Summary = Schema.Struct({
  records: Field.count("How many records were printed."),
  maps: Field.list(
    Schema.Struct({
      map: Field.text("The buffer."),
      type: Field.text("Its type in bpftool's words."),
      records: Field.count("How many records were read of it."),
      lost: Field.orNull(Field.digits("How many were lost; null where nobody counts.")),
      lost_by_cpu: Field.list(
        Schema.Struct({ cpu: Field.count("The CPU."), lost: Field.digits("How many.") }),
        "How many were lost by CPU; of perf buffers."
      )
    }),
    "What was read of each buffer."
  )
}).annotate({ title: "What was read: the last document" })

/** The documents. */
export const documents: ByCommand = {
  trace: {
    description: "What was attached, then each record that programs send, then what was read.",
    schema: Schema.Union([Attached, Record, Summary]),
    lines: true
  }
}
