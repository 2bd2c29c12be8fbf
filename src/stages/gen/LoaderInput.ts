/**
 * What a loader program has to be told of the machine that it runs on, because no program inside the kernel can ask for it.
 *
 * Each input is a declaration: what is wanted, and where in the context it goes. A map's size and its initial value go where
 * the context has them for every loader; everything else has 32-bit words of its own behind the descriptors of programs. A
 * loader that finds a required input empty ends with `EINVAL`, and leaves nothing behind.
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { Variable } from "../../services/Kernel/KernelConfig.ts"

/** Values of the kernel's configuration, in the initial value of a map: `.kconfig`. */
export interface KconfigInput {
  readonly _tag: "Kconfig"
  /** The map's number. What is not among `values` of its initial value is in the loader's data. */
  readonly map: number
  /** Where the address of the completed value goes: the map's `initial_value`, 8 bytes. */
  readonly contextOffset: number
  readonly values: ReadonlyArray<Variable>
}

/** The number of possible CPUs: how large a map is that has an entry for each. */
export interface PossibleCpusInput {
  readonly _tag: "PossibleCpus"
  readonly map: number
  /** Whether it is the size of the maps that this map holds. */
  readonly template: boolean
  /** Where the number goes, 4 bytes. */
  readonly contextOffset: number
}

/** The size of a ring buffer: the machine's page size times the smallest power of two that gives at least `bytes`. */
export interface RingSizeInput {
  readonly _tag: "RingSize"
  readonly map: number
  readonly template: boolean
  readonly contextOffset: number
  /** What the object asks for. */
  readonly bytes: number
  /** Whether this is no size on any machine. Where it is one for pages of 4096 bytes, it stays unless another is given. */
  readonly required: boolean
}

/** The program that a program of the loader's is for, one that is loaded already (`freplace`). */
export interface ProgramInput {
  readonly _tag: "Program"
  /** The number of the loader's program. */
  readonly program: number
  /** The function of the other program. */
  readonly function: string
  /** Where the other program's descriptor goes, 4 bytes, and behind it the BTF id of its function, 4 bytes. */
  readonly contextOffset: number
}

/** How many bytes the kernel's struct has that a struct_ops map holds. */
export interface StructSizeInput {
  readonly _tag: "StructSize"
  readonly map: number
  /** The struct that programs implement, without the `bpf_struct_ops_` of the one around it, whose size it is. */
  readonly struct: string
  readonly contextOffset: number
}

/** Which member of a kernel's struct a program implements. */
export interface MemberInput {
  readonly _tag: "Member"
  readonly program: number
  readonly struct: string
  readonly member: string
  /** Where the position of the member goes, counted from 1, 4 bytes. */
  readonly contextOffset: number
}

/** One input of a loader. */
export type LoaderInput =
  | KconfigInput
  | PossibleCpusInput
  | RingSizeInput
  | ProgramInput
  | StructSizeInput
  | MemberInput

/** Whether a loader runs without it. */
export const isRequired = (input: LoaderInput): boolean => input._tag !== "RingSize" || input.required

/** How many 32-bit words an input has of its own behind the descriptors of programs. */
export const wordsOf = (input: LoaderInput): number => {
  switch (input._tag) {
    case "Kconfig":
      return 0
    case "PossibleCpus":
    case "RingSize":
      return input.template ? 1 : 0
    case "Program":
      return 2
    case "StructSize":
    case "Member":
      return 1
  }
}

/** An input as a person names it; `names` are those of the loader's maps and programs. */
export const describe = (
  input: LoaderInput,
  names: { readonly map: (number: number) => string; readonly program: (number: number) => string }
): string => {
  const size = (of: { readonly map: number; readonly template: boolean }): string =>
    of.template ? `the size of maps in ${names.map(of.map)}` : `the size of ${names.map(of.map)}`
  switch (input._tag) {
    case "Kconfig":
      return input.values.map(({ name }) => name).join(", ")
    case "PossibleCpus":
      return `the number of possible CPUs (${size(input)})`
    case "RingSize":
      return `the page size (${size(input)})`
    case "Program":
      return `the program whose function ${input.function} ${names.program(input.program)} is for`
    case "StructSize":
      return `the size of struct bpf_struct_ops_${input.struct} (map ${names.map(input.map)})`
    case "Member":
      return `the position of ${input.member} in struct ${input.struct} (program ${names.program(input.program)})`
  }
}

/** A tag that is spelt in snake case in JSON. */
const tag = <Tag extends string, Spelt extends string>(tag: Tag, spelt: Spelt) =>
  Schema.Literal(spelt).pipe(
    Schema.decodeTo(Schema.Literal(tag), SchemaTransformation.transform({ decode: () => tag, encode: () => spelt }))
  )

const place = { contextOffset: Schema.Natural }

const variable = Schema.Struct({
  name: Schema.String,
  weak: Schema.Boolean,
  size: Schema.Natural,
  dataOffset: Schema.Natural,
  kind: Schema.Literals(["bool", "char", "int", "tristate", "string"]),
  signed: Schema.Boolean
}).pipe(Schema.encodeKeys({ name: "key", dataOffset: "offset" }))

const keys = { _tag: "input", contextOffset: "context_offset" } as const

/** Inputs to JSON and back: the tag is `input`, in snake case as all keys. */
export const codec = Schema.Union([
  Schema.Struct({
    _tag: tag("Kconfig", "kconfig"),
    map: Schema.Natural,
    ...place,
    values: Schema.Array(variable)
  }).pipe(Schema.encodeKeys(keys)),
  Schema.Struct({
    _tag: tag("PossibleCpus", "possible_cpus"),
    map: Schema.Natural,
    template: Schema.Boolean,
    ...place
  }).pipe(Schema.encodeKeys(keys)),
  Schema.Struct({
    _tag: tag("RingSize", "ring_size"),
    map: Schema.Natural,
    template: Schema.Boolean,
    ...place,
    bytes: Schema.Natural,
    required: Schema.Boolean
  }).pipe(Schema.encodeKeys(keys)),
  Schema.Struct({
    _tag: tag("Program", "program"),
    program: Schema.Natural,
    function: Schema.String,
    ...place
  }).pipe(Schema.encodeKeys(keys)),
  Schema.Struct({
    _tag: tag("StructSize", "struct_size"),
    map: Schema.Natural,
    struct: Schema.String,
    ...place
  }).pipe(Schema.encodeKeys(keys)),
  Schema.Struct({
    _tag: tag("Member", "member"),
    program: Schema.Natural,
    struct: Schema.String,
    member: Schema.String,
    ...place
  }).pipe(Schema.encodeKeys(keys))
])

/** An input as JSON. */
export type LoaderInputJson = (typeof codec)["Encoded"]
