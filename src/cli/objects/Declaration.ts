/**
 * Types and functions in one line, in bpftool's manner: words with a space behind each, `u32 (struct sock * sk)`. Pure.
 */
import * as Btf from "../../btf/Btf.ts"

/** How deep a declaration is followed. */
const maximumDepth = 32

/** A declaration under way: the types, and the most UTF-16 units that it may have. */
interface Writing {
  readonly btf: Btf.Btf
  readonly longest: number
}

const typeText = (writing: Writing, id: number, depth: number): string | undefined => {
  if (depth > maximumDepth) return undefined
  const around = (before: string, of: number, behind = ""): string | undefined => {
    const inner = typeText(writing, of, depth + 1)
    return inner === undefined || inner.length > writing.longest ? undefined : `${before}${inner}${behind}`
  }
  const type = Btf.typeOf(writing.btf, id)
  switch (type._tag) {
    case "Void":
      return "void "
    case "Int":
    case "Typedef":
    case "Float":
      return `${type.name} `
    case "Struct":
      return `struct ${type.name} `
    case "Union":
      return `union ${type.name} `
    case "Enum":
    case "Enum64":
      return `enum ${type.name} `
    case "Fwd":
      return `${type.forward} ${type.name} `
    case "Array":
      return around("", type.type, `[${type.length}]`)
    case "Ptr":
      return around("", type.type, "* ")
    case "Volatile":
      return around("volatile ", type.type)
    case "Const":
      return around("const ", type.type)
    case "Restrict":
      return around("restrict ", type.type)
    case "FuncProto":
      return functionText(writing, type, "", depth + 1)
    case "Func": {
      const proto = Btf.typeOf(writing.btf, type.type)
      return proto._tag === "FuncProto" ? functionText(writing, proto, type.name, depth + 1) : undefined
    }
    default:
      return undefined
  }
}

const functionText = (
  writing: Writing,
  proto: Btf.FuncProtoType,
  functionName: string,
  depth: number
): string | undefined => {
  const returned = typeText(writing, proto.returnType, depth)
  if (returned === undefined) return undefined
  let text = `${returned}${functionName}(`
  for (const [at, { name, type }] of proto.params.entries()) {
    const written = type === 0 ? "..." : typeText(writing, type, depth)
    if (written === undefined) return undefined
    // A parameter without a name has no space behind its type.
    text += `${at === 0 ? "" : ", "}${name === "" ? written.replace(/ $/, "") : `${written}${name}`}`
    if (text.length > writing.longest) return undefined
  }
  return `${text})`
}

/** The longest declaration of a function in a listing, in UTF-16 units. */
const longestDeclaration = 4096

/** The longest type of a function in a struct. */
const longestSignature = 1000

/** A type, or a function with its name, as C would declare it; `undefined` where it has no form, or is too long or too deep. */
export const declaration = (btf: Btf.Btf, id: number): string | undefined =>
  typeText({ btf, longest: longestDeclaration }, id, 0)

/** The type of a function; `undefined` where it is none, or too long or too deep. */
export const signature = (btf: Btf.Btf, id: number): string | undefined => {
  const type = Btf.typeOf(btf, id)
  return type._tag === "FuncProto" ? functionText({ btf, longest: longestSignature }, type, "", 0) : undefined
}
