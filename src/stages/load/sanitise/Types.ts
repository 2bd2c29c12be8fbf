/**
 * BTF for kernels that do not know all its kinds: each type of a kind that a kernel lacks becomes one that it has.
 *
 * The kernel refuses a blob for one type that it does not know, and then has no types at all of the object. A type that
 * took the place of another says less or something odd, but nothing wrong that the kernel acts on. It keeps its id and the
 * bytes of its record, so that no reference to it, from another type or from a function record, has to change. The shapes
 * are libbpf's, byte for byte. One is not taken by any kernel: a prototype with a parameter that has no name, as an enum for
 * kernels before 5.0. The object is then loaded without types, as with libbpf.
 *
 * Names of data sections are changed where they stand, in the string area: only a string with a dot or question mark is,
 * and nothing that C names shares one.
 *
 * Source: reference page `load`, section 6.2.
 */
import type * as Result from "effect/Result"
import { writeBlob } from "../../../btf/BtfEncode.ts"
import { type BtfError, isBtfError } from "../../../btf/BtfError.ts"
import { imageOf } from "../../../btf/BtfImage.ts"
import * as Kind from "../../../btf/BtfKind.ts"
import type { Btf } from "../../../btf/BtfModel.ts"
import { attempt } from "../../../internal/attempt.ts"
import type { Feature } from "../../../services/Kernel/KernelInfo.ts"
import type { Features } from "../../Features.ts"

const questionMark = 0x3f
const dot = 0x2e
const underscore = 0x5f
const signedEnum = 0x8000_0000

const kindBits = (kind: number): number => kind << 24

const kindIn = (info: number): number => (info >>> 24) & 0x7f

/** The features that a kernel must have to take the types of this blob as they are. Others need not be asked for. */
export const featuresOf = (btf: Btf): ReadonlySet<Feature> => {
  const found = new Set<Feature>(["Btf"])
  if (btf.layoutLength > 0) found.add("BtfLayout")
  const { littleEndian, view } = btf.internal
  for (const at of btf.offsets) {
    const info = view.getUint32(at + 4, littleEndian)
    switch (kindIn(info)) {
      case Kind.BTF_KIND_VAR:
        found.add("BtfDatasec")
        break
      case Kind.BTF_KIND_DATASEC: {
        found.add("BtfDatasec")
        const name = view.getUint32(at, littleEndian)
        if (btf.bytes[btf.stringsOffset + name - btf.stringsStart] === questionMark) found.add("BtfQmarkDatasec")
        break
      }
      case Kind.BTF_KIND_FUNC_PROTO:
        found.add("BtfFunc")
        break
      case Kind.BTF_KIND_FUNC:
        found.add("BtfFunc")
        if ((info & 0xff_ffff) !== Kind.BTF_FUNC_STATIC) found.add("BtfGlobalFunc")
        break
      case Kind.BTF_KIND_FLOAT:
        found.add("BtfFloat")
        break
      case Kind.BTF_KIND_DECL_TAG:
        found.add("BtfDeclTag")
        break
      case Kind.BTF_KIND_TYPE_TAG:
        found.add("BtfTypeTag")
        break
      case Kind.BTF_KIND_ENUM64:
        found.add("BtfEnum64")
        break
      case Kind.BTF_KIND_ENUM:
        if (info >= signedEnum) found.add("BtfEnum64")
        break
    }
  }
  return found
}

/** A blob for a kernel, and what was changed for it. */
export interface SanitisedTypes {
  readonly bytes: Uint8Array
  /** What was changed, for people; none where the blob is the object's own. */
  readonly notes: ReadonlyArray<string>
}

/** A blob on the way. */
interface Draft {
  readonly view: DataView
  readonly littleEndian: boolean
  readonly strings: Uint8Array
  readonly features: Features
  readonly counts: Map<Change, number>
  /** Id of the type that the members of what was an ENUM64 have; 0 until one is needed. */
  placeholder: number
  readonly endId: number
}

/** The changes, with the feature whose lack brings each. */
const changes = {
  VAR: { feature: "BtfDatasec", became: "INT" },
  DATASEC: { feature: "BtfDatasec", became: "STRUCT" },
  "DATASEC with ? in its name": { feature: "BtfQmarkDatasec", became: "DATASEC with _ in its place" },
  FUNC_PROTO: { feature: "BtfFunc", became: "ENUM" },
  FUNC: { feature: "BtfFunc", became: "TYPEDEF" },
  "global FUNC": { feature: "BtfGlobalFunc", became: "static FUNC" },
  FLOAT: { feature: "BtfFloat", became: "STRUCT" },
  DECL_TAG: { feature: "BtfDeclTag", became: "INT" },
  TYPE_TAG: { feature: "BtfTypeTag", became: "CONST" },
  "signed ENUM": { feature: "BtfEnum64", became: "unsigned ENUM" },
  ENUM64: { feature: "BtfEnum64", became: "UNION" }
} as const satisfies Readonly<Record<string, { readonly feature: Feature; readonly became: string }>>

