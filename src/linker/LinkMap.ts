/**
 * The map of a link: where each section and symbol came from, which definition counted and why.
 */
import type { Input } from "./Input.ts"
import type { Layout, OutputSection } from "./Layout.ts"
import { place } from "./Layout.ts"
import type { Singular } from "./License.ts"
import { type Globals, type Mention, type Why, winnerOf } from "./Symbols.ts"
import type { MergedTypes, TypeCount } from "./Types.ts"

/** A part of a section of the output. */
export interface MapPart {
  /** Name of the input. */
  readonly file: string
  /** Bytes from the start of the output section, and of the part. */
  readonly offset: number
  readonly size: number
  /** Bytes of the input's section that were left out. */
  readonly leftOut: number
}

/** A section of the output. */
export interface MapSection {
  readonly name: string
  /** `declared`: it is in the types alone, for variables that the kernel gives. */
  readonly kind: "data" | "code" | "zeros" | "relocations" | "declared"
  /** Index in the file, 0 for one that is declared only. */
  readonly index: number
  readonly size: number
  readonly alignment: number
  readonly parts: ReadonlyArray<MapPart>
}

/** What one file says of a symbol. */
export interface MapMention {
  readonly file: string
  readonly section: string | undefined
  readonly kind: "definition" | "extern"
  readonly weak: boolean
  readonly hidden: boolean
  /** Whether the output's symbol is this one. */
  readonly counts: boolean
  /** Of a definition that does not count: whether its bytes were left out, or stay without use. */
  readonly leftOut: boolean
}

/** A global symbol of the output. */
export interface MapSymbol {
  readonly name: string
  readonly section: string | undefined
  /** Bytes from the start of the output section; 0 for an extern. */
  readonly offset: number
  readonly size: number
  /**
   * Why the mention that counts does: `only` definition; `strong`, beside weak ones; `firstWeak` of several; `extern`,
   * because nobody defines it.
   */
  readonly why: Why
  readonly mentions: ReadonlyArray<MapMention>
}

/** The map of a link. */
export interface LinkMap {
  readonly relocatable: boolean
  readonly inputs: ReadonlyArray<{ readonly file: string; readonly bytes: number }>
  /** Bytes of the output. */
  readonly bytes: number
  /** In the order of the output, with declared ones where they were first. */
  readonly sections: ReadonlyArray<MapSection>
  /** In the order in which the files mention them. */
  readonly symbols: ReadonlyArray<MapSymbol>
  /** The license, and the files that have it, or licenses that were joined to it. */
  readonly license: { readonly text: string; readonly files: ReadonlyArray<string> } | undefined
  /** The types before and after they were merged and deduplicated. */
  readonly types: { readonly before: TypeCount; readonly after: TypeCount } | undefined
}

/** What the map is made of. */
interface Made {
  readonly inputs: ReadonlyArray<Input>
  readonly globals: Globals
  readonly layout: Layout
  readonly types: MergedTypes | undefined
  readonly singular: Singular
  readonly bytes: Uint8Array
  readonly isFinal: boolean
}

/** Makes the map. */
export const makeMap = ({ bytes, globals, inputs, isFinal, layout, singular, types }: Made): LinkMap => {
  const license = singular.get("license")
  const isLeftOut = (mention: Mention): boolean => {
    const part = mention.section === undefined ? undefined : layout.parts.get(mention.section)
    return part !== undefined && place(part, mention.value) < 0
  }
  const symbols: Array<MapSymbol> = []
  for (const global of globals.values()) {
    const { why, winner } = winnerOf(global)
    const part = winner.section === undefined ? undefined : layout.parts.get(winner.section)
    symbols.push({
      name: global.name,
      section: part?.output.name,
      offset: part === undefined || !winner.isDefined ? 0 : place(part, winner.value),
      size: winner.size,
      why,
      mentions: global.mentions.map((mention) => ({
        file: mention.input.name,
        section: mention.section?.name,
        kind: mention.isDefined ? "definition" : "extern",
        weak: mention.isWeak,
        hidden: mention.isHidden,
        counts: mention === winner,
        leftOut: mention !== winner && mention.isDefined && isLeftOut(mention)
      }))
    })
  }
  return {
    relocatable: !isFinal,
    inputs: inputs.map(({ name, size }) => ({ file: name, bytes: size })),
    bytes: bytes.length,
    sections: layout.sections.map(mapSection),
    symbols,
    license: license === undefined ? undefined : { text: license.license, files: license.files },
    types: types === undefined ? undefined : { before: types.before, after: types.after }
  }
}

const kindOf = ({ index, isCode, isRelocations, type }: OutputSection): MapSection["kind"] => {
  if (index === 0) return "declared"
  if (isRelocations) return "relocations"
  if (isCode) return "code"
  return type === 8 ? "zeros" : "data"
}

const mapSection = (output: OutputSection): MapSection => ({
  name: output.name,
  kind: kindOf(output),
  index: output.index,
  size: output.size,
  alignment: output.alignment,
  parts: output.parts.map(({ pieces, section }) => {
    const first = pieces.find(({ end, start }) => end > start) ?? pieces[0]
    const last = pieces[pieces.length - 1]
    const kept = pieces.reduce((sum, { end, start }) => sum + end - start, 0)
    const offset = first?.at ?? 0
    return {
      file: section.input.name,
      offset,
      size: last === undefined ? 0 : Math.max(0, last.at + last.end - last.start - offset),
      leftOut: section.size - kept
    }
  })
})

const whys: Readonly<Record<Why, string>> = {
  only: "the only definition",
  strong: "strong, beats weak ones",
  firstWeak: "the first of several weak ones",
  extern: "defined by nobody"
}

const hex = (value: number): string => `0x${value.toString(16)}`

/** The map as text. */
export const text = (map: LinkMap): string => {
  const lines = [`${map.relocatable ? "Partial" : "Final"} link of ${map.inputs.length} files: ${map.bytes} bytes`]
  for (const { bytes, file } of map.inputs) lines.push(`  ${file}  ${bytes} bytes`)
  if (map.license !== undefined) lines.push("", `License: ${map.license.text}`)
  lines.push("", "Sections")
  for (const { alignment, index, kind, name, parts, size } of map.sections) {
    const where = index === 0 ? "" : `[${index}] `
    lines.push(`  ${where}${name}  ${kind}, ${size} bytes, aligned to ${alignment}`)
    for (const { file, leftOut, offset, size } of parts) {
      lines.push(`    ${hex(offset)}  ${size} bytes  ${file}${leftOut === 0 ? "" : `, ${leftOut} bytes left out`}`)
    }
  }
  lines.push("", "Symbols")
  for (const { mentions, name, offset, section, size, why } of map.symbols) {
    const where = why === "extern" ? section ?? "extern" : `${section ?? "?"}+${hex(offset)}, ${size} bytes`
    lines.push(`  ${name}  ${where}: ${whys[why]}`)
    for (const mention of mentions) {
      const kind = `${mention.weak ? "weak " : ""}${mention.hidden ? "hidden " : ""}${mention.kind}`
      const end = mention.counts
        ? " *"
        : mention.kind === "extern"
        ? ""
        : mention.leftOut
        ? ", left out"
        : ", kept without use"
      lines.push(`    ${mention.file}: ${kind}${end}`)
    }
  }
  const { types } = map
  if (types !== undefined) {
    lines.push(
      "",
      `Types: ${types.before.types} in ${types.before.bytes} bytes became ${types.after.types} in ${types.after.bytes} bytes, `
        + `${types.before.bytes - types.after.bytes} bytes saved`
    )
  }
  return `${lines.join("\n")}\n`
}
