/**
 * TypeScript as text: names, property keys, comments.
 */
import { sanitise } from "./SkeletonShape.ts"

/** Words that TypeScript keeps for itself, or that cannot be names of types or of values in a module. */
const words =
  "abstract any as async await bigint boolean break case catch class const continue debugger declare default " +
  "delete do else enum eval export extends false finally for from function get if implements import in infer instanceof " +
  "interface is keyof let module namespace never new null number object of package private protected public readonly " +
  "require return satisfies set static string super switch symbol this throw true try type typeof undefined unique unknown " +
  "using var void while with yield arguments constructor __proto__ prototype"

/** What the text of modules refers to by name, which a type of the object must not hide. */
const globals =
  "Array ArrayBuffer BigInt Boolean Buffer DataView Date Error Function Infinity Iterable JSON Map Math NaN " +
  "Number Object Partial Pick Promise Readonly ReadonlyArray ReadonlyMap ReadonlySet Record Set String Symbol Uint8Array " +
  "globalThis process console AbortSignal AsyncIterable"

/** Names that no type or value of a generated module has. */
export const reservedWords: ReadonlySet<string> = new Set(`${words} ${globals}`.split(" "))

/**
 * Identifiers for names of C, each once: a name that is reserved gets an underscore, one that is taken a number. Many types may
 * have one name, so the next number of each is kept.
 */
export const makeNames = (reserved: ReadonlySet<string>): (wanted: string) => string => {
  const taken = new Set<string>()
  const next = new Map<string, number>()
  return (wanted) => {
    const plain = sanitise(wanted)
    const base = reserved.has(plain) ? `${plain}_` : plain
    let identifier = base
    for (let number = next.get(base) ?? 2; taken.has(identifier) || reserved.has(identifier); number++) {
      identifier = `${base}_${number}`
      next.set(base, number + 1)
    }
    taken.add(identifier)
    return identifier
  }
}

/** Text as a literal. */
export const literal = (text: string): string => JSON.stringify(text)

const isIdentifier = (name: string): boolean => /^[A-Za-z_$][A-Za-z0-9_$]*$/.test(name)

/** The key of a property in a type or an object, which may be any text. An object's `__proto__` would be its prototype. */
export const key = (name: string): string =>
  name === "__proto__" ? `["__proto__"]` : isIdentifier(name) ? name : literal(name)

/** An object's property: its own, where objects inherit one of that name. */
export const property = (object: string, name: string): string => {
  const plain = isIdentifier(name) && name !== "__proto__" ? `${object}.${name}` : `${object}[${literal(name)}]`
  return name in Object.prototype ? `(Object.hasOwn(${object}, ${literal(name)}) ? ${plain} : undefined)` : plain
}

/** Text inside a comment of one line. */
export const comment = (text: string): string =>
  text.replaceAll(/\s+/g, " ").replaceAll(/[^\x20-\x7e]/g, "?").replaceAll("*/", "* /").replaceAll("`", "'")

/** Base64 in lines. */
export const lines = (text: string): string => {
  const parts = text.match(/.{1,110}/g) ?? [""]
  return parts.map((part) => JSON.stringify(part)).join(" +\n    ")
}
