/**
 * What modules of skeletons and of subskeletons say alike: the types, maps, programs and sections of an object.
 *
 * Source of the rules of names: reference page `skeleton`, sections 1 and 6.
 */
import * as BtfDump from "../../../btf/BtfDump.ts"
import { type BpfObject, entryPrograms } from "../../open/BpfObject.ts"
import * as ObjectShape from "./ObjectShape.ts"
import { get, makeNames } from "./SkeletonShape.ts"
import * as TsCodecs from "./TsCodecs.ts"
import { layoutsOf } from "./TsLayouts.ts"
import * as TsMaps from "./TsMaps.ts"
import * as TsPrograms from "./TsPrograms.ts"
import * as TsSections from "./TsSections.ts"
import * as TsText from "./TsText.ts"

/** The name of the runtime in the text. */
export const runtime = "Skeleton"

/** Names that a module has itself. */
const ownNames: ReadonlySet<string> = new Set(
  "Skeleton Maps Programs InitialGlobals Globals Opened Loaded Found skeleton subskeleton open load attachTo".split(" ")
)

/** An interface of one property for each of these. */
export const record = (
  name: string,
  about: string,
  properties: ReadonlyArray<{ readonly name: string; readonly type: string; readonly about?: string }>
): string =>
  properties.length === 0
    ? `/** ${about}: there are none. */\nexport type ${name} = Readonly<Record<never, never>>\n`
    : `/** ${about}. */\nexport interface ${name} {\n${
      properties.map((each) =>
        `${each.about === undefined ? "" : `  /** ${each.about} */\n`}  readonly ${
          TsText.key(each.name)
        }: ${each.type}\n`
      ).join("")
    }}\n`

/** An object of one property for each of these, as text. */
export const literal = (
  properties: ReadonlyArray<{ readonly name: string; readonly expression: string }>
): string =>
  properties.length === 0
    ? "{}"
    : `{\n${properties.map(({ expression, name }) => `    ${TsText.key(name)}: ${expression}`).join(",\n")}\n  }`

const capital = (text: string): string => `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`

/** A property of an interface, and the expression that describes it. */
export interface Part extends TsPrograms.Member {
  readonly name: string
}

/** What is said of an object. */
export interface Parts {
  /** The declarations of its types, and of its sections. */
  readonly types: string
  /** The layouts of its types, by their C names. */
  readonly layouts: ReadonlyArray<{ readonly name: string; readonly expression: string }>
  readonly maps: ReadonlyArray<Part>
  readonly programs: ReadonlyArray<Part & { readonly about: string }>
  readonly sections: ReadonlyArray<TsSections.TsSection>
  /** An object of the descriptions of sections. */
  readonly described: (sections: ReadonlyArray<TsSections.TsSection>) => string
}

/** The parts of an object. Throws `SkeletonError`. */
export const partsOf = (object: BpfObject, name: string): Parts => {
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
      about: `\`SEC("${TsText.comment(program.section)}")\``,
      ...TsPrograms.member(object, codecs, program, runtime)
    }]
  })
  return {
    types: [...(codecs === undefined ? [] : [TsCodecs.text(codecs)]), ...sections.map(({ text }) => text)].join("\n"),
    layouts: layoutsOf(object, mapContext.events),
    maps,
    programs,
    sections,
    described: (of) => literal(of.map(({ constant, identifier }) => ({ name: identifier, expression: constant })))
  }
}
