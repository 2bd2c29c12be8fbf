/** The documents of `map`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

/** A value that could not be read. */
const Refused = Schema.Struct({
  error: Field.text("What the kernel answered, in bpftool's words: No such file or directory.")
}).annotate({ description: "The value could not be read." })

const bytesOfCpu = Schema.Struct({
  cpu: Field.count("The CPU."),
  value: Field.hexBytes("Its value.")
})

const Formatted = Schema.Struct({
  key: Field.maybe(Field.any("The key by its type; maps without keys have none.")),
  value: Field.maybe(Field.any("The value by its type.")),
  values: Field.maybe(
    Field.list(
      Schema.Struct({ cpu: Field.count("The CPU."), value: Field.any("Its value by its type.") }),
      "The values of a per-CPU map."
    )
  )
}).annotate({
  description:
    "What the bytes are by the map's types, as bpftool writes it: integers digit for digit, enumerators by name, arrays of " +
    "characters as texts, bit fields as hexadecimal texts. Left out where the map has no types, or they do not fit."
})

/** An element of a map. */
export const Element = Schema.Struct({
  key: Field.hexBytes("The key."),
  value: Field.maybe(Schema.Union([Field.hexBytes("The value."), Refused])),
  values: Field.maybe(
    Field.list(bytesOfCpu, "The value of each possible CPU; of per-CPU maps, in the place of value.")
  ),
  inner_map_id: Field.maybe(Field.count("The map that is the value, of maps of maps.")),
  formatted: Field.maybe(Formatted)
}).annotate({ identifier: "Element", title: "An element of a map" })

/** The documents. */
export const documents: ByCommand = {
  "map dump": {
    description:
      "All elements of a map. Keys are those of bpftool map dump for a map with types: bytes and what they are.",
    schema: Field.list(Element, "The elements, in the kernel's order.")
  }
}
