/** The documents of `btf dump`, `btf dedup`, `btf distill`, `btf relocate` and `btf diff`. */
import * as Schema from "effect/Schema"
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

const TypeId = Field.count("A type, by its identifier; 0 is void.")
const size = Field.count("Bytes.")

const head = {
  id: Field.count("The identifier."),
  name: Field.text("The name; (anon) for none.")
}

const named = { name: Field.text("The name; (anon) for none.") }
const linkage = Field.oneOf(["static", "global", "extern", "(unknown)"], "The linkage.")

const members = {
  size,
  vlen: Field.count("How many members."),
  members: Field.list(
    Schema.Struct({
      ...named,
      type_id: TypeId,
      bits_offset: Field.count("Bits from the start."),
      bitfield_size: Field.maybe(Field.count("Bits of a bit field."))
    }),
    "The members."
  )
}

const values = {
  encoding: Field.oneOf(["SIGNED", "UNSIGNED"], "Whether values may be negative."),
  size,
  vlen: Field.count("How many enumerators."),
  values: Field.list(Schema.Struct({ ...named, val: Field.exact("The value.") }), "The enumerators.")
}

const kind = <const Kind extends string, const Fields extends Schema.Struct.Fields>(name: Kind, fields: Fields) =>
  Schema.Struct({ id: head.id, kind: Schema.Literal(name), name: head.name, ...fields })

/** A type of a dump. */
export const Type = Schema.Union([
  kind("INT", {
    size,
    bits_offset: Field.count("Bits before it."),
    nr_bits: Field.count("Bits of it."),
    encoding: Field.oneOf(["(none)", "SIGNED", "CHAR", "BOOL", "UNKN"], "What it is a number of.")
  }),
  kind("PTR", { type_id: TypeId }),
  kind("TYPEDEF", { type_id: TypeId }),
  kind("VOLATILE", { type_id: TypeId }),
  kind("CONST", { type_id: TypeId }),
  kind("RESTRICT", { type_id: TypeId }),
  kind("TYPE_TAG", { type_id: TypeId }),
  kind("ARRAY", { type_id: TypeId, index_type_id: TypeId, nr_elems: Field.count("How many elements.") }),
  kind("STRUCT", members),
  kind("UNION", members),
  kind("ENUM", values),
  kind("ENUM64", values),
  kind("FWD", { fwd_kind: Field.oneOf(["struct", "union"], "What is declared.") }),
  kind("FUNC", { type_id: TypeId, linkage }),
  kind("FUNC_PROTO", {
    ret_type_id: TypeId,
    vlen: Field.count("How many parameters."),
    params: Field.list(Schema.Struct({ ...named, type_id: TypeId }), "The parameters.")
  }),
  kind("VAR", { type_id: TypeId, linkage }),
  kind("DATASEC", {
    size,
    vlen: Field.count("How many variables."),
    vars: Field.list(
      Schema.Struct({ type_id: TypeId, offset: Field.count("Bytes from the start of the section."), size }),
      "The variables."
    )
  }),
  kind("FLOAT", { size }),
  kind("DECL_TAG", { type_id: TypeId, component_idx: Field.integer("The member or parameter; -1 for the whole.") }),
  kind("UNKNOWN", {})
]).annotate({ identifier: "Type", title: "A type" })

/** A blob that was written. */
export const Blob = Schema.Struct({
  path: Field.text("The file."),
  bytes: Field.count("Its size."),
  types: Field.count("How many types it has of its own."),
  byte_order: Field.oneOf(["little", "big"], "The byte order."),
  base_types: Field.orNull(Field.count("How many types its base has; null without one."))
}).annotate({ identifier: "Blob", title: "Types that were written" })

/** A number before and after. */
export const Change = Schema.Struct({
  before: Field.count("Before."),
  after: Field.count("After.")
}).annotate({ identifier: "Change", title: "A number before and after" })

