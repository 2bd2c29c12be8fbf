/**
 * Validation of the types of one blob: every name is a string, every reference a type.
 *
 * It is one loop over the records with the tables of the field visitor. What is checked is what libbpf checks, and the
 * return type of a FUNC_PROTO, which libbpf forgets. Cycles, sizes and member offsets are not part of it: what reads
 * them bounds its own work.
 *
 * Source: reference page `btf-format`, section 6.
 */
import { fail } from "./BtfError.ts"
import {
  ELEMENT_STRING_WORD,
  ELEMENT_TYPE_WORD,
  FIRST_TYPE_WORD,
  forEachString,
  NO_WORD,
  SECOND_TYPE_WORD
} from "./BtfFields.ts"
import { BTF_KIND_FUNC, BTF_KIND_FUNC_PROTO, BTF_TYPE_SIZE, ELEMENT_SIZE, INFO_SIZE, kindName } from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import { kindOf, LONG_STRING, stringOwnerOf } from "./BtfModel.ts"

/** Checks all types that the blob holds itself; throws a `BtfError` for the first that is wrong. */
export const checkTypes = (btf: Btf): void => {
  const { littleEndian, view } = btf.internal
  const { endId, offsets } = btf
  const stringsEnd = btf.stringsStart + btf.stringsLength
  for (let index = 0; index < offsets.length; index++) {
    const at = offsets[index] ?? 0
    if (view.getUint32(at, littleEndian) >= stringsEnd) failString(btf, index, at, "name")
    const info = view.getUint32(at + 4, littleEndian)
    const kind = (info >>> 24) & 0x7f
    const first = FIRST_TYPE_WORD[kind] ?? NO_WORD
    if (first !== NO_WORD && view.getUint32(at + first, littleEndian) >= endId) failType(btf, index, at + first)
    const second = SECOND_TYPE_WORD[kind] ?? NO_WORD
    if (second !== NO_WORD && view.getUint32(at + second, littleEndian) >= endId) failType(btf, index, at + second)
    const typeWord = ELEMENT_TYPE_WORD[kind] ?? NO_WORD
    const stringWord = ELEMENT_STRING_WORD[kind] ?? NO_WORD
    if (typeWord !== NO_WORD || stringWord !== NO_WORD) {
      const stride = ELEMENT_SIZE[kind] ?? 0
      let element = at + BTF_TYPE_SIZE + (INFO_SIZE[kind] ?? 0)
      for (let left = info & 0xff_ffff; left > 0; left--, element += stride) {
        if (stringWord !== NO_WORD && view.getUint32(element + stringWord, littleEndian) >= stringsEnd) {
          failString(btf, index, element + stringWord, "name of an element")
        }
        if (typeWord !== NO_WORD && view.getUint32(element + typeWord, littleEndian) >= endId) {
          failType(btf, index, element + typeWord)
        }
      }
    } else if (kind === BTF_KIND_FUNC) {
      checkFunction(btf, index, at)
    }
  }
  if (btf.internal.longStrings) checkNames(btf)
}

const checkFunction = (btf: Btf, index: number, at: number): void => {
  const prototype = btf.internal.view.getUint32(at + 8, btf.internal.littleEndian)
  const kind = kindOf(btf, prototype)
  if (kind !== BTF_KIND_FUNC_PROTO) {
    const what = prototype === 0 ? "void" : `type ${prototype}, a ${kindName(kind)}`
    fail("WrongKind", `a FUNC must refer to a FUNC_PROTO, not to ${what}`, {
      typeId: btf.firstId + index,
      offset: at + 8
    })
  }
}

const failString = (btf: Btf, index: number, offset: number, what: string): never => {
  const value = btf.internal.view.getUint32(offset, btf.internal.littleEndian)
  return fail("BadString", `the ${what} is at string offset ${value}, past the strings`, {
    typeId: btf.firstId + index,
    offset,
    ...baseHint(btf)
  })
}

const failType = (btf: Btf, index: number, offset: number): never => {
  const value = btf.internal.view.getUint32(offset, btf.internal.littleEndian)
  return fail("BadTypeId", `it refers to type ${value}, and the last is ${btf.endId - 1}`, {
    typeId: btf.firstId + index,
    offset,
    ...baseHint(btf)
  })
}

const baseHint = (btf: Btf): { readonly hint: string } => ({
  hint: btf.base === undefined
    ? "split BTF needs the base BTF that it was made with"
    : "split BTF fits only the base BTF that it was made with"
})

/**
 * Whether the string area, whose last byte is a NUL at `last`, has a string of more than `LONG_STRING` bytes. It jumps
 * from the last NUL of one window to the next window, and so reads a few bytes in each thousand of an ordinary blob.
 */
export const checkLongStrings = (bytes: Uint8Array, start: number, last: number): boolean => {
  let at = start
  while (last - at > LONG_STRING) {
    const nul = bytes.lastIndexOf(0, at + LONG_STRING)
    if (nul < at) return true
    at = nul + 1
  }
  return false
}

/**
 * Bounds the text that all names together have. Offsets may share one string, and a hostile blob could name each of a
 * hundred thousand members with the same million bytes: whoever then spells its types would run out of memory. Without
 * a long string the bound holds by itself, since a name takes at least eight bytes of the type area.
 */
const checkNames = (btf: Btf): void => {
  const meter = textMeter(btf, btf.typesLength)
  forEachString(btf, (offset, value) => {
    if (!meter(value)) fail("NamesTooLong", "the types share long names too often", { offset })
  })
}

/**
 * Measures strings against a budget that is in proportion to the `area` bytes that refer to them; the answer turns
 * false when the budget is used up.
 */
export const textMeter = (btf: Btf, area: number): (offset: number) => boolean => {
  let budget = 1 << 20
  budget += area * (LONG_STRING / 8)
  return (offset) => {
    const owner = stringOwnerOf(btf, offset)
    if (owner === undefined) return true
    const start = owner.stringsOffset + (offset - owner.stringsStart)
    budget -= owner.bytes.indexOf(0, start) - start
    return budget >= 0
  }
}
