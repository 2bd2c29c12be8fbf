/**
 * Types of an object's BTF as TypeScript: interfaces, and codecs that read them with the getters of a `DataView` at offsets
 * that stand in the text.
 *
 * ```ts
 * const codecs = TsCodecs.make(btf, { runtime: "LayoutCodec" })
 * const event = TsCodecs.codecOf(codecs, eventType) // { type: "exec_event", codec: "exec_event", … }
 * const text = TsCodecs.text(codecs) // export interface exec_event { … } export const exec_event = …
 * ```
 *
 * A type and its codec have one name, the C name made an identifier; the module writes each type once, in the order in which
 * they were asked for, those that a type needs in front of it. Helpers begin with `$`, as no name of C does. The values are
 * those of `BtfValue` with `octets` and `flexible`:
 *
 * | C | TypeScript |
 * |---|---|
 * | integer up to 32 bits, floating point | `number` |
 * | integer of more, pointer | `bigint` |
 * | `_Bool` | `boolean` |
 * | enum | its names as literals, `number` (or `bigint`) for what has none |
 * | array of `char` | `string`, or `Uint8Array` where the bytes are no text |
 * | array of other bytes | `Uint8Array` |
 * | array of up to 8 elements, of more | a tuple, a `ReadonlyArray` |
 * | struct, union | an interface; members of anonymous members are its own |
 */
import * as Btf from "../../../btf/Btf.ts"
import * as BtfDump from "../../../btf/BtfDump.ts"
import { planOf, SIZE_LIMIT, type ValuePlan } from "../../../btf/BtfValuePlan.ts"
import { type BtfValueError, isBtfValueError } from "../../../btf/BtfValueError.ts"
import { attempt } from "../../../internal/attempt.ts"
import * as Result from "effect/Result"
import { SkeletonError } from "./SkeletonShape.ts"
import * as TsPieces from "./TsPieces.ts"
import * as TsText from "./TsText.ts"

/** How the text is written. */
export interface TsCodecsOptions {
  /** The expression for the module `LayoutCodec` in the text: `Skeleton.LayoutCodec`. */
  readonly runtime: string
  /** Names that the module uses for something else. */
  readonly reserved?: ReadonlySet<string>
  /** Byte order of the values: the BTF's unless given. */
  readonly byteOrder?: Btf.ByteOrder
}

/** The types that were asked for so far. It is mutable and belongs to one module that is being written. */
export interface TsCodecs {
  readonly btf: Btf.Btf
  /** What belongs to this library alone. */
  readonly internal: TsPieces.State
}

/** A type in the text. */
export interface TsType {
  /** The type of its values. */
  readonly type: string
  /** The codec, a constant of the module. */
  readonly codec: string
  /** Bytes, without those of a flexible array at the end. */
  readonly size: number
  readonly flexible: boolean
}

/** Begins with no types. */
export const make = (btf: Btf.Btf, options: TsCodecsOptions): TsCodecs => ({
  btf,
  internal: {
    btf,
    runtime: options.runtime,
    littleEndian: (options.byteOrder ?? btf.byteOrder) === "little",
    names: TsText.makeNames(new Set([...TsText.reservedWords, ...options.reserved ?? []])),
    dumper: BtfDump.makeDumper(btf),
    chunks: [],
    known: new Map(),
    tails: new Map(),
    flexible: new Map(),
    named: new Map(),
    helpers: new Map(),
    budget: TsPieces.BUDGET
  }
})

/** How C spells a type that has no declaration of its own in the text, unqualified; pointers are all alike. */
const spelled = (btf: Btf.Btf, plan: ValuePlan, type: number): string =>
  plan._tag === "Pointer"
    ? "void *"
    : Btf.typeName(btf, Btf.skipModifiers(btf, type)).replaceAll(/\b(const|volatile|restrict) /g, "")

const identifierOf = (text: string): string =>
  text.replaceAll("*", " ptr").replaceAll(/[^A-Za-z0-9_]+/g, " ").trim().replaceAll(" ", "_").slice(0, 64) || "value"

/** The codec of a whole value, declared if it is not. */
const declaredCodec = (state: TsPieces.State, plan: ValuePlan, type: number, wanted: string | undefined): TsType => {
  const piece = TsPieces.ofPlan(state, plan, type, wanted ?? "value", 0, true)
  const flexible = TsPieces.endsFlexible(state, plan)
  // As much as decoding by BTF would give: unions in unions multiply.
  if (piece.cost > (1 << 16) + 16 * plan.size) {
    TsPieces.tooLarge(type, wanted ?? Btf.typeName(state.btf, type), "its unions multiply to too many values")
  }
  const found = { size: plan.size, flexible }
  if (piece.declared !== undefined) return { type: piece.declared, codec: piece.declared, ...found }
  const inC = spelled(state.btf, plan, type)
  const { runtime } = state
  const read = piece.read("at", 0)
  const write = piece.write("at", 0, "value", "name")
  const text = (identifier: string): string =>
    `/** \`${TsText.comment(inC)}\`, ${plan.size} bytes. */
export type ${identifier} = ${piece.type}
/** The codec of \`${TsText.comment(inC)}\`. */
export const ${identifier}: ${runtime}.LayoutCodec<${identifier}> = ${runtime}.make<${identifier}>(
  ${TsText.literal(inC)},
  ${plan.size},
  ${state.littleEndian},
  ${read === "[]" ? "()" : "(view, at)"} => ${read},
  (to, at, value, name) => ${write}${flexible ? ",\n  true" : ""}
)
`
  const known = state.helpers.get(text(""))
  const identifier = known ?? state.names(identifierOf(inC))
  if (known === undefined) {
    state.helpers.set(text(""), identifier)
    state.chunks.push(text(identifier))
  }
  return { type: identifier, codec: identifier, ...found }
}

const toSkeletonError = (name: string, error: BtfValueError): SkeletonError =>
  new SkeletonError({
    reason: "Type",
    name,
    detail: `${error.path}: ${error.detail}`,
    ...(error.hint === undefined ? {} : { hint: error.hint })
  })

/**
 * The codec of a type, which is written to the text. `wanted` names a type that has no name in C: an anonymous struct's
 * variable. Fails where the type or a part of it has no values (`SkeletonError` of reason `Type`); what was written for its
 * other parts stays.
 */
export const codecOf = (codecs: TsCodecs, type: number, wanted?: string): Result.Result<TsType, SkeletonError> => {
  const { btf, internal } = codecs
  const name = Btf.typeName(btf, type)
  return Result.mapError(
    attempt(isBtfValueError, () => {
      const plan = planOf(btf, type, [wanted ?? name])
      if (plan.size > SIZE_LIMIT) TsPieces.tooLarge(type, wanted ?? name, `${plan.size} bytes are too many for a value`)
      return declaredCodec(internal, plan, type, wanted)
    }),
    (error) => toSkeletonError(wanted ?? name, error)
  )
}

/** Everything that was asked for, as declarations of a module. */
export const text = (codecs: TsCodecs): string => codecs.internal.chunks.join("\n")
