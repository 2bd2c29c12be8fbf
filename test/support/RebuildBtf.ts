/**
 * Types as objects given back to a builder, and their references mapped: for laws that say what stays the same.
 */
import type * as Btf from "../../src/btf/Btf.ts"
import type { BtfEditor } from "../../src/btf/BtfEdit.ts"

/** The type with all ids in it mapped, its own too. */
export const mapIds = (type: Btf.BtfType, map: (id: number) => number): Btf.BtfType => {
  const id = map(type.id)
  const each = <T extends { readonly type: number }>(list: ReadonlyArray<T>): ReadonlyArray<T> =>
    list.map((item) => ({ ...item, type: map(item.type) }))
  switch (type._tag) {
    case "Ptr":
    case "Typedef":
    case "Volatile":
    case "Const":
    case "Restrict":
    case "Func":
    case "Var":
    case "DeclTag":
    case "TypeTag":
      return { ...type, id, type: map(type.type) }
    case "Array":
      return { ...type, id, type: map(type.type), indexType: map(type.indexType) }
    case "Struct":
    case "Union":
      return { ...type, id, members: each(type.members) }
    case "FuncProto":
      return { ...type, id, returnType: map(type.returnType), params: each(type.params) }
    case "Datasec":
      return { ...type, id, entries: each(type.entries) }
    default:
      return { ...type, id }
  }
}

const named = (list: ReadonlyArray<{ readonly name: string }>): boolean => list.every(({ name }) => name !== "")

/** Whether a builder takes the type: it refuses what no compiler of today makes. */
export const canBuild = (type: Btf.BtfType): boolean => {
  switch (type._tag) {
    case "Void":
    case "Unknown":
      return false
    case "Int":
      return type.name !== "" && [1, 2, 4, 8, 16].includes(type.size) && type.encoding < 8 && type.bitOffset === 0
        && type.bits === type.size * 8
    case "Float":
      return type.name !== "" && [2, 4, 8, 12, 16].includes(type.size)
    case "Ptr":
    case "Const":
    case "Volatile":
    case "Restrict":
    case "Array":
    case "FuncProto":
      return type.name === ""
    case "Struct":
    case "Union": {
      const hasBitfields = type.members.some((member) => member.bitfieldSize !== 0)
      return type.members.every(({ bitOffset, bitfieldSize }) =>
        (bitfieldSize !== 0 || bitOffset % 8 === 0) && (!hasBitfields || bitOffset <= 0xff_ffff)
        && (type._tag === "Struct" || bitOffset === 0)
      )
    }
    case "Enum":
      return [1, 2, 4, 8].includes(type.size) && named(type.values)
    case "Enum64":
      return [1, 2, 4, 8].includes(type.size) && named(type.values)
    default:
      return type.name !== ""
  }
}

/** Adds the type to the end; `oneByOne` adds members, values, parameters and entries by calls of their own. */
export const build = (editor: BtfEditor, type: Btf.BtfType, oneByOne: boolean): number => {
  const at = <T>(list: ReadonlyArray<T>): ReadonlyArray<T> => oneByOne ? [] : list
  const then = <T>(id: number, list: ReadonlyArray<T>, add: (item: T) => void): number => {
    if (oneByOne) { for (const item of list) add(item) }
    return id
  }
  switch (type._tag) {
    case "Int":
      return editor.addInt(type.name, type.size, type.encoding)
    case "Float":
      return editor.addFloat(type.name, type.size)
    case "Ptr":
      return editor.addPtr(type.type)
    case "Const":
      return editor.addConst(type.type)
    case "Volatile":
      return editor.addVolatile(type.type)
    case "Restrict":
      return editor.addRestrict(type.type)
    case "Typedef":
      return editor.addTypedef(type.name, type.type)
    case "Array":
      return editor.addArray(type.indexType, type.type, type.length)
    case "Struct":
      return then(editor.addStruct(type.name, type.size, at(type.members)), type.members, editor.addMember)
    case "Union":
      return then(editor.addUnion(type.name, type.size, at(type.members)), type.members, editor.addMember)
    case "Enum":
      return then(
        editor.addEnum(type.name, type.size, at(type.values), type.signed),
        type.values,
        editor.addEnumValue
      )
    case "Enum64":
      return then(
        editor.addEnum64(type.name, type.size, at(type.values), type.signed),
        type.values,
        editor.addEnum64Value
      )
    case "Fwd":
      return editor.addFwd(type.name, type.forward)
    case "Func":
      return editor.addFunc(type.name, type.type, type.linkage)
    case "FuncProto":
      return then(editor.addFuncProto(type.returnType, at(type.params)), type.params, editor.addParam)
    case "Var":
      return editor.addVar(type.name, type.type, type.linkage)
    case "Datasec":
      return then(editor.addDatasec(type.name, type.size, at(type.entries)), type.entries, editor.addDatasecEntry)
    case "DeclTag":
      return editor.addDeclTag(type.name, type.type, type.componentIndex, type.attribute)
    case "TypeTag":
      return editor.addTypeTag(type.name, type.type, type.attribute)
    default:
      throw new Error(`a ${type._tag} cannot be built`)
  }
}
