/**
 * Light skeletons in TypeScript: a module with the loader program of an object, its variables, maps and programs under their
 * names, `open` and `load`. It needs `effect` and `effect-bpf/light`, and nothing else: no object file, no ELF, no BTF.
 *
 * Variables are properties: numbers, booleans and 64-bit integers as such, everything else as its bytes in place. Constants
 * can be changed before the load; afterwards they are a copy.
 *
 * Source of the rules of names: reference page `skeleton`, sections 1 and 6.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Btf from "../../btf/Btf.ts"
import * as BtfDump from "../../btf/BtfDump.ts"
import { attempt } from "../../internal/attempt.ts"
import type { BpfObject } from "../open/BpfObject.ts"
import * as LoaderProgram from "./LoaderProgram.ts"
import {
  makeNames,
  shapeOf,
  SkeletonError,
  type SkeletonSection,
  type SkeletonShape,
  type SkeletonVariable
} from "./skeleton/SkeletonShape.ts"

export { nameOfFile, SkeletonError } from "./skeleton/SkeletonShape.ts"

/** What a module is to be like. */
export interface SkeletonOptions {
  /** What the object is called in comments and spans; `nameOfFile` has the one that bpftool would take. */
  readonly name: string
  /** Where the runtime is imported from; default `effect-bpf/light`. */
  readonly runtime?: string
}

const isSkeletonError = (thrown: unknown): thrown is SkeletonError => thrown instanceof SkeletonError

/** Names that a module uses itself beside those of variables, maps and programs. */
const reserved: ReadonlySet<string> = new Set(
  "bytes view maps programs session log open load loader constructor __proto__ prototype".split(" ")
)

/** Names of the module's own types and values, which sections must not have. */
const ownTypes: ReadonlySet<string> = new Set(
  "Effect Light Scope Maps Programs Opened Loaded MapName Uint8Array DataView Map Object Record Readonly".split(" ")
)

/** How a variable is read and written: the runtime's field, and its type. */
interface Access {
  readonly field: string
  readonly type: string
  /** Whether the property itself can be assigned. */
  readonly assignable: boolean
}

const accessOf = (btf: Btf.Btf, { offset, size, type }: SkeletonVariable): Access => {
  const bytes: Access = { field: `Light.bytes(${offset}, ${size})`, type: "Uint8Array", assignable: false }
  const number = (signed: boolean): Access =>
    size === 8
      ? { field: `Light.bigint(${offset}, ${signed})`, type: "bigint", assignable: true }
      : size === 1 || size === 2 || size === 4
      ? { field: `Light.number(${offset}, ${size}, ${signed})`, type: "number", assignable: true }
      : bytes
  const found = Btf.typeOf(btf, Btf.resolveType(btf, type))
  switch (found._tag) {
    case "Int":
      if ((found.encoding & Btf.BTF_INT_BOOL) !== 0 && size === 1) {
        return { field: `Light.bool(${offset})`, type: "boolean", assignable: true }
      }
      return number((found.encoding & Btf.BTF_INT_SIGNED) !== 0)
    case "Float":
      return size === 4 || size === 8
        ? { field: `Light.float(${offset}, ${size})`, type: "number", assignable: true }
        : bytes
    case "Enum":
    case "Enum64":
      return number(found.signed)
    case "Ptr":
      return size === 8 ? number(false) : bytes
    default:
      return bytes
  }
}

/** Text inside a comment of one line. */
const comment = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, "?").replaceAll("*/", "* /")

/** A property's name, which may be any text. */
const key = (name: string): string => /^[A-Za-z_$][A-Za-z0-9_$]*$/.test(name) ? name : JSON.stringify(name)

/** A section's own type and function: `Rodata`, `rodata`. */
interface Named {
  readonly section: SkeletonSection
  readonly type: string
  readonly property: string
  readonly accesses: ReadonlyArray<{ readonly variable: SkeletonVariable; readonly access: Access }>
  /** The type of the variable in C, for people. */
  readonly declared: (variable: SkeletonVariable) => string
}

const sectionText = ({ accesses, declared, property, section, type }: Named): string => {
  const fields = accesses.map(({ access, variable }) => `    ${key(variable.identifier)}: ${access.field}`)
  return `
/** Variables of ${comment(section.identifier)}${
    section.kconfig
      ? ": what the kernel's configuration says"
      : section.readOnly
      ? ": constants once they are loaded"
      : ""
  }. */
export interface ${type} {
  /** The whole section, ${section.image.length} bytes. */
  readonly bytes: Uint8Array
${
    accesses.map(({ access, variable }) =>
      `  /** \`${comment(declared(variable))}\` */\n` +
      `  ${access.assignable ? "" : "readonly "}${key(variable.identifier)}: ${access.type}\n`
    ).join("")
  }}

/** The variables in the bytes of such a section. */
export const ${property}Of = (bytes: Uint8Array): ${type} =>
  Light.section(bytes, {${fields.length === 0 ? "" : `\n${fields.join(",\n")}\n  `}})
`
}

/** Base64 in lines. */
const lines = (text: string): string => {
  const parts = text.match(/.{1,110}/g) ?? [""]
  return parts.map((part) => JSON.stringify(part)).join(" +\n    ")
}