type Change = keyof typeof changes

const changeNames = Object.keys(changes) as ReadonlyArray<Change>

const count = ({ counts }: Draft, change: Change): void => {
  counts.set(change, (counts.get(change) ?? 0) + 1)
}

/** A byte without sign: nothing that a program has is smaller, so it fits wherever the type it replaces did. */
const toByte = ({ littleEndian, view }: Draft, at: number): void => {
  view.setUint32(at + 4, kindBits(Kind.BTF_KIND_INT), littleEndian)
  view.setUint32(at + 8, 1, littleEndian)
  view.setUint32(at + 12, 8, littleEndian)
}

/** Writes `_` for the given characters in the string at `offset`. */
const rename = ({ strings }: Draft, offset: number, onlyFirst: boolean): void => {
  for (let at = offset; at < strings.length; at++) {
    const byte = strings[at]
    if (byte === 0) return
    if (byte === questionMark || (byte === dot && !onlyFirst)) strings[at] = underscore
    if (onlyFirst) return
  }
}

/** A section as a struct whose members are its variables, by their names. `starts` are the offsets of the records. */
const toStruct = (draft: Draft, at: number, vlen: number, starts: Uint32Array): void => {
  const { littleEndian, view } = draft
  rename(draft, view.getUint32(at, littleEndian), false)
  view.setUint32(at + 4, kindBits(Kind.BTF_KIND_STRUCT) | vlen, littleEndian)
  for (let entry = at + Kind.BTF_TYPE_SIZE, left = vlen; left > 0; entry += 12, left--) {
    const variable = view.getUint32(entry, littleEndian)
    const offset = view.getUint32(entry + 4, littleEndian)
    const record = starts[variable - 1]
    view.setUint32(entry, record === undefined ? 0 : view.getUint32(record, littleEndian), littleEndian)
    view.setUint32(entry + 4, variable, littleEndian)
    view.setUint32(entry + 8, (offset * 8) >>> 0, littleEndian)
  }
}

/** An enum of 64 bits as a union of its size, with a member for each value. */
const toUnion = (draft: Draft, at: number, vlen: number): void => {
  const { littleEndian, view } = draft
  draft.placeholder = draft.endId
  view.setUint32(at + 4, kindBits(Kind.BTF_KIND_UNION) | vlen, littleEndian)
  for (let value = at + Kind.BTF_TYPE_SIZE, left = vlen; left > 0; value += 12, left--) {
    view.setUint32(value + 4, draft.placeholder, littleEndian)
    view.setUint32(value + 8, 0, littleEndian)
  }
}

/** Changes one record, if the kernel lacks its kind. */
const visit = (draft: Draft, at: number, starts: Uint32Array): void => {
  const { features: { has }, littleEndian, strings, view } = draft
  const info = view.getUint32(at + 4, littleEndian)
  const vlen = info & 0xff_ffff
  switch (kindIn(info)) {
    case Kind.BTF_KIND_VAR:
      if (has("BtfDatasec")) return
      count(draft, "VAR")
      return toByte(draft, at)
    case Kind.BTF_KIND_DECL_TAG:
      if (has("BtfDeclTag")) return
      count(draft, "DECL_TAG")
      return toByte(draft, at)
    case Kind.BTF_KIND_DATASEC: {
      if (!has("BtfDatasec")) {
        count(draft, "DATASEC")
        return toStruct(draft, at, vlen, starts)
      }
      const name = view.getUint32(at, littleEndian)
      if (has("BtfQmarkDatasec") || strings[name] !== questionMark) return
      count(draft, "DATASEC with ? in its name")
      return rename(draft, name, true)
    }
    case Kind.BTF_KIND_FUNC_PROTO:
      if (has("BtfFunc")) return
      count(draft, "FUNC_PROTO")
      view.setUint32(at + 4, kindBits(Kind.BTF_KIND_ENUM) | vlen, littleEndian)
      // Of all sizes of enums, those kernels take this one alone.
      return view.setUint32(at + 8, 4, littleEndian)
    case Kind.BTF_KIND_FUNC:
      if (!has("BtfFunc")) {
        count(draft, "FUNC")
        return view.setUint32(at + 4, kindBits(Kind.BTF_KIND_TYPEDEF), littleEndian)
      }
      if (has("BtfGlobalFunc") || vlen === Kind.BTF_FUNC_STATIC) return
      count(draft, "global FUNC")
      return view.setUint32(at + 4, kindBits(Kind.BTF_KIND_FUNC), littleEndian)
    case Kind.BTF_KIND_FLOAT:
      if (has("BtfFloat")) return
      count(draft, "FLOAT")
      // Its name, `float` or `double`, is none that a struct may have.
      view.setUint32(at, 0, littleEndian)
      return view.setUint32(at + 4, kindBits(Kind.BTF_KIND_STRUCT), littleEndian)
    case Kind.BTF_KIND_TYPE_TAG:
      if (has("BtfTypeTag")) return
      count(draft, "TYPE_TAG")
      view.setUint32(at, 0, littleEndian)
      return view.setUint32(at + 4, kindBits(Kind.BTF_KIND_CONST), littleEndian)
    case Kind.BTF_KIND_ENUM:
      if (info < signedEnum || has("BtfEnum64")) return
      count(draft, "signed ENUM")
      return view.setUint32(at + 4, info & 0x7fff_ffff, littleEndian)
    case Kind.BTF_KIND_ENUM64:
      if (has("BtfEnum64")) return
      count(draft, "ENUM64")
      return toUnion(draft, at, vlen)
  }
}

