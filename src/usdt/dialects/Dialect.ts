/**
 * What an assembler of one architecture calls the places where arguments of probes are: registers, memory and constants.
 *
 * Source: reference page `usdt`, section 7.
 */

/** Where an argument is while a probe is passed. */
export type Location =
  /** It is known: 64 bits, signed. */
  | { readonly _tag: "Constant"; readonly value: bigint }
  /** In a register, by the name that the text has for it. */
  | { readonly _tag: "Register"; readonly register: string }
  /** In memory, at a register's value plus `offset` bytes. */
  | { readonly _tag: "Memory"; readonly base: string; readonly offset: bigint }
  /** In memory, at the value of `base` plus `scale` times that of `index` plus `offset` bytes. */
  | {
    readonly _tag: "Indexed"
    readonly base: string
    readonly index: string
    readonly scale: 1 | 2 | 4 | 8
    readonly offset: bigint
  }
  /** In memory, `offset` bytes behind a variable of the file that is known by its name, wherever the file is loaded. */
  | { readonly _tag: "Symbol"; readonly symbol: string; readonly offset: bigint }

/** What the text of one argument is in one architecture. */
export interface Dialect {
  /** The text after `@`; `undefined` where it is not understood. Whether registers exist is not looked at. */
  readonly read: (text: string) => Location | undefined
  /** The text of a location, as `read` takes it; `undefined` where the architecture has no such location. */
  readonly write: (location: Location) => string | undefined
  /**
   * Where a register is in the `struct pt_regs` of BPF programs, in bytes, for an argument of `size` bytes; `undefined` where
   * there is no such register, or it is not saved there.
   */
  readonly registerOffset: (name: string, size: number) => number | undefined
}

/** A number of up to 64 bits as two's complement; `undefined` where it is larger, or no decimal number. */
export const integer = (text: string): bigint | undefined => {
  if (!/^[+-]?\d{1,20}$/.test(text)) return undefined
  const value = BigInt(text.startsWith("+") ? text.slice(1) : text)
  return value >= -(1n << 63n) && value < 1n << 64n ? BigInt.asIntN(64, value) : undefined
}

/** A constant of a text, if it is one. */
export const constant = (text: string | undefined): Location | undefined => {
  const value = text === undefined ? undefined : integer(text)
  return value === undefined ? undefined : { _tag: "Constant", value }
}

/** A place in memory of the texts of its parts, if they are such; no offset is 0. */
export const memory = (base: string | undefined, offset: string | undefined): Location | undefined => {
  const bytes = offset === undefined ? 0n : integer(offset)
  return base === undefined || bytes === undefined ? undefined : { _tag: "Memory", base, offset: bytes }
}
