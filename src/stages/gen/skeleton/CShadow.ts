/**
 * The shadow of a struct of functions in C: what user space changes of a struct_ops map before it is loaded. Pointers to
 * functions are programs, numbers are what they are, all else is bytes.
 *
 * Members stand where BTF has them, bit fields too. Those that C would put elsewhere, in a packed struct, are bytes.
 *
 * Source: reference page `skeleton`, section 2.
 */
import * as Result from "effect/Result"
import * as Btf from "../../../btf/Btf.ts"
import * as CText from "./CText.ts"
import { type Declarer, declare } from "./CDeclare.ts"
import { makeNames, SkeletonError } from "./SkeletonShape.ts"

/** One line of the struct, without a semicolon. */
interface Line {
  readonly text: string
  /** The member's identifier and the byte that it begins at, where C can say that. */
  readonly member?: { readonly identifier: string; readonly offset: number }
}

/** A shadow: the tag of its type in the object, and the lines of its struct. */
export interface Shadow {
  readonly typeName: string
  readonly lines: ReadonlyArray<Line>
  /** Identifiers of the members that have names. */
  readonly identifiers: ReadonlyArray<string>
}

/** A member with what is needed to place it. */
interface Placed {
  readonly number: number
  readonly name: string
  /** The type without typedefs and qualifiers. */
  readonly type: number
  readonly bitOffset: number
  /** Bits of a bit field, 0 of another member. */
  readonly bits: number
  /** Bytes of the type. */
  readonly size: number
}

const isNumber = (tag: Btf.BtfType["_tag"]): boolean =>
  tag === "Int" || tag === "Float" || tag === "Enum" || tag === "Enum64"

const placed = (btf: Btf.Btf, subject: string, members: ReadonlyArray<Btf.Member>): ReadonlyArray<Placed> =>
  members.map(({ bitfieldSize, bitOffset, name, type: declared }, number): Placed => {
    const type = Btf.resolveType(btf, declared)
    const size = Result.getOrElse(Btf.resolveSize(btf, type), (error): number => {
      throw new SkeletonError({ reason: "Type", name: subject, detail: `its member ${name}: ${error.message}` })
    })
    const record = Btf.typeOf(btf, type)
    // Old compilers tell of a bit field in a type of its own.
    const old = record._tag === "Int" && (record.bits !== 8 * size || record.bitOffset !== 0)
    if (bitfieldSize === 0 && !old) {
      return { number, name, type, bitOffset, bits: bitOffset % 8 === 0 ? 0 : 8 * size, size }
    }
    return record._tag === "Int" && old
      ? { number, name, type, bitOffset: bitOffset + record.bitOffset, bits: record.bits, size }
      : { number, name, type, bitOffset, bits: bitfieldSize, size }
  })

/** Whether C puts a bit field here right behind what is before it: within one unit of its type. */
const fitsUnit = ({ bitOffset, bits, size }: Placed): boolean =>
  bits > 0 && size > 0 && bits <= 8 * size &&
  Math.floor(bitOffset / (8 * size)) === Math.floor((bitOffset + bits - 1) / (8 * size))

/** Unnamed bit fields from one bit up to another, none across a byte. */
const gap = (from: number, to: number): ReadonlyArray<Line> => {
  const lines: Array<Line> = []
  for (let at = from; at < to;) {
    const next = Math.min(to, (Math.floor(at / 8) + 1) * 8)
    lines.push({ text: `char : ${next - at}` })
    at = next
  }
  return lines
}

const runLines = (
  run: ReadonlyArray<Placed>,
  from: number,
  number: (member: Placed) => Line
): { readonly lines: ReadonlyArray<Line>; readonly end: number } => {
  const last = run[run.length - 1]
  const end = last === undefined ? from : Math.ceil((last.bitOffset + last.bits) / 8)
  const lines: Array<Line> = []
  let at = from * 8
  for (const member of run) {
    if (member.bitOffset < at || !fitsUnit(member)) {
      return { lines: [{ text: `char __unsupported_${run[0]?.number ?? 0}[${end - from}]` }], end }
    }
    lines.push(...gap(at, member.bitOffset), number(member))
    at = member.bitOffset + member.bits
  }
  return { lines, end }
}

/** The shadow of a map called `subject` whose value is struct `type`. Throws. */
export const make = (
  declarer: Declarer,
  subject: string,
  type: number,
  spell: (identifier: string) => string
): Shadow => {
  const { btf } = declarer
  const struct = Btf.typeOf(btf, Btf.resolveType(btf, type))
  if (struct._tag !== "Struct" || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(struct.name)) {
    throw new SkeletonError({ reason: "Type", name: subject, detail: "it is of no struct whose name C could have" })
  }
  const names = makeNames(CText.reservedInC)
  const identifiers: Array<string> = []
  const lines: Array<Line> = []
  let at = 0
  const padTo = (offset: number, name: string): void => {
    if (at < offset) lines.push({ text: `char __padding_${name}[${offset - at}]` })
    at = offset
  }
  const named = (name: string): string => {
    const identifier = names(name)
    identifiers.push(identifier)
    return identifier
  }
  const bitField = (member: Placed): Line => {
    const identifier = spell(named(member.name))
    return { text: `${declare(declarer, member.type, subject, { name: identifier, level: 3 })} : ${member.bits}` }
  }
  const members = placed(btf, subject, struct.members)
  for (let next = 0; next < members.length;) {
    const member = members[next]
    if (member === undefined) break
    const { bitOffset, bits, name, number, size, type } = member
    const offset = Math.floor(bitOffset / 8)
    const end = bits > 0 ? Math.ceil((bitOffset + bits) / 8) : offset + size
    if (offset < at || end > struct.size) {
      const detail = `its member ${name} is in bytes ${offset} to ${end}, after byte ${at} of ${struct.size}`
      throw new SkeletonError({ reason: "Layout", name: subject, detail })
    }
    padTo(offset, `${number}`)
    const { _tag: tag } = Btf.typeOf(btf, type)
    if (bits > 0) {
      let behind = next + 1
      while ((members[behind]?.bits ?? 0) > 0) behind++
      const run = runLines(members.slice(next, behind), offset, bitField)
      lines.push(...run.lines)
      at = run.end
      next = behind
      continue
    }
    const aligned = Result.match(Btf.alignOf(btf, type), {
      onSuccess: (alignment) => offset % alignment === 0,
      onFailure: () => false
    })
    const isFunction = tag === "Ptr" &&
      Btf.kindOf(btf, Btf.resolveType(btf, Btf.sizeOrTypeOf(btf, type))) === Btf.BTF_KIND_FUNC_PROTO
    if (aligned && name !== "" && (isNumber(tag) || isFunction)) {
      const identifier = named(name)
      const text = isFunction
        ? `struct bpf_program *${spell(identifier)}`
        : declare(declarer, type, subject, { name: spell(identifier), level: 3 })
      lines.push({ text, member: { identifier, offset } })
    } else {
      lines.push({ text: `char __unsupported_${number}[${size}]` })
    }
    at = offset + size
    next++
  }
  if (at > struct.size) {
    const detail = `its bit fields reach byte ${at} of ${struct.size}`
    throw new SkeletonError({ reason: "Layout", name: subject, detail })
  }
  padTo(struct.size, "end")
  return { typeName: struct.name, lines, identifiers }
}
