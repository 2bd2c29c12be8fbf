/**
 * Types of functions in one line, as bpftool writes them where a program stands for a function: `u32 (struct sock * sk)`. Pure.
 */
import * as Btf from "../../btf/Btf.ts"

/** The longest text; longer ones are not written. */
const longest = 1000

/** How deep types are followed. */
const maximumDepth = 32

/** The text of a type, with a space behind it; `undefined` where it gets too long or too deep. */
const typeText = (btf: Btf.Btf, id: number, depth: number): string | undefined => {
  if (depth > maximumDepth) return undefined
  const before = (words: string, of: number): string | undefined => {
    const inner = typeText(btf, of, depth + 1)
    return inner === undefined || inner.length > longest ? undefined : `${words}${inner}`
  }
  const behind = (of: number, words: string): string | undefined => {
    const inner = typeText(btf, of, depth + 1)
    return inner === undefined || inner.length > longest ? undefined : `${inner}${words}`
  }
  const type = Btf.typeOf(btf, id)
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
      return behind(type.type, `[${type.length}]`)
    case "Ptr":
      return behind(type.type, "* ")
    case "Volatile":
      return before("volatile ", type.type)
    case "Const":
      return before("const ", type.type)
    case "Restrict":
      return before("restrict ", type.type)
    case "FuncProto":
      return protoText(btf, type, depth + 1)
    default:
      return undefined
  }
}

const protoText = (
  btf: Btf.Btf,
  proto: Extract<Btf.BtfType, { readonly _tag: "FuncProto" }>,
  depth: number
): string | undefined => {
  const returned = typeText(btf, proto.returnType, depth)
  if (returned === undefined) return undefined
  let text = `${returned}(`
  for (const [at, { name, type }] of proto.params.entries()) {
    const written = type === 0 ? "..." : typeText(btf, type, depth)
    if (written === undefined) return undefined
    // A parameter without a name has no space behind its type.
    text += `${at === 0 ? "" : ", "}${name === "" ? written.replace(/ $/, "") : `${written}${name}`}`
    if (text.length > longest) return undefined
  }
  return `${text})`
}

/** The type of a function; `undefined` where it is none, or too long. */
export const signature = (btf: Btf.Btf, id: number): string | undefined => {
  const type = Btf.typeOf(btf, id)
  return type._tag === "FuncProto" ? protoText(btf, type, 0) : undefined
}