/** What dedup did. */
export const Dedup = Schema.Struct({
  inputs: Field.list(Schema.String, "The files."),
  output: Blob,
  types: Change,
  bytes_strings: Change,
  forwards_resolved: Field.count("How many forward declarations became what they declare."),
  survivor_count: Field.count("How many types stayed beside another of their kind and name."),
  survivors: Field.list(
    Schema.Struct({
      id: Field.count("The type."),
      beside: Field.count("The other one."),
      reason: Field.oneOf(
        ["Shape", "Reference", "Unsettled", "BaseForward", "Ambiguous", "Budget"],
        "Why it stayed: other members or values; something that they refer to differs; one type stands for several; a base's " +
          "forward declaration; several definitions; too much to compare."
      ),
      difference: Field.orNull(Field.ids("Where they part: a type of the first and one of the second."))
    }),
    "The first of them, at most 100."
  ),
  exhausted: Field.flag("Whether comparing was given up for taking too long.")
})

const typeAtFields = {
  kind: Field.text("The kind: struct, enum."),
  name: Field.text("The name; (anon) for none."),
  id: Field.count("The type, by its identifier."),
  first: Field.maybe(Field.text("The first enumerator of an enum without a name."))
}

/** A type of one of two sets. */
export const TypeAt = Schema.Struct(typeAtFields)

/** How two sets of types differ. */
export const Diff = Schema.Struct({
  before: Field.text("The first file."),
  after: Field.text("The second file."),
  compared: Schema.Struct({
    before: Field.count("Types of the first."),
    after: Field.count("Types of the second."),
    same: Field.count("How many are the same.")
  }).annotate({ description: "How many types were compared." }),
  removed: Field.list(TypeAt, "Types that are gone."),
  added: Field.list(TypeAt, "Types that are new."),
  changed: Field.list(
    Schema.Struct({
      ...typeAtFields,
      new_id: Field.count("The type in the second file."),
      changes: Field.list(
        Schema.Struct({
          change: Field.oneOf([
            "resized",
            "defined",
            "undefined",
            "retyped",
            "encoding",
            "linkage",
            "signedness",
            "tag_added",
            "tag_removed",
            "member_added",
            "member_removed",
            "member_changed",
            "value_added",
            "value_removed",
            "value_renamed",
            "value_changed",
            "return_retyped",
            "param_added",
            "param_removed",
            "param_changed"
          ], "What has changed."),
          before: Field.maybe(Field.any("What was: a size, a type, a value as a text of digits, a place.")),
          after: Field.maybe(Field.any("What is.")),
          tag: Field.maybe(Field.text("The tag.")),
          component: Field.maybe(Field.integer("The member or parameter that it is of; -1 for the whole.")),
          path: Field.maybe(Field.text("The member.")),
          new_path: Field.maybe(Field.text("The member in the second file.")),
          what: Field.maybe(Field.list(Schema.String, "In what way a member or parameter has changed.")),
          name: Field.maybe(Field.text("The enumerator.")),
          new_name: Field.maybe(Field.text("Its name in the second file.")),
          value: Field.maybe(Field.digits("Its value."))
        }),
        "What has changed."
      ),
      breaks: Field.list(
        Schema.Struct({
          path: Field.text("An access that programs may make."),
          why: Field.oneOf(["removed", "renamed", "retyped"], "Why it fails."),
          now: Field.orNull(Field.text("What it is now."))
        }),
        "Accesses that do not work any more, even with CO-RE."
      ),
      embedded_in: Field.list(Schema.String, "Types that contain it."),
      embedded_in_more: Field.flag("Whether there are more of them."),
      incomplete: Field.flag("Whether comparing was given up for taking too long.")
    }),
    "Types that have changed."
  ),
  ambiguous: Field.list(
    Schema.Struct({
      kind: Field.text("The kind."),
      name: Field.text("The name."),
      before: Field.ids("Those of the first file."),
      after: Field.ids("Those of the second file.")
    }),
    "Types of one kind and name of which there are several, that cannot be told apart."
  )
})

/** The documents. */
export const documents: ByCommand = {
  "btf dump": {
    description: "All types, in the order of their identifiers. Keys are those of bpftool btf dump.",
    schema: Schema.Struct({ types: Field.list(Type, "The types.") })
  },
  "btf dedup": { description: "What was merged, and what could not be.", schema: Dedup },
  "btf distill": {
    description: "The types that were written: those of a module, and what they need of their base.",
    schema: Schema.Struct({ path: Field.text("The module's types, as they were read."), base: Blob, split: Blob })
  },
  "btf relocate": { description: "The types that were written, by another base.", schema: Blob },
  "btf diff": { description: "How the types of two files differ.", schema: Diff }
}
