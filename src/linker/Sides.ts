/** Definitions as text, for messages that show both sides of a conflict. */
import * as Btf from "../btf/Btf.ts"
import type { LinkSide } from "./LinkError.ts"
import type { Mention } from "./Symbols.ts"

/** Members that are shown of a struct. */
const MAX_MEMBERS = 32

/** What a file says of a symbol, as C. */
export const sideOf = (mention: Mention): LinkSide => ({
  file: mention.input.name,
  ...(mention.section === undefined ? {} : { section: mention.section.name }),
  definition: textOf(mention)
})

const textOf = ({ input, isDefined, isWeak, typeId }: Mention): string => {
  const weak = isWeak ? "__weak " : ""
  const extern = isDefined ? "" : "extern "
  const { btf } = input
  if (btf === undefined || typeId === 0) return `${extern}${weak}(no type)`
  const declaration = `${extern}${weak}${Btf.typeName(btf, typeId)};`
  const struct = Btf.resolveType(btf, Btf.sizeOrTypeOf(btf, typeId))
  return [declaration, ...structText(btf, struct)].join("\n")
}

/** The members of a struct, which a declaration names but does not show. */
const structText = (btf: Btf.Btf, id: number): ReadonlyArray<string> => {
  if (Btf.vlenOf(btf, id) > 4096) return []
  const type = Btf.typeOf(btf, id)
  if (type._tag !== "Struct" && type._tag !== "Union") return []
  const lines = type.members.slice(0, MAX_MEMBERS).map(({ bitOffset, bitfieldSize, name, type }) =>
    `  ${memberText(btf, name, type)}${bitfieldSize === 0 ? "" : ` : ${bitfieldSize}`}; // byte ${bitOffset / 8}`
  )
  const left = type.members.length - MAX_MEMBERS
  const more = left > 0 ? [`  … ${left} more`] : []
  return [`${Btf.typeName(btf, id)} { // ${type.size} bytes`, ...lines, ...more, "};"]
}

const memberText = (btf: Btf.Btf, name: string, type: number): string => `${Btf.typeName(btf, type)} ${name}`.trim()
