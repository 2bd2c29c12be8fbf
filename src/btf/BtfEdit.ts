/**
 * Edits of an object's BTF before the kernel sees it.
 *
 * An editor is a mutable copy that lives inside one function: changes keep all ids, new types and strings are appended,
 * and `finish` hands out a new, validated `Btf` with a canonical blob. The `Btf` that was edited stays as it was.
 *
 * Source: reference pages `btf-format`, section 11, and `open`, sections 3 and 4.
 */
import * as Result from "effect/Result"
import type { BtfError } from "./BtfError.ts"
import { btfError } from "./BtfError.ts"
import { writeHeader } from "./BtfEncode.ts"
import * as Kind from "./BtfKind.ts"
import type { Btf } from "./BtfModel.ts"
import { parse } from "./BtfParse.ts"
import type { DatasecEntry, Member, Param } from "./BtfType.ts"

/**
 * An edit in progress. A change that does not fit, of a type that does not exist, is of another kind or belongs to the
 * base, is not made; `finish` then answers with the first such error.
 */
export interface BtfEditor {
  /** Sets the size of a DATASEC, in bytes. */
  readonly setDatasecSize: (id: number, size: number) => void
  /** Changes the given fields of an entry of a DATASEC. */
  readonly setDatasecEntry: (id: number, index: number, entry: Partial<DatasecEntry>) => void
  /** Sorts the entries of a DATASEC by offset; entries of one offset keep their order. */
  readonly sortDatasec: (id: number) => void
  /** Sets the linkage of a VAR, `BTF_VAR_*`. */
  readonly setVarLinkage: (id: number, linkage: number) => void
  /** Sets the type of a VAR. */
  readonly setVarType: (id: number, type: number) => void
  /** Sets the linkage of a FUNC, `BTF_FUNC_*`. */
  readonly setFuncLinkage: (id: number, linkage: number) => void
  /** Sets the string offset of the name of a parameter of a FUNC_PROTO. */
  readonly setParamNameOffset: (id: number, index: number, nameOffset: number) => void
  /** The string offset of a string that holds `text`: one that this blob has, or a new one. */
  readonly addString: (text: string) => number
  /** Adds an integer of `size` bytes, a power of two up to 16; `encoding` is a sum of `BTF_INT_*`. Answers its id. */
  readonly addInt: (name: string, size: number, encoding: number) => number
  /** Adds a pointer. */
  readonly addPtr: (type: number) => number
  /** Adds an array of `length` elements of type `type`. */
  readonly addArray: (indexType: number, type: number, length: number) => number
  /** Adds a struct of `size` bytes. */
  readonly addStruct: (name: string, size: number, members: ReadonlyArray<Member>) => number
  /** Adds a prototype. */
  readonly addFuncProto: (returnType: number, params: ReadonlyArray<Param>) => number
  /** Adds a function with its FUNC_PROTO and linkage, `BTF_FUNC_*`. */
  readonly addFunc: (name: string, type: number, linkage: number) => number
  /** Adds a variable with its linkage, `BTF_VAR_*`. */
  readonly addVar: (name: string, type: number, linkage: number) => number
  /** Adds a section of `size` bytes. */
  readonly addDatasec: (name: string, size: number, entries: ReadonlyArray<DatasecEntry>) => number
  /** The edited BTF, canonical and validated like any other, with the same base and byte order. */
  readonly finish: () => Result.Result<Btf, BtfError>
}

