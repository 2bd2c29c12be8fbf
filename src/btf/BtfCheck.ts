/**
 * Validation of the types of one blob: every name is a string, every reference a type.
 *
 * What is checked is what libbpf 1.5 checks, and the return type of a FUNC_PROTO, which it forgets. Cycles, sizes and
 * member offsets are not part of it: what reads them bounds its own work.
 *
 * Source: reference page `btf-format`, section 6.
 */
import { fail } from "./BtfError.ts"
import { FIRST_TYPE_WORD, forEachString, NO_WORD, visitStrings, visitTypeIds } from "./BtfFields.ts"
import {
  BTF_KIND_ARRAY,
  BTF_KIND_DATASEC,
  BTF_KIND_ENUM,
  BTF_KIND_ENUM64,
  BTF_KIND_FUNC,
  BTF_KIND_FUNC_PROTO,
  BTF_KIND_STRUCT,
  BTF_KIND_UNION,
  kindName
} from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import { kindOf, LONG_STRING, stringOwnerOf } from "./BtfModel.ts"

/**
 * Checks all types that the blob holds itself; throws a `BtfError` for the first that is wrong. `words` is the type area
 * in the order of this machine.
 */
export const checkTypes = (btf: Btf, words: Uint32Array): void => {
  if (!isSound(btf, words)) failFirst(btf)
  if (btf.internal.longStrings) checkNames(btf)
}

/**
 * Whether every name is a string, every reference a type and every FUNC of a prototype. The one loop over everything
 * that parsing cannot do without: it takes the maxima of the words of each kind, and leaves it to `failFirst` to find
 * the wrong one.
 */
const isSound = (btf: Btf, words: Uint32Array): boolean => {
  const { endId, firstId, offsets, typesOffset } = btf
  const stringsEnd = btf.stringsStart + btf.stringsLength
  let string = 0
  let type = 0
  for (let index = 0; index < offsets.length; index++) {
    const at = ((offsets[index] ?? 0) - typesOffset) >> 2
    const name = words[at] ?? 0
    if (name > string) string = name
    const info = words[at + 1] ?? 0
    const kind = (info >>> 24) & 0x7f
    switch (kind) {
      case BTF_KIND_FUNC: {
        const prototype = words[at + 2] ?? 0
        if (prototype >= endId) return false
        const its = prototype < firstId
          ? kindOf(btf, prototype)
          : ((words[(((offsets[prototype - firstId] ?? 0) - typesOffset) >> 2) + 1] ?? 0) >>> 24) & 0x7f
        if (its !== BTF_KIND_FUNC_PROTO) return false
        break
      }
      case BTF_KIND_FUNC_PROTO:
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION: {
        const stride = kind === BTF_KIND_FUNC_PROTO ? 2 : 3
        if (kind === BTF_KIND_FUNC_PROTO) {
          const result = words[at + 2] ?? 0
          if (result > type) type = result
        }
        const end = at + 3 + (info & 0xff_ffff) * stride
        for (let element = at + 3; element < end; element += stride) {
          const its = words[element] ?? 0
          if (its > string) string = its
          const to = words[element + 1] ?? 0
          if (to > type) type = to
        }
        break
      }
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64: {
        const stride = kind === BTF_KIND_ENUM ? 2 : 3
        const end = at + 3 + (info & 0xff_ffff) * stride
        for (let element = at + 3; element < end; element += stride) {
          const its = words[element] ?? 0
          if (its > string) string = its
        }
        break
      }
      case BTF_KIND_DATASEC: {
        const end = at + 3 + (info & 0xff_ffff) * 3
        for (let element = at + 3; element < end; element += 3) {
          const to = words[element] ?? 0
          if (to > type) type = to
        }
        break
      }
      default: {
        const first = FIRST_TYPE_WORD[kind] ?? NO_WORD
        if (first !== NO_WORD) {
          const to = words[at + (first >> 2)] ?? 0
          if (to > type) type = to
        }
        if (kind === BTF_KIND_ARRAY) {
          const to = words[at + 4] ?? 0
          if (to > type) type = to
        }
      }
    }
  }
  return string < stringsEnd && type < endId
}

/** Fails for the first wrong word, in the order of types and of the words in them. */
const failFirst = (btf: Btf): void => {
  const { littleEndian, view } = btf.internal
  const stringsEnd = btf.stringsStart + btf.stringsLength
  for (let index = 0; index < btf.offsets.length; index++) {
    const at = btf.offsets[index] ?? 0
    visitStrings(view, littleEndian, at, (offset, value) => {
      if (value >= stringsEnd) failString(btf, index, offset, offset === at ? "name" : "name of an element")
    })
    visitTypeIds(view, littleEndian, at, (offset, value) => {
      if (value >= btf.endId) failType(btf, index, offset)
    })
    if (((view.getUint32(at + 4, littleEndian) >>> 24) & 0x7f) === BTF_KIND_FUNC) checkFunction(btf, index, at)
  }
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
    let nul = at + LONG_STRING
    while (nul >= at && bytes[nul] !== 0) nul--
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
