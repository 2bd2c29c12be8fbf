/**
 * The text of types, piece by piece: what the type of a place is called, how a value is read from there, how it is written.
 */
import * as Btf from "../../../btf/Btf.ts"
import * as BtfDump from "../../../btf/BtfDump.ts"
import { isLast } from "../../../btf/BtfValueDecode.ts"
import { failValue } from "../../../btf/BtfValueError.ts"
import {
  type ArrayPlan,
  type EnumPlan,
  planOfPart,
  type StructPlan,
  type ValuePlan
} from "../../../btf/BtfValuePlan.ts"
import { DEPTH_LIMIT } from "../../../btf/ValueLimits.ts"
import * as Result from "effect/Result"
import * as TsScalars from "./TsScalars.ts"
import * as TsText from "./TsText.ts"

/** The most members and names that the text of one module has. */
export const BUDGET = 1 << 18

/** The longest array that is a tuple. */
const TUPLE = 8

/** How a type stands in the text. */
export interface Piece {
  /** The type of its values. */
  readonly type: string
  /** An expression for the value at `base + offset` of `view`. */
  readonly read: (base: string, offset: number) => string
  /** A call that writes `value` at `base + offset`; `name` is an expression for what it is called there. */
  readonly write: (base: string, offset: number, value: string, name: string) => string
  /** Levels of arrays and structs in it. */
  readonly height: number
  /** How many parts a value has. */
  readonly cost: number
  /** The type and its codec, where the text declares it. */
  readonly declared?: string
}

/** A module's types while they are written. */
export interface State {
  readonly btf: Btf.Btf
  readonly runtime: string
  readonly littleEndian: boolean
  readonly names: (wanted: string) => string
  readonly dumper: BtfDump.Dumper
  /** The declarations, in order. */
  readonly chunks: Array<string>
  readonly known: Map<ValuePlan, Piece>
  /** The same for types at the end of a value, where a flexible array takes what follows. */
  readonly tails: Map<ValuePlan, Piece>
  /** Whether a type ends in a flexible array. */
  readonly flexible: Map<ValuePlan, boolean>
  /** What a type is called in the text: by its plan, and the helpers by their text. */
  readonly named: Map<ValuePlan, string>
  readonly helpers: Map<string, string>
  budget: number
}

/** Fails: too large. */
export const tooLarge = (type: number, name: string, detail: string): never =>
  failValue("TooLarge", [name], type, detail)

const spend = (state: State, type: number, parts: number): void => {
  state.budget -= parts
  if (state.budget < 0) tooLarge(type, Btf.typeName(state.btf, type), "the types have too many members in all")
}

/** The place `offset` bytes from `base`. */
export const place = (base: string, offset: number): string => offset === 0 ? base : `${base} + ${offset}`

/** Whether the last part of a type is a flexible array. */
export const endsFlexible = (state: State, plan: ValuePlan): boolean => {
  const known = state.flexible.get(plan)
  if (known !== undefined) return known
  // What contains itself is refused elsewhere.
  state.flexible.set(plan, false)
  const found = plan._tag === "Array"
    ? plan.length === 0 && plan.element.size > 0
    : plan._tag === "Struct" &&
      plan.list.some((field) => isLast(plan, field) && endsFlexible(state, planOfPart(state.btf, field, [field.name])))
  state.flexible.set(plan, found)
  return found
}

/** The name of a declaration, and how C spells the type, for people. */
const naming = (state: State, plan: ValuePlan, declared: number, wanted: string): readonly [string, string] => {
  const { btf } = state
  if (Btf.nameOf(btf, plan.type) !== "") {
    return [Btf.nameOf(btf, plan.type), Btf.typeName(btf, plan.type)]
  }
  // An anonymous type is known by the typedef that names it.
  for (let id = declared, hops = 0; id !== plan.type && id !== 0 && hops < DEPTH_LIMIT; hops++) {
    if (Btf.kindOf(btf, id) === Btf.BTF_KIND_TYPEDEF) return [Btf.nameOf(btf, id), Btf.nameOf(btf, id)]
    id = Btf.sizeOrTypeOf(btf, id)
  }
  return [wanted, `${Btf.typeName(btf, plan.type)} ${wanted}`]
}

