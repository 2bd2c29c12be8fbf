/**
 * A blob in the making: a growing type area with the place of each record, and a growing string area.
 *
 * A draft lives inside one editor and is changed in place. What fails throws a `BtfError`; `guarded` takes back what the
 * failed call wrote and keeps the first error for `finish`.
 */
import { type BtfError, fail, isBtfError } from "../BtfError.ts"
import { BTF_KIND_LIMIT, BTF_MAX_VLEN, BTF_TYPE_SIZE, kindName } from "../BtfKind.ts"
import type { Btf, ByteOrder } from "../BtfModel.ts"
import { SIZE_LIMIT } from "../BtfParse.ts"
import * as BtfStrings from "../BtfStrings.ts"

/** A blob in the making. */
export interface Draft {
  readonly base: Btf | undefined
  readonly byteOrder: ByteOrder
  readonly littleEndian: boolean
  /** Id of the first type of the draft itself. */
  readonly firstId: number
  readonly strings: BtfStrings.StringTable
  /** The type area: `length` bytes of `bytes`, which `view` shows too. */
  bytes: Uint8Array
  view: DataView
  length: number
  /** Offset in `bytes` of each record: `count` entries. */
  starts: Uint32Array
  count: number
  /** What the first call that failed said. */
  error: BtfError | undefined
}

/** What a draft begins with. */
export interface Beginning {
  readonly base: Btf | undefined
  readonly byteOrder: ByteOrder
  readonly types: Uint8Array
  /** Offset in `types` of each record. */
  readonly starts: Uint32Array
  readonly strings: Uint8Array | undefined
}

/** Begins a draft with a copy of what is there. */
export const make = (beginning: Beginning): Draft => {
  const { base, byteOrder } = beginning
  const bytes = beginning.types.slice()
  return {
    base,
    byteOrder,
    littleEndian: byteOrder === "little",
    firstId: base === undefined ? 1 : base.endId,
    strings: BtfStrings.make({ base, initial: beginning.strings }),
    bytes,
    view: viewOf(bytes),
    length: bytes.length,
    starts: beginning.starts,
    count: beginning.starts.length,
    error: undefined
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** The id that the next type gets. */
export const nextId = (draft: Draft): number => draft.firstId + draft.count

/** Runs a change of the draft; where it fails, takes back what it wrote to the type area, and throws. */
export const undoing = <A>(draft: Draft, change: () => A): A => {
  const { count, length } = draft
  try {
    return change()
  } catch (thrown) {
    draft.length = length
    draft.count = count
    throw thrown
  }
}

/** Runs a change of the draft. One that fails is not made and answers `otherwise`; its error is for `finish`. */
export const guarded = <A>(draft: Draft, otherwise: A, change: () => A): A => {
  try {
    return undoing(draft, change)
  } catch (thrown) {
    if (!isBtfError(thrown)) throw thrown
    draft.error ??= thrown
    return otherwise
  }
}

/** Makes room for `more` bytes at the end of the type area; answers where they begin. They may hold anything. */
export const extend = (draft: Draft, more: number): number => {
  const at = draft.length
  const length = at + more
  if (length >= SIZE_LIMIT) fail("TooLarge", "the types are more than a BTF blob can have")
  if (length > draft.bytes.length) {
    const larger = new Uint8Array(Math.max(length, Math.min(at * 2, at + (1 << 26)), 256))
    larger.set(draft.bytes.subarray(0, at))
    draft.bytes = larger
    draft.view = viewOf(larger)
  }
  draft.length = length
  return at
}

/** Notes that a record begins at `at`; answers its id. */
export const begin = (draft: Draft, at: number): number => {
  reserveStarts(draft, 1)
  draft.starts[draft.count++] = at
  return draft.firstId + draft.count - 1
}

/** Makes room for `more` entries in `starts`, which the draft shares with nobody afterwards. */
export const reserveStarts = (draft: Draft, more: number): void => {
  const count = draft.count + more
  if (count <= draft.starts.length) return
  const larger = new Uint32Array(Math.max(count, draft.count * 2, 64))
  larger.set(draft.starts.subarray(0, draft.count))
  draft.starts = larger
}

/** The largest type id: ids are signed 32-bit words to libbpf. */
const MAX_ID = 0x7fff_ffff

/** Checks a reference. Whether there is such a type is seen when the blob is finished: it may be added later. */
export const checkId = (draft: Draft, type: number): number =>
  Number.isInteger(type) && type >= 0 && type <= MAX_ID
    ? type
    : fail("BadTypeId", `${type} is no type id`, { typeId: nextId(draft) })

/** Checks a 32-bit word. */
export const checkWord = (typeId: number, value: number): number =>
  Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff
    ? value
    : fail("BadArgument", `${value} does not fit 32 bits`, { typeId })

/** The string offset of `text`, which is appended where it is new. */
export const textOffset = (draft: Draft, text: string): number => {
  if (text === "") return 0
  if (text.includes("\0")) fail("BadArgument", "a string of BTF cannot hold a NUL")
  return draft.strings.addText(text)
}

/** Writes a word. */
export const put = (draft: Draft, at: number, value: number): void => {
  draft.view.setUint32(at, value, draft.littleEndian)
}

/** Reads a word. */
export const get = (draft: Draft, at: number): number => draft.view.getUint32(at, draft.littleEndian)

/** The information word. */
const infoWord = (kind: number, vlen: number, kflag: boolean): number =>
  ((kflag ? 0x8000_0000 : 0) + kind * 0x100_0000 + vlen) >>> 0

/** The kind that an information word says. */
export const kindOfInfo = (info: number): number => (info >>> 24) & (BTF_KIND_LIMIT - 1)

/** The count that an information word says. */
export const vlenOfInfo = (info: number): number => info & BTF_MAX_VLEN

/** Offset of the record of own type `id`, which must be of kind `kind`. */
export const recordOf = (draft: Draft, id: number, kind: number): number => {
  const index = id - draft.firstId
  const at = index < draft.count ? draft.starts[index] : undefined
  if (at === undefined) {
    const inBase = id < draft.firstId && id > 0
    return fail("BadTypeId", "there is no such type to edit", {
      typeId: id,
      ...(inBase ? { hint: "it belongs to the base BTF, which an edit does not change" } : {})
    })
  }
  const found = kindOfInfo(get(draft, at + 4))
  return found === kind ? at : fail("WrongKind", `it is a ${kindName(found)}, not a ${kindName(kind)}`, { typeId: id })
}

/** Appends the common part of a record and `words` after it; answers its id. The words must have been checked. */
export const appendRecord = (
  draft: Draft,
  kind: number,
  nameOffset: number,
  vlen: number,
  kflag: boolean,
  sizeOrType: number,
  words: ReadonlyArray<number> = []
): number => {
  const at = extend(draft, BTF_TYPE_SIZE + words.length * 4)
  put(draft, at, nameOffset)
  put(draft, at + 4, infoWord(kind, vlen, kflag))
  put(draft, at + 8, sizeOrType)
  for (let index = 0; index < words.length; index++) put(draft, at + BTF_TYPE_SIZE + index * 4, words[index] ?? 0)
  return begin(draft, at)
}