/** Begins an edit of `btf`. */
export const edit = (btf: Btf): BtfEditor => {
  const { littleEndian } = btf.internal
  const types = growable(btf.bytes.subarray(btf.typesOffset, btf.typesOffset + btf.typesLength))
  const strings = growable(btf.bytes.subarray(btf.stringsOffset, btf.stringsOffset + btf.stringsLength))
  const appended: Array<number> = []
  let known: Map<string, number> | undefined
  let error: BtfError | undefined

  const refuse = (reason: BtfError["reason"], detail: string, place: { typeId?: number; hint?: string } = {}): void => {
    error ??= btfError(reason, detail, place)
  }

  /** Offset in `types` of the record of own type `id`, which must be of kind `kind`; -1 where it is not. */
  const record = (id: number, kind: number): number => {
    const index = id - btf.firstId
    const at = index < btf.offsets.length ? btf.offsets[index] : undefined
    const own = at === undefined ? appended[index - btf.offsets.length] : at - btf.typesOffset
    if (own === undefined) {
      const hint = id < btf.firstId && id > 0 ? "it belongs to the base BTF, which an edit does not change" : undefined
      refuse("BadTypeId", "there is no such type to edit", { typeId: id, ...(hint === undefined ? {} : { hint }) })
      return -1
    }
    const found = (types.view.getUint32(own + 4, littleEndian) >>> 24) & 0x7f
    if (found === kind) return own
    refuse("WrongKind", `it is a ${Kind.kindName(found)}, not a ${Kind.kindName(kind)}`, { typeId: id })
    return -1
  }

  const isWord = (value: number): boolean => Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff

  const setWord = (id: number, at: number, value: number): void => {
    if (isWord(value)) types.view.setUint32(at, value, littleEndian)
    else refuse("BadArgument", `${value} does not fit 32 bits`, { typeId: id })
  }

  /** Offset of element `index` of a record with `size` bytes an element; -1 where the record has fewer. */
  const element = (id: number, kind: number, index: number, size: number): number => {
    const at = record(id, kind)
    if (at < 0) return -1
    const count = types.view.getUint32(at + 4, littleEndian) & 0xff_ffff
    if (Number.isInteger(index) && index >= 0 && index < count) return at + Kind.BTF_TYPE_SIZE + index * size
    refuse("BadArgument", `it has ${count} elements and none of index ${index}`, { typeId: id })
    return -1
  }

  const addString = (text: string): number => {
    if (text === "") return 0
    if (text.includes("\0")) {
      refuse("BadArgument", "a string of BTF cannot hold a NUL")
      return 0
    }
    known ??= indexStrings(strings)
    const offset = known.get(text)
    if (offset !== undefined) return btf.stringsStart + offset
    const at = strings.length
    const encoded = utf8Encoder.encode(text)
    strings.bytes(encoded.length + 1).set(encoded, at)
    known.set(text, at)
    return btf.stringsStart + at
  }

  /** Appends a record; answers its id. `words` are what follows the information word. */
  const append = (kind: number, name: string, vlen: number, kflag: boolean, words: ReadonlyArray<number>): number => {
    const id = btf.endId + appended.length
    const bad = words.find((word) => !isWord(word))
    if (bad !== undefined) refuse("BadArgument", `${bad} does not fit 32 bits`, { typeId: id })
    if (vlen > Kind.BTF_MAX_VLEN) refuse("BadArgument", `${vlen} elements are too many`, { typeId: id })
    const nameOffset = addString(name)
    const at = types.length
    types.bytes(8 + words.length * 4)
    types.view.setUint32(at, nameOffset, littleEndian)
    types.view.setUint32(
      at + 4,
      ((kflag ? 0x8000_0000 : 0) + kind * 0x100_0000 + (vlen & 0xff_ffff)) >>> 0,
      littleEndian
    )
    for (const [index, word] of words.entries()) types.view.setUint32(at + 8 + index * 4, word, littleEndian)
    appended.push(at)
    return id
  }

  const named = (name: string, what: string): void => {
    if (name === "") refuse("BadArgument", `a ${what} needs a name`)
  }

  const checkLinkage = (id: number, linkage: number): boolean => {
    const fits = linkage === 0 || linkage === 1 || linkage === 2
    if (!fits) refuse("BadArgument", `${linkage} is no linkage`, { typeId: id })
    return fits
  }

  return {
    setDatasecSize: (id, size) => {
      const at = record(id, Kind.BTF_KIND_DATASEC)
      if (at >= 0) setWord(id, at + 8, size)
    },
    setDatasecEntry: (id, index, entry) => {
      const at = element(id, Kind.BTF_KIND_DATASEC, index, 12)
      if (at < 0) return
      if (entry.type !== undefined) setWord(id, at, entry.type)
      if (entry.offset !== undefined) setWord(id, at + 4, entry.offset)
      if (entry.size !== undefined) setWord(id, at + 8, entry.size)
    },
    sortDatasec: (id) => {
      const at = record(id, Kind.BTF_KIND_DATASEC)
      if (at >= 0) sortEntries(types.view, littleEndian, at)
    },
    setVarLinkage: (id, linkage) => {
      const at = record(id, Kind.BTF_KIND_VAR)
      if (at >= 0 && checkLinkage(id, linkage)) setWord(id, at + 12, linkage)
    },
    setVarType: (id, type) => {
      const at = record(id, Kind.BTF_KIND_VAR)
      if (at >= 0) setWord(id, at + 8, type)
    },
    setFuncLinkage: (id, linkage) => {
      const at = record(id, Kind.BTF_KIND_FUNC)
      if (at < 0 || !checkLinkage(id, linkage)) return
      const info = types.view.getUint32(at + 4, littleEndian)
      setWord(id, at + 4, (info - (info & 0xff_ffff)) + linkage)
    },
    setParamNameOffset: (id, index, nameOffset) => {
      const at = element(id, Kind.BTF_KIND_FUNC_PROTO, index, 8)
      if (at >= 0) setWord(id, at, nameOffset)
    },
    addString,
    addInt: (name, size, encoding) => {
      named(name, "INT")
      if (![1, 2, 4, 8, 16].includes(size)) refuse("BadArgument", `an INT cannot have ${size} bytes`)
      if ((encoding & 7) !== encoding) refuse("BadArgument", `${encoding} is no encoding of an INT`)
      return append(Kind.BTF_KIND_INT, name, 0, false, [size, (encoding & 7) * 0x100_0000 + ((size * 8) & 0xff)])
    },
    addPtr: (type) => append(Kind.BTF_KIND_PTR, "", 0, false, [type]),
    addArray: (indexType, type, length) => append(Kind.BTF_KIND_ARRAY, "", 0, false, [0, type, indexType, length]),
    addStruct: (name, size, members) => {
      const kflag = members.some((member) => member.bitfieldSize !== 0)
      const words = [size]
      for (const member of members) {
        words.push(addString(member.name), member.type, memberOffset(member, kflag) ?? -1)
      }
      return append(Kind.BTF_KIND_STRUCT, name, members.length, kflag, words)
    },
    addFuncProto: (returnType, params) => {
      const words = [returnType]
      for (const param of params) words.push(addString(param.name), param.type)
      return append(Kind.BTF_KIND_FUNC_PROTO, "", params.length, false, words)
    },
    addFunc: (name, type, linkage) => {
      named(name, "FUNC")
      checkLinkage(btf.endId + appended.length, linkage)
      return append(Kind.BTF_KIND_FUNC, name, linkage, false, [type])
    },
    addVar: (name, type, linkage) => {
      named(name, "VAR")
      checkLinkage(btf.endId + appended.length, linkage)
      return append(Kind.BTF_KIND_VAR, name, 0, false, [type, linkage])
    },
    addDatasec: (name, size, entries) => {
      named(name, "DATASEC")
      const words = [size]
      for (const entry of entries) words.push(entry.type, entry.offset, entry.size)
      return append(Kind.BTF_KIND_DATASEC, name, entries.length, false, words)
    },
    finish: () => {
      if (btf.internal.unknownHeader) {
        refuse("ReadOnly", "the header has fields that are not known, and an edit could not keep what they describe")
      }
      if (error !== undefined) return Result.fail(error)
      const fields = {
        headerLength: btf.headerLength,
        typesLength: types.length,
        layoutLength: btf.layoutLength,
        stringsLength: strings.length
      }
      const layoutOffset = fields.headerLength + fields.typesLength
      const bytes = new Uint8Array(layoutOffset + fields.layoutLength + fields.stringsLength)
      writeHeader(bytes, btf.byteOrder, fields)
      bytes.set(types.content(), fields.headerLength)
      bytes.set(btf.bytes.subarray(btf.layoutOffset, btf.layoutOffset + btf.layoutLength), layoutOffset)
      bytes.set(strings.content(), layoutOffset + fields.layoutLength)
      return parse(bytes, { base: btf.base, pointerSize: btf.internal.pointerSize })
    }
  }
}