/** The piece of a type. `declared` is the type with its typedefs, `wanted` names it where nothing else does. */
export const ofPlan = (
  state: State,
  plan: ValuePlan,
  declared: number,
  wanted: string,
  depth: number,
  last: boolean
): Piece => {
  const tail = last && endsFlexible(state, plan)
  const pieces = tail ? state.tails : state.known
  const known = pieces.get(plan)
  if (known !== undefined) {
    if (depth + known.height > DEPTH_LIMIT) tooDeep(state, plan)
    return known
  }
  const made = build(state, plan, declared, wanted, depth, tail)
  pieces.set(plan, made)
  return made
}

const tooDeep = (state: State, plan: ValuePlan): never =>
  failValue(
    "TooDeep",
    [Btf.typeName(state.btf, plan.type)],
    plan.type,
    `it is nested more than ${DEPTH_LIMIT} levels deep`
  )

const build = (
  state: State,
  plan: ValuePlan,
  declared: number,
  wanted: string,
  depth: number,
  tail: boolean
): Piece => {
  switch (plan._tag) {
    case "Enum":
      return enumeration(state, plan, declared, wanted)
    case "Array":
      return array(state, plan, wanted, depth, tail)
    case "Struct":
      return struct(state, plan, declared, wanted, depth, tail)
    default: {
      const { read, type, write } = TsScalars.ofPlan(state, plan)
      return { type, read, write, height: 0, cost: plan._tag === "Bytes" ? 1 + plan.size / 8 : 1 }
    }
  }
}

/** Enums of more names are looked up instead of compared. */
const SWITCH = 64

const enumeration = (state: State, plan: EnumPlan, declared: number, wanted: string): Piece => {
  spend(state, plan.type, plan.values.size + 1)
  const [name, inC] = naming(state, plan, declared, wanted)
  const identifier = state.names(name)
  state.named.set(plan, identifier)
  const number = plan.size > 4 ? "bigint" : "number"
  const numeral = (value: number | bigint): string => `${value}${typeof value === "bigint" ? "n" : ""}`
  const literals = [...plan.values.keys()].map(TsText.literal)
  const values = [...plan.values].map(([each, value]) => `\n  ${TsText.key(each)}: ${numeral(value)}`)
  const names = [...plan.names]
  const nameOf = names.length === 0
    ? `const $name_${identifier} = (value: ${number}): ${identifier} => value`
    : names.length > SWITCH
    ? `const $names_${identifier}: ReadonlyMap<${number}, ${identifier}> = new Map<${number}, ${identifier}>([${
      names.map(([value, each]) => `\n  [${numeral(value)}, ${TsText.literal(each)}]`).join(",")
    }\n])\nconst $name_${identifier} = (value: ${number}): ${identifier} => $names_${identifier}.get(value) ?? value`
    : `const $name_${identifier} = (value: ${number}): ${identifier} => {\n  switch (value) {\n${
      names.map(([value, each]) => `    case ${numeral(value)}:\n      return ${TsText.literal(each)}\n`).join("")
    }    default:\n      return value\n  }\n}`
  const read = (base: string, offset: number): string =>
    `$name_${identifier}(${TsScalars.whole(state, plan.size, plan.signed, base, offset)})`
  const write = (base: string, offset: number, value: string, named: string): string =>
    `to.named(${place(base, offset)}, 0, ${plan.size * 8}, ${plan.signed}, $values_${identifier}, ${value}, ${named})`
  state.chunks.push(`/** \`${TsText.comment(inC)}\`: a value without a name is its number. */
export type ${identifier} = ${[...literals, number].join(" | ")}
const $values_${identifier} = {${values.join(",")}${values.length === 0 ? "" : "\n"}} as const
${nameOf}
/** The codec of \`${TsText.comment(inC)}\`. */
export const ${identifier}: ${state.runtime}.EnumCodec<${identifier}, typeof $values_${identifier}> = ${state.runtime}.enumeration<${identifier}, typeof $values_${identifier}>(
  ${TsText.literal(inC)},
  ${plan.size},
  ${state.littleEndian},
  $values_${identifier},
  (view, at) => ${read("at", 0)},
  (to, at, value, name) => ${write("at", 0, "value", "name")}
)
`)
  return { type: identifier, read, write, height: 0, cost: 1, declared: identifier }
}