/** The loader as the runtime takes it: what `LoaderProgram` is, with bytes in base64. */
const descriptionText = (loader: LoaderProgram.LoaderProgram, shape: SkeletonShape): string => {
  const { data: _, insns: __, notes: ___, signed, ...plain } = loader
  const json = Schema.encodeResult(LoaderProgram.codec)(loader)
  if (Result.isFailure(json)) {
    throw new SkeletonError({ reason: "Mismatch", name: shape.name, detail: "the loader is not consistent" })
  }
  const { data, insns } = json.success
  const fields = Object.entries({
    ...plain,
    notes: [],
    sections: shape.sections.map(({ map, readOnly }) => ({ map, writable: !readOnly }))
  })
  return `
/** The loader program, and where its maps, programs and sections are in it. */
export const loader: Light.Description = {
  insns: ${lines(insns)},
  data: ${lines(data)},
${
    signed === undefined ?
      "" :
      `  signed: { covers: ${JSON.stringify(signed.covers)}${
        json.success.signed?.signature === undefined ? "" : `, signature: ${lines(json.success.signed.signature)}`
      } },\n`
  }${fields.map(([name, value]) => `  ${name}: ${JSON.stringify(value)}`).join(",\n")}
}
`
}

/** A struct of one property for each of these. */
const record = (
  name: string,
  about: string,
  properties: ReadonlyArray<{ readonly name: string; readonly type: string }>
): string =>
  properties.length === 0
    ? `\n/** ${about}: there are none. */\nexport type ${name} = Readonly<Record<never, never>>\n`
    : `\n/** ${about}. */\nexport interface ${name} {\n${
      properties.map((each) => `  readonly ${key(each.name)}: ${each.type}\n`).join("")
    }}\n`

const capital = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`

/** The module of an object and its loader. */
export const make = (
  object: BpfObject,
  loader: LoaderProgram.LoaderProgram,
  { name, runtime = "effect-bpf/light" }: SkeletonOptions
): Result.Result<string, SkeletonError> =>
  attempt(isSkeletonError, () => {
    const shaped = shapeOf(object, loader, name, reserved)
    if (Result.isFailure(shaped)) throw shaped.failure
    const shape = shaped.success
    const { btf } = object
    const typeNames = makeNames(ownTypes)
    const dumper = btf === undefined ? undefined : BtfDump.makeDumper(btf)
    const sections = shape.sections.map((section): Named => ({
      section,
      type: typeNames(capital(section.identifier)),
      property: section.identifier,
      accesses: btf === undefined
        ? []
        : section.variables.map((variable) => ({ variable, access: accessOf(btf, variable) })),
      declared: (variable) => {
        if (dumper === undefined) return variable.name
        const { name, type } = variable
        return Result.getOrElse(BtfDump.declareType(dumper, type, { name, omitBodies: true }), () => name)
      }
    }))
    const maps = shape.maps.flatMap((map, number) => map.published ? [{ ...map, number }] : [])
    const programs = shape.programs.flatMap((program, number) => program.published ? [{ ...program, number }] : [])
    const typed = (properties: ReadonlyArray<{ readonly identifier: string }>, type: string) =>
      properties.map(({ identifier }) => ({ name: identifier, type }))
    const mapNames = loader.maps.map((map) => JSON.stringify(map.name))
    return `/**
 * Made by effect-bpf gen skeleton -L --lang ts: ${comment(name)}. Changes are lost when it is made again.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Light from ${JSON.stringify(runtime)}
${sections.map(sectionText).join("")}${record("Maps", "The maps", typed(maps, "Light.MapRef"))}${
      record("Programs", "The programs that are loaded", typed(programs, "Light.ProgRef"))
    }
/** What a map is called in the options of a load. */
export type MapName = ${mapNames.length === 0 ? "never" : mapNames.join(" | ")}
${
      record(
        "Opened",
        "The variables before the load",
        sections.map(({ property, type }) => ({ name: property, type }))
      )
    }
/** What is loaded: it lives as long as its scope. */
export interface Loaded {
  /** Calls on the maps and programs go through it. */
  readonly session: Light.Session
  readonly maps: Maps
  readonly programs: Programs
  /** What the verifier said, where it was asked. */
  readonly log: string
${
      sections.map(({ property, section, type }) =>
        `  readonly ${key(property)}: ${section.readOnly ? `Readonly<${type}>` : type}\n`
      ).join("")
    }}
${descriptionText(loader, shape)}
/** The variables as the object initialises them, to be changed before the load. */
export const open = (): Opened => {
${
      sections.length === 0
        ? "  return {}\n"
        : `  const images = Light.images(loader)\n  return {\n${
          sections.map(({ property, section }) =>
            `    ${key(property)}: ${property}Of(Light.image(images, ${section.map}))`
          ).join(",\n")
        }\n  }\n`
    }}

/** Loads the object with these variables, for as long as the scope. */
export const load = (
  ${sections.length === 0 ? "_opened" : "opened"}: Opened = open(),
  options: Light.LoadOptions<MapName> = {}
): Effect.Effect<Loaded, Light.LoadError, Scope.Scope> =>
  Effect.map(
    Light.load(
      loader,
      new Map<number, Uint8Array>([${
      sections.map(({ property, section }) => `[${section.map}, opened.${property}.bytes]`).join(", ")
    }]),
      options
    ),
    (loaded) => ({
      session: loaded.session,
      maps: {${maps.map(({ identifier, number }) => `\n        ${key(identifier)}: loaded.map(${number})`).join(",")}${
      maps.length === 0 ? "" : "\n      "
    }},
      programs: {${
      programs.map(({ identifier, number }) => `\n        ${key(identifier)}: loaded.program(${number})`).join(",")
    }${programs.length === 0 ? "" : "\n      "}},
      log: loaded.log${
      sections.map(({ property, section }) =>
        `,\n      ${key(property)}: ${property}Of(loaded.section(${section.map}))`
      ).join("")
    }
    })
  )
`
  })