const utf8Encoder = new TextEncoder()

/** The offset word of a member; `undefined` where it does not fit beside the size of a bit field. */
const memberOffset = ({ bitfieldSize, bitOffset }: Member, kflag: boolean): number | undefined => {
  if (!kflag) return bitOffset
  return bitfieldSize <= 0xff && bitOffset <= 0xff_ffff ? bitfieldSize * 0x100_0000 + bitOffset : undefined
}

/** Bytes that can be appended to. */
interface Growable {
  readonly length: number
  readonly view: DataView
  /** Makes room for `more` bytes, zeros, at the end, and answers all that there is room for. */
  readonly bytes: (more: number) => Uint8Array
  readonly content: () => Uint8Array
}

const growable = (initial: Uint8Array): Growable => {
  let length = initial.length
  let buffer = initial.slice()
  let view = new DataView(buffer.buffer)
  return {
    get length() {
      return length
    },
    get view() {
      return view
    },
    bytes: (more) => {
      if (length + more > buffer.length) {
        const larger = new Uint8Array(Math.max(length + more, buffer.length * 2))
        larger.set(buffer.subarray(0, length))
        buffer = larger
        view = new DataView(buffer.buffer)
      }
      length += more
      return buffer
    },
    content: () => buffer.subarray(0, length)
  }
}

/** The starts of all strings by their text. One that is not UTF-8 is left out, since other bytes read the same. */
const indexStrings = (strings: Growable): Map<string, number> => {
  const bytes = strings.content()
  const known = new Map<string, number>()
  for (let at = 0; at < bytes.length;) {
    const end = bytes.indexOf(0, at)
    const text = utf8Decoder.decode(bytes.subarray(at, end))
    if (text !== "" && !text.includes("\ufffd") && !known.has(text)) known.set(text, at)
    at = end + 1
  }
  return known
}

const utf8Decoder = new TextDecoder("utf-8", { ignoreBOM: true })

const sortEntries = (view: DataView, littleEndian: boolean, at: number): void => {
  const count = view.getUint32(at + 4, littleEndian) & 0xff_ffff
  const entries: Array<readonly [type: number, offset: number, size: number]> = []
  for (let index = 0, entry = at + Kind.BTF_TYPE_SIZE; index < count; index++, entry += 12) {
    const offset = view.getUint32(entry + 4, littleEndian)
    entries.push([view.getUint32(entry, littleEndian), offset, view.getUint32(entry + 8, littleEndian)])
  }
  entries.sort((one, other) => one[1] - other[1])
  for (const [index, entry] of entries.entries()) {
    for (const [word, value] of entry.entries()) {
      view.setUint32(at + Kind.BTF_TYPE_SIZE + index * 12 + word * 4, value, littleEndian)
    }
  }
}