/** A helper of this text, declared once. */
const helper = (state: State, prefix: string, body: (name: string) => string): string => {
  const text = body("")
  const known = state.helpers.get(text)
  if (known !== undefined) return known
  const name = `$${prefix}${state.helpers.size + 1}`
  state.helpers.set(text, name)
  state.chunks.push(body(name))
  return name
}

const array = (state: State, plan: ArrayPlan, wanted: string, depth: number, tail: boolean): Piece => {
  const { element, length } = plan
  const size = element.size
  if (plan.octets) {
    const [type, method] = plan.text ? ["string | Uint8Array", "text"] : ["Uint8Array", "octets"]
    return {
      type,
      read: (base, offset) => {
        const at = place(base, offset)
        const extent = tail ? `view.byteLength - (${at})` : String(length)
        return `${state.runtime}.${method}(view, ${at}, ${extent})`
      },
      write: (base, offset, value, name) =>
        `to.${method}(${place(base, offset)}, ${length}, ${tail}, ${value}, ${name})`,
      height: 0,
      cost: 1 + length / 8
    }
  }
  if (size === 0) {
    // Elements without bytes hold nothing, however many they claim to be.
    return {
      type: "readonly []",
      read: () => "[]",
      write: (base, offset, value, name) =>
        `to.list(${place(base, offset)}, 0, 0, false, ${value}, ${name}, () => undefined)`,
      height: 0,
      cost: 1
    }
  }
  if (depth >= DEPTH_LIMIT) tooDeep(state, plan)
  const each = ofPlan(state, planOfPart(state.btf, element, [wanted]), element.type, wanted, depth + 1, false)
  const tuple = length > 0 && length <= TUPLE && each.cost * length <= 64
  const type = tuple
    ? `readonly [${Array.from({ length }, () => each.type).join(", ")}]`
    : `ReadonlyArray<${each.type}>`
  const put = helper(
    state,
    "put",
    (name) =>
      `const ${name}: ${state.runtime}.Write<${each.type} | ${state.runtime}.Parts<${each.type}>> = (to, at, value, name) =>\n  ${
        each.write("at", 0, "value", "name")
      }\n`
  )
  const list = tuple || (length === 0 && !tail) ?
    "" :
    helper(state, "list", (name) =>
      `const ${name} = (view: DataView, at: number): ${type} => {
  const list: Array<${each.type}> = []
  for (let next = at; ${
        tail ? `next + ${size} <= view.byteLength` : `next < at + ${length * size}`
      }; next += ${size}) list.push(${each.read("next", 0)})
  return list
}
`)
  return {
    type,
    read: (base, offset) =>
      tuple
        ? `[${Array.from({ length }, (_, index) => each.read(base, offset + index * size)).join(", ")}]`
        : list === ""
        ? "[]"
        : `${list}(view, ${place(base, offset)})`,
    write: (base, offset, value, name) =>
      `to.list(${place(base, offset)}, ${length}, ${size}, ${tail}, ${value}, ${name}, ${put})`,
    height: each.height + 1,
    cost: 1 + length * each.cost
  }
}

/** A member's declaration in C and where it is. */
const memberComment = (state: State, field: StructPlan["list"][number]): string => {
  // A variable of a section is declared by its type.
  const type = Btf.kindOf(state.btf, field.type) === Btf.BTF_KIND_VAR
    ? Btf.sizeOrTypeOf(state.btf, field.type)
    : field.type
  const declaration = Result.getOrElse(
    BtfDump.declareType(state.dumper, type, { name: field.name, omitBodies: true }),
    () => `${Btf.typeName(state.btf, type)} ${field.name}`
  )
  const where = field.bits === 0
    ? `at byte ${field.offset}`
    : `${field.bits} ${field.bits === 1 ? "bit" : "bits"} at bit ${field.bitOffset}`
  return `/** \`${TsText.comment(declaration)}\`, ${where} */`
}

