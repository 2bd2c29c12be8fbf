/**
 * The BTF that probes load, each as small as it can be, in the byte order of this machine.
 *
 * Source: reference pages `features` (sections 1 and 3) and `btf-format`.
 */
import * as Kind from "../../../../btf/BtfKind.ts"
import { hostIsLittle } from "../../abi/Arena.ts"

/** Bytes of a header without, and with, the place of a layout. */
const headerSize = 24
const longHeaderSize = 32

/** A blob of these types, each as words, with these strings; `layout` describes the kinds, and stands between the two. */
const blob = (
  described: ReadonlyArray<ReadonlyArray<number>>,
  strings: string,
  layout?: ReadonlyArray<number>
): Uint8Array => {
  const words = described.flat()
  const text = new TextEncoder().encode(strings)
  const header = layout === undefined ? headerSize : longHeaderSize
  const types = words.length * 4
  const layoutLength = layout?.length ?? 0
  const bytes = new Uint8Array(header + types + layoutLength + text.length)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, 0xeb9f, hostIsLittle)
  view.setUint8(2, 1)
  const places = [header, 0, types, types + layoutLength, text.length]
  if (layout !== undefined) places.push(types, layoutLength)
  places.forEach((place, i) => view.setUint32(4 + i * 4, place, hostIsLittle))
  words.forEach((word, i) => view.setUint32(header + i * 4, word >>> 0, hostIsLittle))
  bytes.set(layout ?? [], header + types)
  bytes.set(text, header + types + layoutLength)
  return bytes
}

/** The second word of a type: its kind and how much follows. */
const info = (kind: number, length = 0): number => kind << 24 | length

const STATIC = 0
const GLOBAL = 1

/** `int`, signed, of 32 bits. */
const int = (name: number): ReadonlyArray<number> => [name, info(Kind.BTF_KIND_INT), 4, 1 << 24 | 32]

/** `int` alone. */
export const plain: Uint8Array = blob([int(1)], "\0int\0")

const functionOf = (linkage: number): Uint8Array =>
  blob(
    [int(1), [0, info(Kind.BTF_KIND_FUNC_PROTO, 1), 0, 7, 1], [5, info(Kind.BTF_KIND_FUNC, linkage), 2]],
    "\0int\0x\0a\0"
  )

/** A static function. */
export const staticFunction: Uint8Array = functionOf(STATIC)

/** A global function. */
export const globalFunction: Uint8Array = functionOf(GLOBAL)

const datasecOf = (name: string): Uint8Array =>
  blob(
    [int(0), [1, info(Kind.BTF_KIND_VAR), 1, STATIC], [3, info(Kind.BTF_KIND_DATASEC, 1), 4, 2, 0, 4]],
    `\0x\0${name}\0`
  )

/** A variable in a data section. */
export const datasec: Uint8Array = datasecOf(".data")

/** A data section whose name begins with a question mark. */
export const qmarkDatasec: Uint8Array = datasecOf("?.data")

/** A floating-point number. */
export const float: Uint8Array = blob([[1, info(Kind.BTF_KIND_FLOAT), 4]], "\0float\0")

/** A tag on a variable. */
export const declTag: Uint8Array = blob(
  [int(0), [1, info(Kind.BTF_KIND_VAR), 1, STATIC], [1, info(Kind.BTF_KIND_DECL_TAG), 2, -1]],
  "\0tag\0"
)

/** A pointer to a tagged type. */
export const typeTag: Uint8Array = blob(
  [int(0), [1, info(Kind.BTF_KIND_TYPE_TAG), 1], [0, info(Kind.BTF_KIND_PTR), 2]],
  "\0tag\0"
)

/** An enumeration of 64 bits. */
export const enum64: Uint8Array = blob([[1, info(Kind.BTF_KIND_ENUM64), 8]], "\0enum64\0")

/** A layout: each kind's bytes after the three words that all have, of one type and of each of its members. */
export const layout: Uint8Array = blob([int(1)], "\0int\0", [0, 0, 0, 0, 4, 0, 0, 0])

/** The functions `a` and `b` that take a pointer; the argument of `b` is tagged as the context. Types 4 and 6. */
export const contextArgument: Uint8Array = blob(
  [
    int(1),
    [0, info(Kind.BTF_KIND_PTR), 0],
    [0, info(Kind.BTF_KIND_FUNC_PROTO, 1), 1, 1, 2],
    [1, info(Kind.BTF_KIND_FUNC, GLOBAL), 3],
    [0, info(Kind.BTF_KIND_FUNC_PROTO, 1), 1, 3, 2],
    [3, info(Kind.BTF_KIND_FUNC, GLOBAL), 5],
    [5, info(Kind.BTF_KIND_DECL_TAG), 6, 0]
  ],
  "\0a\0b\0arg:ctx\0"
)

/** A value with a spin lock, as maps of local storage may have: the key is type 1, the value type 3. */
export const spinLockValue: Uint8Array = blob(
  [
    int(0),
    [1, info(Kind.BTF_KIND_STRUCT, 1), 4, 15, 1, 0],
    [15, info(Kind.BTF_KIND_STRUCT, 2), 8, 19, 1, 0, 23, 2, 32]
  ],
  "\0bpf_spin_lock\0val\0cnt\0l\0"
)
