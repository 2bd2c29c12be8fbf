/** The documents of `btf show`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import { Pids } from "./Holders.ts"
import type { ByCommand } from "./Published.ts"

/** Types that the kernel has. */
export const BtfObject = Schema.Struct({
  id: Field.count("The kernel's identifier."),
  size: Field.count("Bytes."),
  prog_ids: Field.ids("The programs that have these types, by their identifiers."),
  map_ids: Field.ids("The maps that have them."),
  pids: Pids,
  kernel: Field.flag("Whether they are the kernel's own or a module's."),
  name: Field.maybe(Field.text("vmlinux, or the name of a module; what came with programs has none."))
}).annotate({ identifier: "BtfObject", title: "Types that the kernel has" })

const show = {
  description:
    "Types that the kernel has: one document for those that were asked for, a list otherwise. Keys are those of bpftool btf show.",
  schema: Schema.Union([BtfObject, Field.list(BtfObject, "All of them, in the order of their identifiers.")])
}

/** The documents. */
export const documents: ByCommand = {
  "btf show": show,
  "btf list": show
}
