/**
 * Light skeletons in TypeScript: a module with the loader program of an object, its types and codecs, its variables, maps and
 * programs under their names, `open`, `load` and `attach`. It needs `effect` and `effect-bpf/light`, and nothing else: no object
 * file, no ELF, no BTF.
 *
 * Variables are properties: numbers in place, everything else as values of their types, which are assigned as wholes. Constants
 * can be changed before the load; afterwards they are a copy.
 *
 * Source of the rules of names: reference page `skeleton`, sections 1 and 6.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
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
import * as TsCodecs from "./skeleton/TsCodecs.ts"
import * as TsLight from "./skeleton/TsLight.ts"
import { comment, key, lines, reservedWords } from "./skeleton/TsText.ts"

export { nameOfFile, SkeletonError } from "./skeleton/SkeletonShape.ts"

/** What a module is to be like. */
export interface SkeletonOptions {
  /** What the object is called in comments and spans; `nameOfFile` has the one that bpftool would take. */
  readonly name: string
  /**
   * Where the runtime is imported from; default `effect-bpf/light`. Its parts are below it: `effect-bpf/light/maps`, or of a file
   * `light.ts` the file `light/Maps.ts`.
   */
  readonly runtime?: string
}

const isSkeletonError = (thrown: unknown): thrown is SkeletonError => thrown instanceof SkeletonError

/** Names that a module uses itself beside those of variables, maps and programs. */
const reserved: ReadonlySet<string> = new Set(
  "bytes view maps programs session log open load loader constructor __proto__ prototype".split(" ")
)

/** Names of the module's own types and values, which sections must not have. */
const ownTypes: ReadonlySet<string> = new Set(
  "Effect Light LightMaps LightAttach Scope Maps Programs Links Opened Loaded MapName Uint8Array DataView Map Object Record Readonly"
    .split(" ")
)

/** A section's own type and function: `Rodata`, `rodata`. */
interface Named {
  readonly section: SkeletonSection
  readonly type: string
  readonly property: string
  readonly accesses: ReadonlyArray<{ readonly variable: SkeletonVariable; readonly access: TsLight.Access }>
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

/** A part of the runtime: beside its file where it is a file, else below it. */
const partOf = (runtime: string, part: string): string =>
  runtime.endsWith(".ts") ? `${runtime.slice(0, -".ts".length)}/${part}.ts` : `${runtime}/${part.toLowerCase()}`

const capital = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`

/** `attach`: the programs that can be attached without a word of their user. */
const attachText = (names: ReadonlyArray<string>): string => `
/** The links of the programs whose sections say to what they are attached. */
export interface Links {
${names.map((name) => `  readonly ${key(name)}: LightAttach.Link\n`).join("")}}

/** Attaches the programs whose sections say to what, for as long as the scope. */
export const attach = ({ programs }: Loaded): Effect.Effect<Links, LightAttach.AttachFailure, Scope.Scope> =>
  Effect.all({
${
  names.map((name) =>
    `    ${key(name)}: programs${/^[A-Za-z_$][\w$]*$/.test(name) ? `.${name}` : `[${key(name)}]`}.attach()`
  ).join(",\n")
}
  })
`

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
    const typeNames = makeNames(new Set([...ownTypes, ...reservedWords]))
    const dumper = btf === undefined ? undefined : BtfDump.makeDumper(btf)
    const sectionTypes = shape.sections.map(({ identifier }) => typeNames(capital(identifier)))
    const codecs = btf === undefined ? undefined : TsCodecs.make(btf, {
      runtime: "Light.LayoutCodec",
      reserved: new Set([
        ...ownTypes,
        ...reserved,
        ...sectionTypes,
        ...shape.sections.map(({ identifier }) => `${identifier}Of`),
        "attach",
        "loaded"
      ]),
      byteOrder: object.byteOrder
    })
    const sections = shape.sections.map((section, at): Named => ({
      section,
      type: sectionTypes[at] ?? "",
      property: section.identifier,
      accesses: codecs === undefined
        ? []
        : section.variables.map((variable) => ({ variable, access: TsLight.accessOf(codecs, variable) })),
      declared: (variable) => {
        if (dumper === undefined) return variable.name
        const { name, type } = variable
        return Result.getOrElse(BtfDump.declareType(dumper, type, { name, omitBodies: true }), () => name)
      }
    }))
    const events = TsLight.eventTypes(object)
    const maps = shape.maps.flatMap((map, number) => {
      const definition = object.maps[loader.maps[number]?.ref ?? -1]
      return map.published && definition !== undefined
        ? [{ name: map.identifier, ...TsLight.map(codecs, definition, number, events) }]
        : []
    })
    const programs = shape.programs.flatMap((program, number) => {
      const definition = object.programs[loader.programs[number]?.ref ?? -1]
      return program.published && definition !== undefined
        ? [{ name: program.identifier, definition, ...TsLight.program(definition, number) }]
        : []
    })
    const attached = programs.filter(({ definition }) => TsLight.attachesItself(definition))
    const parts = new Set([...maps, ...programs].map(({ part }) => part))
    const mapNames = loader.maps.map((map) => JSON.stringify(map.name))
    return `/**
 * Made by effect-bpf gen skeleton -L --lang ts: ${comment(name)}. Changes are lost when it is made again.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Light from ${JSON.stringify(runtime)}
${parts.has("LightAttach") ? `import * as LightAttach from ${JSON.stringify(partOf(runtime, "Attach"))}\n` : ""}${
      parts.has("LightMaps") ? `import * as LightMaps from ${JSON.stringify(partOf(runtime, "Maps"))}\n` : ""
    }
${codecs === undefined ? "" : TsCodecs.text(codecs)}${sections.map(sectionText).join("")}${
      record("Maps", "The maps", maps)
    }${record("Programs", "The programs that are loaded", programs)}
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
): Effect.Effect<Loaded, Light.LoadError${parts.has("LightMaps") ? " | LightMaps.MapError" : ""}, Scope.Scope> =>
  Effect.flatMap(
    Light.load(
      loader,
      new Map<number, Uint8Array>([${
      sections.map(({ property, section }) => `[${section.map}, opened.${property}.bytes]`).join(", ")
    }]),
      options
    ),
    (loaded) =>
      Effect.map(Effect.all({${maps.map(({ expression, name }) => `\n        ${key(name)}: ${expression}`).join(",")}${
      maps.length === 0 ? "" : "\n      "
    }}), (maps) => ({
        session: loaded.session,
        maps,
        programs: {${programs.map(({ expression, name }) => `\n          ${key(name)}: ${expression}`).join(",")}${
      programs.length === 0 ? "" : "\n        "
    }},
        log: loaded.log${
      sections.map(({ property, section }) =>
        `,\n        ${key(property)}: ${property}Of(loaded.section(${section.map}))`
      ).join("")
    }
      }))
  )
${attached.length === 0 ? "" : attachText(attached.map(({ name }) => name))}`
  })