const placeholderName = new TextEncoder().encode("enum64_placeholder")

/** Where a whole string is in a string area; -1 where it is not. */
const findString = (strings: Uint8Array, wanted: Uint8Array): number => {
  for (let at = strings.indexOf(wanted[0] ?? 0); at >= 0; at = strings.indexOf(wanted[0] ?? 0, at + 1)) {
    if (strings[at - 1] !== 0 || strings[at + wanted.length] !== 0) continue
    if (wanted.every((byte, index) => strings[at + index] === byte)) return at
  }
  return -1
}

/** The areas with the type that members of unions have: a byte, at the end. */
const withPlaceholder = (
  types: Uint8Array,
  strings: Uint8Array,
  littleEndian: boolean
): { readonly types: Uint8Array; readonly strings: Uint8Array } => {
  const known = findString(strings, placeholderName)
  const name = known < 0 ? strings.length : known
  const longer = known < 0 ? new Uint8Array(name + placeholderName.length + 1) : strings
  if (known < 0) {
    longer.set(strings)
    longer.set(placeholderName, name)
  }
  const more = new Uint8Array(types.length + 16)
  more.set(types)
  const view = new DataView(more.buffer, types.length)
  view.setUint32(0, name, littleEndian)
  view.setUint32(4, kindBits(Kind.BTF_KIND_INT), littleEndian)
  view.setUint32(8, 1, littleEndian)
  view.setUint32(12, 8, littleEndian)
  return { types: more, strings: longer }
}

const notesOf = (
  features: Features,
  counts: ReadonlyMap<Change, number>,
  layout: boolean
): ReadonlyArray<string> => [
  ...(layout ? [`the sizes of kinds were left out: ${features.because("BtfLayout")}`] : []),
  ...changeNames.flatMap((change) => {
    const number = counts.get(change)
    if (number === undefined) return []
    const { became, feature } = changes[change]
    return [`${number} ${change} became ${became}: ${features.because(feature)}`]
  })
]

const sanitised = (btf: Btf, features: Features): SanitisedTypes => {
  const image = imageOf(btf)
  const missing = [...featuresOf(btf)].some((feature) => !features.has(feature))
  if (!missing || btf.base !== undefined) return { bytes: writeBlob(image), notes: [] }
  const types = image.types.slice()
  const { littleEndian } = btf.internal
  const draft: Draft = {
    view: new DataView(types.buffer, types.byteOffset, types.byteLength),
    littleEndian,
    strings: image.strings.slice(),
    features,
    counts: new Map(),
    placeholder: 0,
    endId: btf.endId
  }
  const starts = btf.offsets.map((offset) => offset - btf.typesOffset)
  for (const at of starts) visit(draft, at, starts)
  const layout = image.layout.length > 0 && !features.has("BtfLayout")
  const areas = draft.placeholder === 0
    ? { types, strings: draft.strings }
    : withPlaceholder(types, draft.strings, littleEndian)
  const parts = { ...image, ...areas, layout: layout ? new Uint8Array(0) : image.layout }
  return { bytes: writeBlob(parts), notes: notesOf(features, draft.counts, layout) }
}

/**
 * The blob of an object's types for a kernel with these features, in the byte order of the object. Where none of the
 * features is missing that the types use, it is their canonical blob as it is. Types that are split over others are not for
 * a kernel to load, and are not changed. A blob that would become too large is `TooLarge`.
 */
export const sanitise = (btf: Btf, features: Features): Result.Result<SanitisedTypes, BtfError> =>
  attempt(isBtfError, () => sanitised(btf, features))
