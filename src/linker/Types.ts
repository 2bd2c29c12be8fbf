/**
 * The types of all inputs in one blob, and the records of `.BTF.ext` with them.
 *
 * A first pass gives each type its new id: types of a symbol that another file defines get the id of that definition,
 * so nothing need be mended afterwards. A second pass copies the records.
 *
 * Source: reference page `linker`, sections 7 and 8.
 */
import * as Result from "effect/Result"
import * as Btf from "../btf/Btf.ts"
import * as BtfDedup from "../btf/BtfDedup.ts"
import { swapWords } from "../btf/BtfEncode.ts"
import type { BtfError } from "../btf/BtfError.ts"
import * as BtfExt from "../btf/BtfExt.ts"
import { assemble } from "../btf/BtfImage.ts"
import { forEachTypeId } from "../btf/BtfFields.ts"
import { HEADER_SIZE } from "../btf/BtfParse.ts"
import { rewriteStrings, rewriteTypeIds } from "../btf/BtfRewrite.ts"
import * as BtfStrings from "../btf/BtfStrings.ts"
import { mergeExt } from "./Ext.ts"
import type { Input, InputSection } from "./Input.ts"
import { type Layout, type OutputSection, place } from "./Layout.ts"
import { refuse } from "./LinkError.ts"
import { type Globals, isStatic, type Mention } from "./Symbols.ts"

/** The merged types. */
export interface MergedTypes {
  readonly btf: Btf.Btf
  readonly ext: BtfExt.BtfExt | undefined
  /** Bytes of `.BTF` of all inputs, and how many types they have. */
  readonly before: TypeCount
  /** Those of the output. */
  readonly after: TypeCount
}

/** How large a blob is. */
export interface TypeCount {
  readonly bytes: number
  readonly types: number
  readonly strings: number
}

/** The mention that counts of each global symbol. */
export type Winners = ReadonlyMap<string, Mention>

/** Types of one input and their new ids; 0 where a type is left out. */
export interface TypeIds {
  readonly input: Input
  readonly btf: Btf.Btf
  readonly ids: Uint32Array
  /** 1 for a type that is copied; 0 for one that is left out, or has the id of another input's. */
  readonly copied: Uint8Array
}

/** New string offsets by old ones. */
export type StringMap = (offset: number) => number

/** Merges the types; `undefined` where no input has any. Throws `LinkError`. */
export const mergeTypes = (
  inputs: ReadonlyArray<Input>,
  globals: Globals,
  winners: Winners,
  layout: Layout,
  littleEndian: boolean
): MergedTypes | undefined => {
  const withTypes: Array<TypeIds> = []
  const before = { bytes: 0, types: 0, strings: 0 }
  for (const input of inputs) {
    const { btf } = input
    if (btf === undefined) continue
    withTypes.push({ input, btf, ids: new Uint32Array(btf.endId), copied: new Uint8Array(btf.endId) })
    before.bytes += btf.bytes.length
    before.types += btf.endId - 1
    before.strings += btf.stringsLength
  }
  if (withTypes.length === 0) return undefined
  const nextId = numberTypes(withTypes, globals, winners)
  const strings = BtfStrings.make()
  const maps: Array<StringMap> = withTypes.map(({ btf }) => stringMap(strings, btf))
  const types = copyTypes(withTypes, maps, littleEndian)
  const sections = datasecs(withTypes, winners, layout)
  const whole = new Uint8Array(types.length + sizeOfDatasecs(sections))
  whole.set(types)
  writeDatasecs(sections, strings, new DataView(whole.buffer), types.length, littleEndian)
  if (nextId + sections.length === 1) return undefined
  const ext = mergeExt(withTypes, maps, layout, strings, littleEndian)
  const btf = valueOf(assemble({
    byteOrder: littleEndian ? "little" : "big",
    headerLength: HEADER_SIZE,
    base: undefined,
    pointerSize: 8,
    types: whole,
    layout: new Uint8Array(0),
    strings: strings.content()
  }))
  const deduped = valueOf(BtfDedup.dedup(btf, {
    ext: ext === undefined ? undefined : valueOf(BtfExt.parse(ext, btf))
  }))
  const after = {
    bytes: deduped.btf.bytes.length,
    types: deduped.btf.endId - 1,
    strings: deduped.btf.stringsLength
  }
  return { btf: deduped.btf, ext: deduped.ext, before, after }
}

const valueOf = <A>(result: Result.Result<A, BtfError>): A =>
  Result.isSuccess(result)
    ? result.success
    : refuse(result.failure.reason === "TooLarge" ? "TooLarge" : "Btf", `all types together: ${result.failure.message}`)

