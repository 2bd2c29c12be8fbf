/**
 * Changes of a kernel's types, by the BTF builder: each type keeps its id, whatever it becomes.
 */
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfEdit from "../../src/btf/BtfEdit.ts"

/** Adds one type; answers its id. */
type Make = (editor: BtfEdit.BtfEditor) => number

/** A kernel that is being changed: each type keeps its id, whatever it becomes. */
export interface Changing {
  readonly kernel: Btf.Btf
  /** The id of the only struct of this name. */
  readonly struct: (name: string) => number
  readonly replace: (id: number, make: Make) => void
  /** Adds a type behind all others; answers its id. */
  readonly append: (make: Make) => number
}

/** The kernel with the changes that `change` makes: its other types as they were, in their order. */
export const changed = (kernel: Btf.Btf, change: (changing: Changing) => void): Btf.Btf => {
  const replaced = new Map<number, Make>()
  const appended: Array<Make> = []
  change({
    kernel,
    struct: (name) => only(kernel, name, Btf.BTF_KIND_STRUCT),
    replace: (id, make) => void replaced.set(id, make),
    append: (make) => kernel.endId + appended.push(make) - 1
  })
  const editor = BtfEdit.make({ byteOrder: kernel.byteOrder })
  for (let id = 1; id < kernel.endId; id++) {
    const make = replaced.get(id)
    if (make === undefined) editor.addType(kernel, id)
    else make(editor)
  }
  for (const make of appended) make(editor)
  return Result.getOrThrow(editor.finish())
}

/** The id of the only type of this kind and name. */
export const only = (kernel: Btf.Btf, name: string, kind: number): number => {
  const found = Btf.find(kernel, name, kind)
  if (found._tag !== "One") throw new Error(`there is not one ${name}: ${found._tag}`)
  return found.id
}

/** A struct. */
export const structOf = (kernel: Btf.Btf, id: number): Extract<Btf.BtfType, { _tag: "Struct" }> => {
  const type = Btf.typeOf(kernel, id)
  if (type._tag !== "Struct") throw new Error(`type ${id} is no struct`)
  return type
}

/** Members in the making. */
type Members = ReadonlyArray<Btf.Member>

/** Gives a struct other members, and more bytes. */
export const members = (on: Changing, name: string, change: (members: Members) => Members, bytes = 0): void => {
  const id = on.struct(name)
  const { members, size } = structOf(on.kernel, id)
  on.replace(id, (editor) => editor.addStruct(name, size + bytes, change(members)))
}

/** Changes one member of a struct. */
export const member = (on: Changing, name: string, which: string, change: (member: Btf.Member) => Members): void => {
  let seen = 0
  members(on, name, (all) =>
    all.flatMap((each) => {
      if (each.name !== which) return [each]
      seen++
      return change(each)
    }))
  const { members: all } = structOf(on.kernel, on.struct(name))
  if (seen === 0 && !all.some((each) => each.name === which)) throw new Error(`struct ${name} has no ${which}`)
}

/** Gives a member of a struct a new type. */
export const retyped = (on: Changing, name: string, which: string, make: Make): void => {
  const type = on.append(make)
  member(on, name, which, (each) => [{ ...each, type }])
}

/** Moves a member and all behind it. */
export const pushed = (on: Changing, name: string, from: string, bytes: number): void => {
  const { members: all } = structOf(on.kernel, on.struct(name))
  const first = all.findIndex((each) => each.name === from)
  if (first < 0) throw new Error(`struct ${name} has no ${from}`)
  members(
    on,
    name,
    (each) =>
      each.map((member, index) => index < first ? member : { ...member, bitOffset: member.bitOffset + bytes * 8 }),
    bytes
  )
}

/** The enum `pid_type`. */
export const pidType = (on: Changing): number => only(on.kernel, "pid_type", Btf.BTF_KIND_ENUM)

/** Changes each enumerator of `pid_type`. */
export const enumerators = (
  on: Changing,
  change: (
    value: { readonly name: string; readonly value: number }
  ) => { readonly name: string; readonly value: number }
): void => {
  const id = pidType(on)
  const type = Btf.typeOf(on.kernel, id)
  if (type._tag !== "Enum") throw new Error("pid_type is no enum")
  on.replace(id, (editor) => editor.addEnum("pid_type", type.size, type.values.map(change)))
}

/** A member that is no bit field. */
export const named = (name: string, type: number, bitOffset: number): Btf.Member => ({
  name,
  type,
  bitOffset,
  bitfieldSize: 0
})

/** The members of a struct that have these names, put together into a struct at the place of the first. */
export const together = (
  on: Changing,
  name: string,
  which: ReadonlyArray<string>,
  wrap: (inner: number, size: number) => Btf.Member
): void => {
  const id = on.struct(name)
  const { members: all } = structOf(on.kernel, id)
  const chosen = all.filter((each) => which.includes(each.name))
  const start = chosen[0]?.bitOffset ?? 0
  const end = Math.max(...chosen.map(({ bitOffset }) => bitOffset + 32))
  const bytes = (end - start) / 8
  const inner = on.append((editor) =>
    editor.addStruct("", bytes, chosen.map((each) => ({ ...each, bitOffset: each.bitOffset - start })))
  )
  const group = wrap(inner, bytes)
  members(on, name, (each) =>
    each.flatMap((member) => {
      if (member.name === which[0]) return [{ ...group, bitOffset: start }]
      return which.includes(member.name) ? [] : [member]
    }))
}

/** Adds a `task_struct` once more, all of it so many bytes further. */
export const twin = (on: Changing, name: string, bytes: number): void => {
  const { members: all, size } = structOf(on.kernel, on.struct("task_struct"))
  on.append((editor) =>
    editor.addStruct(
      name,
      size + bytes,
      all.map((each) => ({ ...each, bitOffset: each.bitOffset + bytes * 8 }))
    )
  )
}

/** Gives a struct another name. */
export const renamedStruct = (on: Changing, name: string, other: string): void => {
  const id = on.struct(name)
  const { members, size } = structOf(on.kernel, id)
  on.replace(id, (editor) => editor.addStruct(other, size, members))
}

/** Gives `comm` another length. */
export const resizeComm = (on: Changing, length: number): void => {
  const char = on.append((editor) => editor.addInt("char", 1, 0))
  const index = on.append((editor) => editor.addInt("unsigned int", 4, 0))
  retyped(on, "task_struct", "comm", (editor) => editor.addArray(index, char, length))
}
