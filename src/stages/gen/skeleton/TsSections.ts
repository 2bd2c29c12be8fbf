/**
 * How a skeleton in TypeScript speaks of global variables: an interface for each section, with a property for each variable.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as BtfDump from "../../../btf/BtfDump.ts"
import type { MapDefinition } from "../../open/BpfObject.ts"
import { MapFlag } from "../../../services/Kernel/abi/BpfConstants.ts"
import type { ObjectSection } from "./ObjectShape.ts"
import type { SkeletonVariable } from "./SkeletonShape.ts"
import * as TsCodecs from "./TsCodecs.ts"
import * as TsText from "./TsText.ts"

/** A section in the text. */
export interface TsSection {
  /** The property of it. */
  readonly identifier: string
  /** The interface of its variables. */
  readonly type: string
  /** The constant that describes it. */
  readonly constant: string
  readonly access: "constant" | "variable" | "kconfig"
  /** The declarations of both. */
  readonly text: string
}

/** What sections are written with. */
export interface Context {
  readonly btf: Btf.Btf
  readonly codecs: TsCodecs.TsCodecs
  readonly dumper: BtfDump.Dumper
  readonly runtime: string
}

const accessOf = (section: ObjectSection, map: MapDefinition): TsSection["access"] =>
  section.kconfig ? "kconfig" : (map.attr.flags & MapFlag.BPF_F_RDONLY_PROG) !== 0 ? "constant" : "variable"

const words: Readonly<Record<TsSection["access"], string>> = {
  constant: ": constants once they are loaded",
  variable: "",
  kconfig: ": what the kernel's configuration says"
}

/** How C declares a variable, for people. */
const declared = ({ dumper }: Context, { name, type }: SkeletonVariable): string =>
  Result.getOrElse(BtfDump.declareType(dumper, type, { name, omitBodies: true }), () => name)

/** The type of a variable's values, and its codec: bytes where the type has no values. */
const codecOf = ({ btf, codecs, runtime }: Context, { identifier, size, type }: SkeletonVariable) => {
  const found = TsCodecs.codecOf(codecs, Btf.skipModifiers(btf, type), identifier)
  return Result.isSuccess(found) && found.success.size <= size
    ? found.success
    : { type: "Uint8Array", codec: `${runtime}.bytes(${size})`, size, flexible: false }
}

/** A section. `sectionName` is what C calls it, `type` what the module calls the interface of its variables. */
export const make = (
  context: Context,
  section: ObjectSection,
  map: MapDefinition,
  sectionName: string,
  type: string
): TsSection => {
  const { runtime } = context
  const access = accessOf(section, map)
  const constant = `$section_${section.identifier}`
  const maker = access === "constant" ? "constants" : access === "kconfig" ? "kconfig" : "variables"
  const variables = section.variables.map((variable) => ({ variable, codec: codecOf(context, variable) }))
  const properties = variables.map(({ codec, variable }) =>
    `  /** \`${TsText.comment(declared(context, variable))}\` */\n  ${TsText.key(variable.identifier)}: ${codec.type}\n`
  )
  const descriptions = variables.map(({ codec, variable }) => {
    const { identifier, name, offset, size } = variable
    // A flexible array has the rest of the variable.
    const extent = size === codec.size ? "" : `, ${size}`
    return `\n  ${TsText.key(identifier)}: ${runtime}.variable(${
      TsText.literal(name)
    }, ${offset}, ${codec.codec}${extent})`
  })
  const about = `/** The variables of ${TsText.comment(sectionName)}${words[access]}. */\n`
  return {
    identifier: section.identifier,
    type,
    constant,
    access,
    text: `${about}${
      properties.length === 0
        ? `export type ${type} = Readonly<Record<never, never>>\n`
        : `export interface ${type} {\n${properties.join("")}}\n`
    }const ${constant}: ${runtime}.Section<${type}> = ${runtime}.${maker}(${TsText.literal(sectionName)}, {${
      descriptions.join(",")
    }${descriptions.length === 0 ? "" : "\n"}})\n`
  }
}