const struct = (
  state: State,
  plan: StructPlan,
  declared: number,
  wanted: string,
  depth: number,
  tail: boolean
): Piece => {
  if (depth >= DEPTH_LIMIT) tooDeep(state, plan)
  spend(state, plan.type, plan.list.length + 1)
  const [name, inC] = naming(state, plan, declared, wanted)
  // At the end of a value a struct is read in another way, and has the same type.
  const known = state.named.get(plan)
  const identifier = known ?? state.names(name)
  state.named.set(plan, identifier)
  const [reader, writer] = tail ? ["tail", "grow"] : ["read", "write"]
  const fields = plan.list.map((field) => {
    const inner = planOfPart(state.btf, field, [identifier, field.name])
    const piece = field.bits > 0
      ? bitfield(state, inner, field, `${identifier}_${field.name}`)
      : ofPlan(state, inner, field.type, `${identifier}_${field.name}`, depth + 1, tail && isLast(plan, field))
    return { field, piece }
  })
  const offsetOf = (field: StructPlan["list"][number]): number => field.bits > 0 ? 0 : field.offset
  const read = fields.map(({ field, piece }) => `  ${TsText.key(field.name)}: ${piece.read("at", offsetOf(field))}`)
  const write = fields.map(({ field, piece }) =>
    `  ${piece.write("at", offsetOf(field), TsText.property("value", field.name), TsText.literal(field.name))}\n`
  )
  // What has no bytes is not looked for.
  const isRead = fields.some(({ field, piece }) => piece.read("at", offsetOf(field)) !== "[]")
  const empty = fields.length === 0
  const type = empty
    ? `export type ${identifier} = Readonly<Record<never, never>>\n`
    : `export interface ${identifier} {\n${
      fields.map(({ field, piece }) =>
        `  ${memberComment(state, field)}\n  readonly ${TsText.key(field.name)}: ${piece.type}\n`
      ).join("")
    }}\n`
  const { runtime } = state
  state.chunks.push(
    (known !== undefined ? "" : `/** \`${TsText.comment(inC)}\`, ${plan.size} bytes. */\n${type}`) +
      `const $${reader}_${identifier} = (${
        isRead ? "view: DataView, at: number" : "_view: DataView, _at: number"
      }): ${identifier} => ({${empty ? "" : `\n${read.join(",\n")}\n`}})
const $${writer}_${identifier} = (${
        empty ? `_to: ${runtime}.Writer, _at: number, _value` : `to: ${runtime}.Writer, at: number, value`
      }: ${runtime}.Parts<${identifier}>): void => {
${write.join("")}}
` + (tail !== endsFlexible(state, plan) ? "" : `/** The codec of \`${TsText.comment(inC)}\`. */
export const ${identifier}: ${runtime}.StructCodec<${identifier}> = ${runtime}.struct<${identifier}>(
  ${TsText.literal(inC)},
  ${plan.size},
  ${state.littleEndian},
  {${fields.map(({ field }) => `\n    ${TsText.key(field.name)}: ${placeText(field)}`).join(",")}${
        empty ? "" : "\n  "
      }},
  $${reader}_${identifier},
  (to, at, value, name) => to.part(at, value, name, $${writer}_${identifier})${tail ? ",\n  true" : ""}
)
`)
  )
  return {
    type: identifier,
    read: (base, offset) => `$${reader}_${identifier}(view, ${place(base, offset)})`,
    write: (base, offset, value, name) =>
      `to.part(${place(base, offset)}, ${value}, ${name}, $${writer}_${identifier})`,
    height: fields.reduce((height, { piece }) => Math.max(height, piece.height), 0) + 1,
    cost: fields.reduce((cost, { piece }) => cost + piece.cost, 1),
    declared: identifier
  }
}

const placeText = (field: StructPlan["list"][number]): string =>
  field.bits > 0
    ? `{ bitOffset: ${field.bitOffset}, bits: ${field.bits} }`
    : `{ offset: ${field.offset}, size: ${field.size} }`

/** A bit field, whose place is in it: it is read and written at the struct's. */
const bitfield = (state: State, plan: ValuePlan, field: StructPlan["list"][number], wanted: string): Piece => {
  if (plan._tag !== "Enum") return { ...TsScalars.ofBits(state, plan, field), height: 0, cost: 2 }
  const piece = ofPlan(state, plan, field.type, wanted, 0, false)
  const { declared = "" } = piece
  return {
    ...piece,
    read: (base, offset) =>
      `$name_${declared}(${TsScalars.bits(state, field, plan.signed, plan.size > 4, base, offset)})`,
    write: (base, offset, value, name) =>
      `to.named(${
        place(base, offset)
      }, ${field.bitOffset}, ${field.bits}, ${plan.signed}, $values_${declared}, ${value}, ${name})`,
    cost: 2
  }
}