/** What stands for the type of a mention that does not count, until all ids are given. */
interface Borrowed {
  readonly ids: Uint32Array
  readonly typeId: number
  readonly winner: Mention
}

/** Gives ids; answers the next free one. */
const numberTypes = (inputs: ReadonlyArray<TypeIds>, globals: Globals, winners: Winners): number => {
  const idsOf = new Map<Input, TypeIds>()
  for (const types of inputs) idsOf.set(types.input, types)
  const lost = lostDefinitions(globals, winners)
  const borrowed: Array<Borrowed> = []
  let next = 1
  for (const { btf, copied, ids, input } of inputs) {
    const left = new Set<number>()
    const definitions = lost.get(input) ?? new Set<number>()
    for (const [typeId, name] of input.shared) {
      const winner = winners.get(name)
      if (winner === undefined || (winner.input === input && winner.typeId === typeId)) continue
      left.add(typeId)
      borrowed.push({ ids, typeId, winner })
    }
    for (const section of input.sections) {
      if (section.use === "Skipped" && section.datasec !== 0) leaveVariables(btf, section, left)
    }
    const prototypes = left.size === 0 ? left : ownPrototypes(btf, left)
    for (let id = 1; id < btf.endId; id++) {
      const kind = Btf.kindOf(btf, id)
      const isLeft = kind === Btf.BTF_KIND_DATASEC || left.has(id) || prototypes.has(id)
        || (kind === Btf.BTF_KIND_DECL_TAG && isOf(btf, id, left, definitions))
      if (isLeft) continue
      ids[id] = next++
      copied[id] = 1
    }
  }
  for (const { ids, typeId, winner } of borrowed) {
    const owner = idsOf.get(winner.input)
    ids[typeId] = owner?.ids[winner.typeId] ?? 0
  }
  return next
}

/** The types of definitions that do not count. */
const lostDefinitions = (globals: Globals, winners: Winners): ReadonlyMap<Input, ReadonlySet<number>> => {
  const lost = new Map<Input, Set<number>>()
  for (const { mentions, name } of globals.values()) {
    const winner = winners.get(name)
    for (const mention of mentions) {
      if (mention === winner || !mention.isDefined) continue
      const mine = lost.get(mention.input) ?? new Set<number>()
      mine.add(mention.typeId)
      lost.set(mention.input, mine)
    }
  }
  return lost
}

/** Whether a tag is on something that is left out for good, so that it goes too. */
const isOf = (btf: Btf.Btf, tag: number, left: ReadonlySet<number>, definitions: ReadonlySet<number>): boolean => {
  const of = Btf.sizeOrTypeOf(btf, tag)
  return left.has(of) && definitions.has(of)
}

/** Variables of a section that is left out, such as a second license. Those that another file has keep its id. */
const leaveVariables = (btf: Btf.Btf, { datasec }: InputSection, left: Set<number>): void => {
  const type = Btf.typeOf(btf, datasec)
  if (type._tag !== "Datasec") return
  for (const entry of type.entries) left.add(entry.type)
}

/**
 * Prototypes that only functions refer to which are left out. They would stay as types that nothing uses; what differs
 * from the definition's in names of parameters alone would not even become one with it.
 */
const ownPrototypes = (btf: Btf.Btf, left: ReadonlySet<number>): ReadonlySet<number> => {
  const uses = new Map<number, number>()
  for (const id of left) {
    if (Btf.kindOf(btf, id) !== Btf.BTF_KIND_FUNC) continue
    const prototype = Btf.sizeOrTypeOf(btf, id)
    uses.set(prototype, (uses.get(prototype) ?? 0) + 1)
  }
  if (uses.size === 0) return new Set()
  forEachTypeId(btf, (_, id) => {
    const count = uses.get(id)
    if (count !== undefined) uses.set(id, count - 1)
  })
  const own = new Set<number>()
  for (const [id, count] of uses) {
    if (count === 0 && Btf.kindOf(btf, id) === Btf.BTF_KIND_FUNC_PROTO) own.add(id)
  }
  return own
}

/** New offsets of the strings of `btf`, each of which is looked up once. */
const stringMap = (strings: BtfStrings.StringTable, btf: Btf.Btf): StringMap => {
  const known = new Uint32Array(btf.stringsLength)
  return (offset) => {
    if (offset === 0) return 0
    const found = known[offset] ?? 0
    if (found !== 0) return found
    const added = strings.addFrom(btf, offset)
    known[offset] = added
    return added
  }
}

