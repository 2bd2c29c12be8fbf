/** The documents of `map`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import { Pids } from "./Holders.ts"
import { Device, Pins, typeName } from "./Prog.ts"
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

/** A map of the kernel. */
export const Map = Schema.Struct({
  id: Field.count("The kernel's identifier."),
  type: typeName("The type."),
  name: Field.maybe(Field.text("The name.")),
  flags: Field.count("The flags of its creation."),
  dev: Field.maybe(Device),
  bytes_key: Field.count("Bytes of a key."),
  bytes_value: Field.count("Bytes of a value."),
  max_entries: Field.count("The most elements."),
  bytes_memlock: Field.maybe(Field.exact("Bytes of memory that are charged for it.")),
  owner_prog_type: Field.maybe(typeName("The type of the programs that a program array takes.")),
  owner_jited: Field.maybe(Field.flag("Whether those are compiled to machine code.")),
  frozen: Field.maybe(Field.count("1 where user space cannot change it any more.")),
  btf_id: Field.maybe(Field.count("The identifier of its types.")),
  pinned: Field.maybe(Pins),
  pids: Pids
}).annotate({ identifier: "Map", title: "A map of the kernel" })

const show = {
  description:
    "Maps of the kernel: one document for a map that was asked for, a list otherwise. Keys are those of bpftool map show; " +
    "what does not apply is left out, as there.",
  schema: Schema.Union([Map, Field.list(Map, "All maps, or those that have the name.")])
}

const nothing = (description: string) => ({
  description: `${description} There is nothing to say, as with bpftool.`,
  schema: Field.nothing
})

const pipeFields = {
  type: Field.count("The kind of record, PERF_RECORD_*: 9 is what a program sent, 2 a loss."),
  cpu: Field.count("The CPU that it came from."),
  index: Field.count("The index in the map.")
}

const Piped = Schema.Union([
  Schema.Struct({ ...pipeFields, data: Field.hexBytes("Its bytes.") }).annotate({ title: "A record" }),
  Schema.Struct({
    ...pipeFields,
    lost: Schema.Struct({ lost: Field.digits("How many records.") }).annotate({ description: "The loss." })
  }).annotate({ title: "Records that were lost" })
])

/** The documents. */
export const documents: ByCommand = {
  "map show": show,
  "map list": show,
  "map dump": {
    description:
      "All elements of a map. Keys are those of bpftool map dump for a map with types: bytes and what they are.",
    schema: Field.list(Element, "The elements, in the kernel's order.")
  },
  "map lookup": {
    description: "The element of a key, with bpftool's keys; null, with exit status 1, where the map has none.",
    schema: Schema.Union([Element, Schema.Null])
  },
  "map getnext": {
    description: "The key behind a key, with bpftool's keys; null, with exit status 1, where there is none.",
    schema: Schema.Union([
      Schema.Struct({
        key: Field.orNull(Field.hexBytes("The key that was given; null for none.")),
        next_key: Field.hexBytes("The key behind it.")
      }),
      Schema.Null
    ])
  },
  "map update": nothing("The element was written."),
  "map delete": nothing("The element was removed."),
  "map create": nothing("The map was made and pinned."),
  "map event_pipe": {
    description: "What programs send to a perf buffer. Keys are those of bpftool map event_pipe.",
    schema: Piped,
    lines: true
  }
}
