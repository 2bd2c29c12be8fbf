/** The documents of `perf`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

/** A descriptor that traces something by a program. */
export const Traced = Schema.Struct({
  pid: Field.count("The number of the process."),
  fd: Field.count("Its descriptor."),
  prog_id: Field.count("The program's identifier."),
  fd_type: Field.maybe(
    Field.oneOf(
      ["raw_tracepoint", "tracepoint", "kprobe", "kretprobe", "uprobe", "uretprobe"],
      "What it traces; left out where the kernel says what has no name."
    )
  ),
  tracepoint: Field.maybe(Field.text("The tracepoint.")),
  func: Field.maybe(Field.text("The kernel's function that is probed.")),
  addr: Field.maybe(Field.exact("The address that is probed, in the place of a function.")),
  filename: Field.maybe(Field.text("The file that is probed.")),
  offset: Field.maybe(Field.exact("Bytes from the beginning of the function, or of the file."))
}).annotate({ identifier: "Traced", title: "A descriptor that traces something by a program" })

const show = {
  description: "What processes trace by programs. Keys are those of bpftool perf show.",
  schema: Field.list(Traced, "In the order of processes, then of descriptors.")
}

/** The documents. */
export const documents: ByCommand = {
  "perf show": show,
  "perf list": show
}