const copyTypes = (
  inputs: ReadonlyArray<TypeIds>,
  maps: ReadonlyArray<StringMap>,
  littleEndian: boolean
): Uint8Array => {
  let room = 0
  for (const { btf } of inputs) room += btf.typesLength
  const bytes = new Uint8Array(room)
  const view = new DataView(bytes.buffer)
  let at = 0
  inputs.forEach(({ btf, copied, ids, input }, index) => {
    const begin = at
    const typesEnd = btf.typesOffset + btf.typesLength
    const { offsets } = btf
    // Types that are kept stand in runs, which are copied as a whole.
    let run = -1
    for (let id = 1; id <= btf.endId; id++) {
      const isKept = copied[id] === 1
      const start = offsets[id - 1] ?? typesEnd
      if (isKept) {
        if (run < 0) run = start
      } else if (run >= 0) {
        bytes.set(btf.bytes.subarray(run, start), at)
        at += start - run
        run = -1
      }
    }
    // Types from an object of the other byte order never come together; a blob may still be of another than its file.
    if ((btf.byteOrder === "little") !== littleEndian) swapWords(bytes, begin, at - begin)
    const mapString = maps[index] ?? ((offset) => offset)
    const mapType = (id: number): number => {
      const mapped = ids[id] ?? 0
      if (mapped === 0 && id !== 0) {
        refuse("Btf", `a type refers to type ${id}, which is left out`, {
          file: input.name,
          section: ".BTF",
          hint: "only tags and sections may refer to variables and functions"
        })
      }
      return mapped
    }
    let record = begin
    for (let id = 1; id < btf.endId; id++) {
      if (copied[id] !== 1) continue
      rewriteTypeIds(view, littleEndian, record, mapType)
      rewriteStrings(view, littleEndian, record, mapString)
      record += (offsets[id] ?? typesEnd) - (offsets[id - 1] ?? 0)
    }
  })
  return bytes.subarray(0, at)
}

/** A DATASEC of the output. */
interface Datasec {
  readonly name: string
  readonly size: number
  readonly entries: Array<Btf.DatasecEntry>
}

/** Collects the variables of each section. */
const datasecs = (
  inputs: ReadonlyArray<TypeIds>,
  winners: Winners,
  layout: Layout
): ReadonlyArray<Datasec> => {
  const byOutput = new Map<OutputSection, Datasec>()
  for (const output of layout.sections) {
    if (!output.hasTypes) continue
    byOutput.set(output, { name: output.name, size: output.index === 0 ? 0 : output.size, entries: [] })
  }
  const declared = new Set<string>()
  for (const { btf, ids, input } of inputs) {
    for (const section of input.sections) {
      const part = layout.parts.get(section)
      const datasec = part === undefined ? undefined : byOutput.get(part.output)
      const type = Btf.typeOf(btf, section.datasec)
      if (part === undefined || datasec === undefined || type._tag !== "Datasec") continue
      for (const entry of type.entries) {
        const id = ids[entry.type] ?? 0
        if (isStatic(btf, entry.type)) {
          const offset = Btf.kindOf(btf, entry.type) === Btf.BTF_KIND_FUNC ? 0 : place(part, entry.offset)
          if (offset >= 0 && id !== 0) datasec.entries.push({ type: id, offset, size: entry.size })
          continue
        }
        const name = input.shared.get(entry.type) ?? ""
        const winner = winners.get(name)
        if (winner === undefined || winner.input !== input || winner.typeId !== entry.type || declared.has(name)) {
          continue
        }
        declared.add(name)
        const offset = winner.isDefined ? place(part, winner.value) : 0
        datasec.entries.push({ type: id, offset, size: entry.size })
      }
    }
  }
  for (const { entries } of byOutput.values()) entries.sort((one, other) => one.offset - other.offset)
  return [...byOutput.values()]
}

const sizeOfDatasecs = (sections: ReadonlyArray<Datasec>): number =>
  sections.reduce((size, { entries }) => size + Btf.BTF_TYPE_SIZE + entries.length * 12, 0)

const writeDatasecs = (
  sections: ReadonlyArray<Datasec>,
  strings: BtfStrings.StringTable,
  view: DataView,
  start: number,
  littleEndian: boolean
): void => {
  let at = start
  for (const { entries, name, size } of sections) {
    if (entries.length > Btf.BTF_MAX_VLEN) {
      refuse("TooLarge", `the section has ${entries.length} variables, more than its type can have`, { section: name })
    }
    view.setUint32(at, strings.addText(name), littleEndian)
    view.setUint32(at + 4, Btf.BTF_KIND_DATASEC * 0x100_0000 + entries.length, littleEndian)
    view.setUint32(at + 8, size, littleEndian)
    at += Btf.BTF_TYPE_SIZE
    for (const { offset, size, type } of entries) {
      view.setUint32(at, type, littleEndian)
      view.setUint32(at + 4, offset, littleEndian)
      view.setUint32(at + 8, size, littleEndian)
      at += 12
    }
  }
}
