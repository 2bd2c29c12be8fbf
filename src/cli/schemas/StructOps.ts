/** The documents of `struct_ops`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

const identity = {
  id: Field.count("The identifier of the map that holds the struct."),
  name: Field.text("The name of the map, which the kernel keeps 15 bytes of."),
  kernel_struct_ops: Field.text("The kernel's name of the struct: tcp_congestion_ops.")
}

/** A map that holds a struct of the kernel. */
export const StructOpsMap = Schema.Struct(identity).annotate({
  identifier: "StructOpsMap",
  title: "A map that holds a struct of the kernel"
})

const show = {
  description: "Maps that hold structs of the kernel, a list in any case. Keys are those of bpftool struct_ops show.",
  schema: Field.list(StructOpsMap, "The maps.")
}

/** The documents. */
export const documents: ByCommand = {
  "struct_ops show": show,
  "struct_ops list": show,
  "struct_ops dump": {
    description:
      "What is in maps that hold structs: for each map two documents of the list, the kernel's record of it under bpf_map_info, " +
      "and its value under the name of the value's type. Members are the kernel's, by its own types. Keys are those of bpftool " +
      "struct_ops dump.",
    schema: Field.list(
      Field.named(Field.any("A struct by its type."), "One of the two."),
      "Two for each map."
    )
  },
  "struct_ops register": {
    description: "The structs that were registered. bpftool says nothing here.",
    schema: Field.list(
      Schema.Struct({
        ...identity,
        name: Field.text("What the object calls the struct."),
        link_id: Field.orNull(Field.count("The link that registers it; null where its map does.")),
        pinned: Field.orNull(Field.text("Where the link is pinned."))
      }),
      "In the order of the object."
    )
  },
  "struct_ops unregister": { description: "The structs were taken away.", schema: Field.nothing }
}
