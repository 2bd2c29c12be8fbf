/** The JSON of `gen object`. */
import type { LinkMap } from "../../linker/LinkMap.ts"
import type { TypeCount } from "../../linker/Types.ts"
import type * as Documents from "../schemas/Gen.ts"

const countDocument = ({ bytes, strings, types }: TypeCount): typeof Documents.Count.Type => ({
  bytes,
  types,
  bytes_strings: strings
})

/** What was linked, and the map of it. */
export const linkDocument = (
  output: string,
  { bytes, inputs, license, relocatable, sections, symbols, types }: LinkMap
): typeof Documents.Linked.Type => ({
  output: { path: output, bytes },
  relocatable,
  inputs: inputs.map(({ bytes, file }) => ({ path: file, bytes })),
  license: license === undefined ? null : { text: license.text, files: [...license.files] },
  types: types === undefined ? null : { before: countDocument(types.before), after: countDocument(types.after) },
  sections: sections.map(({ alignment, index, kind, name, parts, size }) => ({
    name,
    kind,
    index,
    size,
    alignment,
    parts: parts.map(({ file, leftOut, offset, size }) => ({ path: file, offset, size, left_out: leftOut }))
  })),
  symbols: symbols.map(({ mentions, name, offset, section, size, why }) => ({
    name,
    section: section ?? null,
    offset,
    size,
    why,
    mentions: mentions.map(({ counts, file, hidden, kind, leftOut, section, weak }) => ({
      path: file,
      section: section ?? null,
      kind,
      weak,
      hidden,
      counts,
      left_out: leftOut
    }))
  }))
})
