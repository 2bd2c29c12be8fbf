/**
 * What is known of a register or a word of the stack where instructions are followed without running them.
 *
 * Values form a lattice: nothing yet (`undefined`), one of the kinds below, `Mixed`. Whatever is merged either stays what it
 * is or becomes `Mixed`, so that each place changes a few times at most and following ends.
 */

/** One value, or a kind of value. */
export type Value =
  /** A number. `soft`: not every verifier works it out, so some go both ways where it decides. */
  | { readonly _tag: "Const"; readonly value: bigint; readonly soft: boolean }
  | Unknown
  /** A place in the function's own stack: bytes from its end, which is where r10 points. */
  | { readonly _tag: "Stack"; readonly offset: number }
  /** A place in the first value of a map: position of the map in the object. */
  | { readonly _tag: "MapValue"; readonly map: number; readonly offset: number }
  /** The address of a function, for a callback: its first slot. */
  | { readonly _tag: "Function"; readonly slot: number }
  /** The program's context. */
  | { readonly _tag: "Context" }
  /** An address that is not NULL. */
  | { readonly _tag: "Address" }
  /** Bytes of the stack that only run time knows: never written, or written by the kernel. Never in a register. */
  | { readonly _tag: "Bytes" }
  /** One of several, or something that a verifier may know better. `stack`: it may be a place in some function's stack. */
  | { readonly _tag: "Mixed"; readonly stack: boolean }

/**
 * What only run time knows, and no verifier can: any number of the bits of `mask`, then extended with its sign from
 * `extend` bits (0: not), then `add` added, all in 64 bits.
 */
export interface Unknown {
  readonly _tag: "Unknown"
  /** The slot that it comes from: places with the same one hold the same number. */
  readonly origin: number
  readonly mask: bigint
  readonly extend: number
  readonly add: bigint
  /** Whether it can be 0, as far as a verifier knows: a pointer that it trusts cannot. */
  readonly nullable: boolean
  /** Loaded from the context, where it may be an end of a packet. */
  readonly fromContext: boolean
}

const bits64 = 0xffff_ffff_ffff_ffffn

/** All 64 bits of a number, unsigned. */
export const unsigned = (value: bigint): bigint => BigInt.asUintN(64, value)

/** A number of 64 bits. */
export const constant = (value: bigint, soft = false): Value => ({ _tag: "Const", value: unsigned(value), soft })

/** One of several. */
export const mixed: Value = { _tag: "Mixed", stack: false }

/** One of several, of which one may be a place in a stack. */
export const mixedStack: Value = { _tag: "Mixed", stack: true }

/** The context. */
export const context: Value = { _tag: "Context" }

/** An address that is not NULL. */
export const address: Value = { _tag: "Address" }

/** Bytes that only run time knows. */
export const bytes: Value = { _tag: "Bytes" }

/** Something that only run time knows, of `size` bytes, as the instruction at `origin` makes it. */
export const unknown = (
  origin: number,
  size: number,
  more: { readonly nullable?: boolean; readonly fromContext?: boolean; readonly signed?: boolean } = {}
): Value => ({
  _tag: "Unknown",
  origin,
  mask: size >= 8 ? bits64 : (1n << BigInt(size * 8)) - 1n,
  extend: more.signed === true && size < 8 ? size * 8 : 0,
  add: 0n,
  nullable: more.nullable ?? true,
  fromContext: more.fromContext ?? false
})

/** Whether a value may be a place in some function's stack. */
export const mayBeStack = (value: Value | undefined): boolean =>
  value !== undefined && (value._tag === "Stack" || (value._tag === "Mixed" && value.stack))

/** Whether two values are the same, but for what `join` makes of their softness. */
const alike = (one: Value, other: Value): boolean => {
  switch (one._tag) {
    case "Const":
      return other._tag === "Const" && one.value === other.value
    case "Unknown":
      return other._tag === "Unknown" && one.origin === other.origin && one.mask === other.mask &&
        one.extend === other.extend && one.add === other.add && one.nullable === other.nullable
    case "Stack":
      return other._tag === "Stack" && one.offset === other.offset
    case "MapValue":
      return other._tag === "MapValue" && one.map === other.map && one.offset === other.offset
    case "Function":
      return other._tag === "Function" && one.slot === other.slot
    default:
      return one._tag === other._tag
  }
}

/** What a place holds where two ways meet. The answer is `one` itself where nothing new is learned. */
export const join = (one: Value | undefined, other: Value | undefined): Value | undefined => {
  if (one === other || other === undefined) return one
  if (one === undefined) return other
  if (one._tag !== "Mixed" && alike(one, other)) {
    return one._tag === "Const" && other._tag === "Const" && other.soft && !one.soft ? other : one
  }
  const stack = mayBeStack(one) || mayBeStack(other)
  return one._tag === "Mixed" && one.stack === stack ? one : stack ? mixedStack : mixed
}

/** Joins values place by place into the first list; whether that changed. */
export const merge = (into: Array<Value>, from: ReadonlyArray<Value>): boolean => {
  let changed = false
  for (let cell = 0; cell < into.length; cell++) {
    const before = into[cell]
    const after = join(before, from[cell])
    if (after === before || after === undefined) continue
    into[cell] = after
    changed = true
  }
  return changed
}
