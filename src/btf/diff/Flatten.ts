/**
 * The members of a struct or union as C reaches them: those of anonymous structs and unions among its own, at their
 * offset from the outermost type, and those of members whose type has no name under that member's path.
 */
import * as Kind from "../BtfKind.ts"
import type { Btf } from "../BtfModel.ts"
import { kflagOf, kindOf, nameOffsetOf, sizeOrTypeOf, stringAt, vlenOf } from "../BtfModel.ts"
import { arrayLength, elementType, MAX_HOPS } from "../BtfResolve.ts"
import { word } from "./Spelling.ts"

/** A member, reached by its path. */
export interface Reached {
  readonly name: string
  /** From the outermost type: `se.load`, `lists[].first`. */
  readonly path: string
  /** Index of the member that this one is in; -1 on the outermost level. */
  readonly parent: number
  /** How many named members it is in. */
  readonly level: number
  readonly type: number
  /** From the start of the outermost type, or of an array's element. */
  readonly bitOffset: number
  readonly bitfieldSize: number
  /** The anonymous structs and unions between it and its parent, one letter each. */
  readonly group: string
  /** What is around the anonymous type of which the members follow, as `struct[4]`; undefined for an ordinary member. */
  readonly shell: string | undefined
}

/** How many members may still be listed: types can contain each other in ways that make exponentially many. */
export interface Budget {
  left: number
}

/** The deepest nesting of types without names that is looked into. */
const MAX_DEPTH = 64

const isComposite = (kind: number): boolean => kind === Kind.BTF_KIND_STRUCT || kind === Kind.BTF_KIND_UNION

interface Frame {
  readonly id: number
  next: number
  readonly bitOffset: number
  readonly parent: number
  readonly level: number
  readonly group: string
  readonly prefix: string
}

/** The members of type `id`; `undefined` where there are more than the budget allows, or they are nested too deep. */
export const flatten = (btf: Btf, id: number, budget: Budget): ReadonlyArray<Reached> | undefined => {
  const reached: Array<Reached> = []
  const stack: Array<Frame> = [{ id, next: 0, bitOffset: 0, parent: -1, level: 0, group: "", prefix: "" }]
  while (stack.length > 0) {
    const frame = stack[stack.length - 1]
    if (frame === undefined) break
    if (frame.next >= vlenOf(btf, frame.id)) {
      stack.pop()
      continue
    }
    budget.left -= 1
    if (budget.left < 0 || stack.length > MAX_DEPTH) return undefined
    const at = 12 + frame.next * 12
    frame.next += 1
    const nameOffset = word(btf, frame.id, at)
    const type = word(btf, frame.id, at + 4)
    const offset = word(btf, frame.id, at + 8)
    const kflag = kflagOf(btf, frame.id)
    const bitOffset = frame.bitOffset + (kflag ? offset & 0xff_ffff : offset)
    const kind = kindOf(btf, type)
    if (nameOffset === 0 && isComposite(kind) && nameOffsetOf(btf, type) === 0) {
      const letter = kind === Kind.BTF_KIND_UNION ? "u" : "s"
      stack.push({ ...frame, id: type, next: 0, bitOffset, group: frame.group + letter })
      continue
    }
    const name = stringAt(btf, nameOffset) ?? ""
    const within = anonymousWithin(btf, type)
    const path = frame.prefix + name
    reached.push({
      name,
      path,
      parent: frame.parent,
      level: frame.level,
      type,
      bitOffset,
      bitfieldSize: kflag ? offset >>> 24 : 0,
      group: frame.group,
      shell: within?.shell
    })
    if (within === undefined) continue
    stack.push({
      id: within.id,
      next: 0,
      bitOffset: within.isArray ? 0 : bitOffset,
      parent: reached.length - 1,
      level: frame.level + 1,
      group: "",
      prefix: `${path}${within.isArray ? "[]" : ""}.`
    })
  }
  return reached
}

/** The struct or union without a name that a type is, or is an array of. */
export const anonymousWithin = (
  btf: Btf,
  type: number
): { readonly id: number; readonly shell: string; readonly isArray: boolean } | undefined => {
  let current = type
  let shell = ""
  for (let hops = 0; hops <= MAX_HOPS; hops++) {
    const kind = kindOf(btf, current)
    switch (kind) {
      case Kind.BTF_KIND_CONST:
      case Kind.BTF_KIND_VOLATILE:
        shell = `${kind === Kind.BTF_KIND_CONST ? "const" : "volatile"} ${shell}`
        current = sizeOrTypeOf(btf, current)
        break
      case Kind.BTF_KIND_ARRAY:
        shell += `[${arrayLength(btf, current)}]`
        current = elementType(btf, current)
        break
      case Kind.BTF_KIND_STRUCT:
      case Kind.BTF_KIND_UNION:
        if (nameOffsetOf(btf, current) !== 0) return undefined
        return {
          id: current,
          shell: (kind === Kind.BTF_KIND_UNION ? "union" : "struct") + shell,
          isArray: shell.includes("[")
        }
      default:
        return undefined
    }
  }
  return undefined
}
