/**
 * Changes of types that a draft already has. Ids and sizes of records stay.
 *
 * Source: reference pages `btf-format`, section 4, and `open`, sections 3 and 4.
 */
import { fail } from "../BtfError.ts"
import * as Kind from "../BtfKind.ts"
import type { DatasecEntry } from "../BtfType.ts"
import * as Draft from "./Draft.ts"
import { checkLinkage } from "./Records.ts"

const setWord = (draft: Draft.Draft, id: number, at: number, value: number): void =>
  Draft.put(draft, at, Draft.checkWord(id, value))

/** Offset of element `index` of a record with `size` bytes an element. */
const element = (draft: Draft.Draft, id: number, kind: number, index: number, size: number): number => {
  const at = Draft.recordOf(draft, id, kind)
  const count = Draft.vlenOfInfo(Draft.get(draft, at + 4))
  return Number.isInteger(index) && index >= 0 && index < count
    ? at + Kind.BTF_TYPE_SIZE + index * size
    : fail("BadArgument", `it has ${count} elements and none of index ${index}`, { typeId: id })
}

/** Sets the size of a DATASEC. */
export const setDatasecSize = (draft: Draft.Draft, id: number, size: number): void =>
  setWord(draft, id, Draft.recordOf(draft, id, Kind.BTF_KIND_DATASEC) + 8, size)

/** Changes the given fields of an entry of a DATASEC. */
export const setDatasecEntry = (draft: Draft.Draft, id: number, index: number, entry: Partial<DatasecEntry>): void => {
  const at = element(draft, id, Kind.BTF_KIND_DATASEC, index, 12)
  if (entry.type !== undefined) setWord(draft, id, at, entry.type)
  if (entry.offset !== undefined) setWord(draft, id, at + 4, entry.offset)
  if (entry.size !== undefined) setWord(draft, id, at + 8, entry.size)
}

/** Sorts the entries of a DATASEC by offset; entries of one offset keep their order. */
export const sortDatasec = (draft: Draft.Draft, id: number): void => {
  const at = Draft.recordOf(draft, id, Kind.BTF_KIND_DATASEC)
  const count = Draft.vlenOfInfo(Draft.get(draft, at + 4))
  const entries: Array<readonly [type: number, offset: number, size: number]> = []
  for (let index = 0, entry = at + Kind.BTF_TYPE_SIZE; index < count; index++, entry += 12) {
    entries.push([Draft.get(draft, entry), Draft.get(draft, entry + 4), Draft.get(draft, entry + 8)])
  }
  entries.sort((one, other) => one[1] - other[1])
  for (const [index, words] of entries.entries()) {
    for (const [word, value] of words.entries()) {
      Draft.put(draft, at + Kind.BTF_TYPE_SIZE + index * 12 + word * 4, value)
    }
  }
}

/** Sets the linkage of a VAR. */
export const setVarLinkage = (draft: Draft.Draft, id: number, linkage: number): void =>
  Draft.put(draft, Draft.recordOf(draft, id, Kind.BTF_KIND_VAR) + 12, checkLinkage(id, linkage))

/** Sets the type of a VAR. */
export const setVarType = (draft: Draft.Draft, id: number, type: number): void =>
  Draft.put(draft, Draft.recordOf(draft, id, Kind.BTF_KIND_VAR) + 8, Draft.checkId(draft, type))

/** Sets the linkage of a FUNC. */
export const setFuncLinkage = (draft: Draft.Draft, id: number, linkage: number): void => {
  const at = Draft.recordOf(draft, id, Kind.BTF_KIND_FUNC)
  const info = Draft.get(draft, at + 4)
  Draft.put(draft, at + 4, info - Draft.vlenOfInfo(info) + checkLinkage(id, linkage))
}

/** Sets the string offset of the name of a parameter of a FUNC_PROTO. */
export const setParamNameOffset = (draft: Draft.Draft, id: number, index: number, nameOffset: number): void =>
  setWord(draft, id, element(draft, id, Kind.BTF_KIND_FUNC_PROTO, index, 8), nameOffset)
