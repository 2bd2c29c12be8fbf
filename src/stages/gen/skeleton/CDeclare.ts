/**
 * Declarations of an object's variables in C, and the members of a struct that has them where BTF puts them.
 *
 * Types are named as the object's BTF names them, and BTF may call a type anything; so every name that a declaration would
 * spell is looked at before. Identifiers of types that are C's are left to whoever defines them.
 *
 * Source of the rules of layout: reference page `skeleton`, section 2.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as BtfDump from "../../../btf/BtfDump.ts"
import * as CText from "./CText.ts"
import { SkeletonError, type SkeletonVariable } from "./SkeletonShape.ts"

/** What declares variables of one header. It remembers which types it has seen: those of one name are numbered. */
export interface Declarer {
  readonly btf: Btf.Btf
  readonly dumper: BtfDump.Dumper
  /** Types whose names are known to be C's. */
  readonly named: Set<number>
}

/** A declarer that has declared nothing yet. */
export const makeDeclarer = (btf: Btf.Btf): Declarer => ({ btf, dumper: BtfDump.makeDumper(btf), named: new Set() })

const isIdentifier = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !CText.keywordsOfC.has(name)

/** The names that declaring a type spells by itself, and the types that it spells besides. */
const spelled = (
  type: Btf.BtfType
): { readonly names: ReadonlyArray<string>; readonly types: ReadonlyArray<number> } => {
  const name = (given: string) => given === "" ? [] : [given]
  switch (type._tag) {
    case "Struct":
    case "Union":
      return type.name === ""
        ? {
          names: type.members.flatMap((member) => name(member.name)),
          types: type.members.map((member) => member.type)
        }
        : { names: [type.name], types: [] }
    case "Enum":
    case "Enum64":
      return { names: type.name === "" ? type.values.map((value) => value.name) : [type.name], types: [] }
    case "Fwd":
    case "Typedef":
      return { names: [type.name], types: [] }
    case "Ptr":
    case "Const":
    case "Volatile":
    case "Restrict":
    case "Array":
      return { names: [], types: [type.type] }
    case "TypeTag":
      return { names: name(type.name), types: [type.type] }
    case "FuncProto":
      return {
        names: type.params.flatMap((param) => name(param.name)),
        types: [type.returnType, ...type.params.map((param) => param.type)]
      }
    default:
      return { names: [], types: [] }
  }
}

/** Throws where declaring something of this type would spell a name that is not C's. */
const requireNames = ({ btf, named }: Declarer, id: number, subject: string): void => {
  const refuse = (name: string): SkeletonError =>
    new SkeletonError({
      reason: "Name",
      name: subject,
      detail: `its type has a name that C cannot have: ${JSON.stringify(name)}`
    })
  const stack = [id]
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (named.has(next)) continue
    named.add(next)
    const type = Btf.typeOf(btf, next)
    // Names of numbers are words: `long unsigned int`.
    if ((type._tag === "Int" || type._tag === "Float") && !/^[A-Za-z_][A-Za-z0-9_ ]*$/.test(type.name)) {
      throw refuse(type.name)
    }
    const { names, types } = spelled(type)
    const bad = names.find((name) => !isIdentifier(name))
    if (bad !== undefined) throw refuse(bad)
    if ((type._tag === "Struct" || type._tag === "Union") && new Set(names).size !== names.length) {
      const detail = "its type has two members of one name"
      throw new SkeletonError({ reason: "Type", name: subject, detail })
    }
    stack.push(...types)
  }
}

/** The text that declares something of type `id`, without a semicolon; `subject` is what errors are about. Throws. */
export const declare = (
  declarer: Declarer,
  id: number,
  subject: string,
  options: BtfDump.DeclarationOptions
): string => {
  requireNames(declarer, id, subject)
  const declared = BtfDump.declareType(declarer.dumper, id, options)
  if (Result.isSuccess(declared)) return declared.success
  throw new SkeletonError({
    reason: "Type",
    name: subject,
    detail: `C cannot declare it: ${declared.failure.message}`
  })
}

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to

/** Bytes that C gives a variable: those of its type, to which those of a flexible array at its end are added in the object. */
export const bytesOf = (btf: Btf.Btf, { size, type }: SkeletonVariable): number =>
  Result.getOrElse(Btf.resolveSize(btf, type), () => size)

/** The alignment of a variable's type, bytes. Throws. */
const alignmentOf = (btf: Btf.Btf, { name, type }: SkeletonVariable): number => {
  const alignment = Btf.alignOf(btf, type)
  if (Result.isSuccess(alignment)) return alignment.success
  throw new SkeletonError({ reason: "Type", name, detail: alignment.failure.message })
}

/** The most that padding relies on: on 32-bit machines types of 8 bytes are aligned to 4. */
const LEAST_ALIGNMENT = 4

/** The members of a section's struct: variables where BTF puts them, with padding in between. Throws. */
export const sectionMembers = (
  declarer: Declarer,
  section: { readonly kconfig: boolean; readonly variables: ReadonlyArray<SkeletonVariable> },
  spell: (identifier: string) => string = (identifier) => identifier
): ReadonlyArray<string> => {
  const { btf } = declarer
  const lines: Array<string> = []
  let at = 0
  let paddings = 0
  for (const variable of section.variables) {
    const { identifier, name, offset, size, type } = variable
    const bytes = bytesOf(btf, variable)
    if (offset < at) {
      const detail = `it begins at byte ${offset} of its section, where another variable is up to byte ${at}`
      throw new SkeletonError({ reason: "Layout", name, detail })
    }
    if (bytes > size) {
      const detail = `its type has ${bytes} bytes, and its section ${size} bytes for it`
      throw new SkeletonError({ reason: "Layout", name, detail })
    }
    const alignment = alignmentOf(btf, variable)
    const displaced = offset % alignment !== 0
    const reached = displaced ? at : roundUp(at, Math.min(alignment, LEAST_ALIGNMENT))
    if (reached !== offset) lines.push(`char __pad${paddings++}[${offset - at}];`)
    // Constants are written to before they are loaded; what the kernel's configuration says is not.
    const declared = declare(declarer, type, name, {
      name: spell(identifier),
      level: 2,
      stripModifiers: !section.kconfig
    })
    lines.push(`${declared}${displaced ? " __attribute__((packed))" : ""};`)
    at = offset + bytes
  }
  return lines
}

/** Whether a variable has a flexible array in the object, so that what stands behind it is behind bytes that C does not see. */
export const isFlexible = (btf: Btf.Btf, variable: SkeletonVariable): boolean => bytesOf(btf, variable) < variable.size

/** A struct of one member for each of these; nothing where there are none. */
export const group = (lines: ReadonlyArray<string>, name: string): string =>
  lines.length === 0 ? "" : `	struct {\n${lines.map((line) => `\t\t${line}\n`).join("")}	} ${name};\n`
