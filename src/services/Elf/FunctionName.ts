/** How a function is named by those who ask for its offset. */
/** A name taken apart. */
export interface FunctionName {
  /** As it was written. */
  readonly text: string
  /** The symbol's name, without a version. */
  readonly name: string
  /** The version that was asked for. `@` and `@@` ask for the same: a symbol has one of them, and not both. */
  readonly version: string | undefined
  /** Bytes from the start of the function. */
  readonly delta: bigint
}

/** A number as C writes it: hexadecimal, octal or decimal. */
const number = /^(?:0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,19})$/

const readNumber = (text: string): bigint | undefined => {
  if (!number.test(text)) return undefined
  return BigInt(/^0[0-7]/.test(text) ? `0o${text.slice(1)}` : text)
}

/**
 * `name`, `name@VERSION` or `name@@VERSION`, each with `+offset` behind it. What follows the last `+` is an offset only if it
 * is a number in one of C's three bases, else it belongs to the name. Undefined for what names nothing: without a name, or
 * with an `@` and no version.
 */
export const parse = (text: string): FunctionName | undefined => {
  const plus = text.lastIndexOf("+")
  const delta = plus < 0 ? undefined : readNumber(text.slice(plus + 1))
  const symbol = delta === undefined ? text : text.slice(0, plus)
  const at = symbol.indexOf("@")
  const name = at < 0 ? symbol : symbol.slice(0, at)
  const version = at < 0 ? undefined : symbol.slice(symbol[at + 1] === "@" ? at + 2 : at + 1)
  return name === "" || version === "" ? undefined : { text, name, version, delta: delta ?? 0n }
}

/**
 * Whether a text could be a pattern: it has `*` or `?`. Names of Go have stars, too (`main.(*T).Method`), so that a symbol
 * of exactly this name goes first.
 */
export const isPattern = (text: string): boolean => /[*?]/.test(text)
