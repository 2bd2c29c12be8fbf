/**
 * Skeletons in TypeScript: a module with an object's types and codecs, its maps, programs and variables under their names,
 * and `open` and `load`. It needs `effect` and `effect-bpf/skeleton`, and nothing else.
 *
 * The text is the same whenever it is made of the same object.
 *
 * Source of the rules of names: reference page `skeleton`, sections 1 and 6.
 */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import * as BtfDump from "../../btf/BtfDump.ts"
import { attempt } from "../../internal/attempt.ts"
import { type BpfObject, entryPrograms } from "../open/BpfObject.ts"
import * as ObjectShape from "./skeleton/ObjectShape.ts"
import { get, isSkeletonError, makeNames, type SkeletonError } from "./skeleton/SkeletonShape.ts"
import * as TsCodecs from "./skeleton/TsCodecs.ts"
import * as TsMaps from "./skeleton/TsMaps.ts"
import * as TsPrograms from "./skeleton/TsPrograms.ts"
import * as TsSections from "./skeleton/TsSections.ts"
import * as TsText from "./skeleton/TsText.ts"

export { nameOfFile, SkeletonError } from "./skeleton/SkeletonShape.ts"

/** What a module is to be like. */
export interface SkeletonOptions {
  /** What the object is called when it is loaded, and in errors; `nameOfFile` has the one that bpftool would take. */
  readonly name: string
  /** Where the object is: its bytes in the module, or a file whose path is relative to it. */
  readonly source:
    | { readonly _tag: "Embedded"; readonly bytes: Uint8Array }
    | { readonly _tag: "Beside"; readonly file: string }
  /** Where the runtime is imported from; default `effect-bpf/skeleton`. */
  readonly runtime?: string
}

/** The name of the runtime in the text. */
const runtime = "Skeleton"

/** Names that a module has itself. */
const ownNames: ReadonlySet<string> = new Set(
  "Skeleton Maps Programs InitialGlobals Globals Opened Loaded skeleton open load".split(" ")
)

/** An interface of one property for each of these. */
const record = (
  name: string,
  about: string,
  properties: ReadonlyArray<{ readonly name: string; readonly type: string; readonly about?: string }>
): string =>
  properties.length === 0
    ? `/** ${about}: there are none. */\nexport type ${name} = Readonly<Record<never, never>>\n`
    : `/** ${about}. */\nexport interface ${name} {\n${
      properties.map((each) =>
        `${each.about === undefined ? "" : `  /** ${TsText.comment(each.about)} */\n`}  readonly ${
          TsText.key(each.name)
        }: ${each.type}\n`
      ).join("")
    }}\n`

/** An object of one property for each of these, as text. */
const literal = (
  properties: ReadonlyArray<{ readonly name: string; readonly expression: string }>
): string =>
  properties.length === 0
    ? "{}"
    : `{\n${properties.map(({ expression, name }) => `    ${TsText.key(name)}: ${expression}`).join(",\n")}\n  }`

const capital = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`

/** The module of an object. */
export const make = (
  object: BpfObject,
  { name, runtime: from = "effect-bpf/skeleton", source }: SkeletonOptions
): Result.Result<string, SkeletonError> =>
  attempt(isSkeletonError, () => {
    const shape = get(ObjectShape.shapeOf(object, name, new Set()))
    const { btf } = object
    const typeNames = makeNames(new Set([...ownNames, ...TsText.reservedWords]))
    const sectionTypes = shape.maps.map(({ section }) =>
      section === undefined ? "" : typeNames(capital(section.identifier))
    )
    const codecs = btf === undefined ? undefined : TsCodecs.make(btf, {
      runtime: `${runtime}.LayoutCodec`,
      reserved: new Set([...ownNames, ...sectionTypes]),
      byteOrder: object.byteOrder
    })
    const context = btf === undefined || codecs === undefined
      ? undefined
      : { btf, codecs, dumper: BtfDump.makeDumper(btf), runtime }
    const sections = shape.maps.flatMap((map, at) => {
      const definition = object.maps[at]
      return map.section === undefined || definition === undefined || context === undefined
        ? []
        : [TsSections.make(context, map.section, definition, map.name, sectionTypes[at] ?? "")]
    })
    const mapContext = TsMaps.context(object, codecs, runtime)
    const maps = shape.maps.flatMap((map, at) => {
      const definition = object.maps[at]
      return definition === undefined
        ? []
        : [{ name: map.identifier, ...TsMaps.member(mapContext, definition, map.name, at) }]
    })
    const programs = entryPrograms(object).flatMap((program, at) => {
      const { identifier } = shape.programs[at] ?? { identifier: program.name }
      return [{
        name: identifier,
        about: `\`SEC("${program.section}")\``,
        ...TsPrograms.member(object, codecs, program, runtime)
      }]
    })
    const initial = sections.filter(({ access }) => access !== "kconfig")
    const described = (of: typeof sections) =>
      literal(of.map(({ constant, identifier }) => ({ name: identifier, expression: constant })))
    const bytes = source._tag === "Embedded"
      ? `${runtime}.embedded(() => $object)`
      : `${runtime}.beside(${TsText.literal(source.file)}, import.meta)`
    return `/**
 * Made by effect-bpf gen skeleton --lang ts: ${TsText.comment(name)}. Changes are lost when it is made again.
 */
import * as ${runtime} from ${TsText.literal(from)}

${[...(codecs === undefined ? [] : [TsCodecs.text(codecs)]), ...sections.map(({ text }) => text)].join("\n")}
${record("Maps", "The maps of the loaded object", maps)}
${record("Programs", "The programs of the loaded object", programs)}
${
      record(
        "InitialGlobals",
        "The variables before the load",
        initial.map(({ identifier, type }) => ({ name: identifier, type }))
      )
    }
${
      record(
        "Globals",
        "The variables of the loaded object",
        sections.map(({ access, identifier, type }) => ({
          name: identifier,
          type: access === "variable" ? type : `Readonly<${type}>`
        }))
      )
    }
/** The object before the load: what can be changed, and \`load\`. */
export interface Opened extends ${runtime}.Opened<Maps, Programs, InitialGlobals, Globals> {}

/** The loaded object: it lives as long as its scope. */
export interface Loaded extends ${runtime}.Loaded<Maps, Programs, Globals> {}

const skeleton: ${runtime}.Skeleton<Maps, Programs, InitialGlobals, Globals> = ${runtime}.make<
  Maps,
  Programs,
  InitialGlobals,
  Globals
>({
  name: ${TsText.literal(name)},
  object: ${bytes},
  maps: ${literal(maps)},
  programs: ${literal(programs)},
  initial: ${described(initial)},
  globals: ${described(sections)}
})

/** Opens the object. */
export const open = skeleton.open

/** Opens the object and loads it, for as long as the scope. */
export const load = skeleton.load
${
      source._tag === "Embedded"
        ? `\n/** The object file, in base64. */\nconst $object: string =\n    ${
          TsText.lines(Base64.encode(source.bytes))
        }\n`
        : ""
    }`
  })
