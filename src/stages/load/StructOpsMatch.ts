/**
 * The kernel's struct for one that an object implements, and what becomes of each of its members.
 *
 * Members are found by their names, whatever flavor of the struct the object declares. The kernel takes a struct as part of
 * another, `bpf_struct_ops_<name>`, whose other members are its own.
 *
 * Source: reference page `load`, section 5.
 */
import * as Btf from "../../btf/Btf.ts"
import type { StructOps } from "../open/BpfObject.ts"

/** Who owns the types of the kernel itself. */
const vmlinux = "vmlinux"

/** A struct of the kernel that programs can implement. */
export interface KernelStruct {
  /** `vmlinux`, or the module that has it. */
  readonly owner: string
  readonly btf: Btf.Btf
  readonly id: number
  /** The struct around it that a map's value is: its id, its size and where the struct is in it, both in bytes. */
  readonly wrapper: number
  readonly size: number
  readonly offset: number
}

/** What is missing of a struct that cannot be implemented. */
export type Missing = "NoWrapper" | "NoStruct" | "NoMember"

/** The types of a kernel in which structs are looked for. */
export interface Lookup {
  readonly vmlinux: Btf.Btf
  /** In which the wrapper is looked for where vmlinux has none. */
  readonly modules: () => Iterable<{ readonly name: string; readonly btf: Btf.Btf | undefined }>
  /** The first struct of a name: of vmlinux, or a module's own. */
  readonly structOf: (owner: { readonly name: string; readonly btf: Btf.Btf } | undefined, name: string) =>
    | number
    | undefined
}

/** What the struct is called that has this one, and the kernel's own members, in it. */
export const wrapperName = (name: string): string => `bpf_struct_ops_${name}`

/** The kernel's struct of a name, without a flavor. */
export const find = (lookup: Lookup, name: string): KernelStruct | Missing => {
  const look = (owner: string, btf: Btf.Btf, wrapper: number): KernelStruct | Missing => {
    // A module may implement a struct of vmlinux, whose types come first.
    const id = lookup.structOf(undefined, name) ??
      (owner === vmlinux ? undefined : lookup.structOf({ name: owner, btf }, name))
    if (id === undefined) return "NoStruct"
    const around = Btf.typeOf(btf, wrapper)
    if (around._tag !== "Struct") return "NoWrapper"
    const member = around.members.find((each) => each.type === id)
    return member === undefined || member.bitOffset % 8 !== 0
      ? "NoMember"
      : { owner, btf, id, wrapper, size: around.size, offset: member.bitOffset / 8 }
  }
  const own = lookup.structOf(undefined, wrapperName(name))
  if (own !== undefined) return look(vmlinux, lookup.vmlinux, own)
  for (const { btf, name: owner } of lookup.modules()) {
    if (btf === undefined) continue
    const wrapper = lookup.structOf({ name: owner, btf }, wrapperName(name))
    if (wrapper !== undefined) return look(owner, btf, wrapper)
  }
  return "NoWrapper"
}

/** What is missing, for people. */
export const missingText: Readonly<Record<Missing, (name: string) => string>> = {
  NoWrapper: (name) => `the kernel has no struct ${wrapperName(name)}, so programs cannot implement struct ${name}`,
  NoStruct: (name) => `the kernel has no struct ${name}`,
  NoMember: (name) => `the kernel's struct ${wrapperName(name)} is not one of struct ${name}`
}

/** What becomes of a member. */
export type Outcome =
  /** The kernel does not have it, and the object leaves it empty. */
  | { readonly _tag: "Absent" }
  /** The object leaves it empty: a function that nobody implements. */
  | { readonly _tag: "Empty" }
  | { readonly _tag: "Program"; readonly program: number }
  /** Its bytes are copied. */
  | { readonly _tag: "Value"; readonly size: number }
  /** It cannot be filled in: a clause that says why. */
  | { readonly _tag: "Problem"; readonly detail: string }

/** One member of the object's struct, and the kernel's of that name. */
export interface MemberMatch {
  readonly member: Btf.Member
  /** Bytes from the beginning of the object's struct. */
  readonly offset: number
  /** Its size in the object, bytes; 0 where it has none. */
  readonly size: number
  /** The programs that the object has in it. */
  readonly programs: ReadonlyArray<number>
  /** The kernel's member, by its position in the kernel's struct, where it has one. */
  readonly there: { readonly index: number; readonly member: Btf.Member } | undefined
  readonly outcome: Outcome
}

/** Where bytes are that are not zero, for questions about parts of them. */
const nonZero = (bytes: Uint8Array): (from: number, size: number) => boolean => {
  const places: Array<number> = []
  bytes.forEach((byte, at) => {
    if (byte !== 0) places.push(at)
  })
  return (from, size) => {
    let low = 0
    let high = places.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((places[middle] ?? Infinity) < from) low = middle + 1
      else high = middle
    }
    return (places[low] ?? Infinity) < from + size
  }
}

const sizeOf = (btf: Btf.Btf, type: number): number | undefined => {
  const size = Btf.resolveSize(btf, type)
  return size._tag === "Success" ? size.success : undefined
}

/** What becomes of a member that the kernel has. */
const outcomeOf = (
  local: Btf.Btf,
  member: Btf.Member,
  size: number | undefined,
  programs: ReadonlyArray<number>,
  isFilled: boolean,
  kernel: Btf.Btf,
  there: Btf.Member
): Outcome => {
  const problem = (detail: string): Outcome => ({ _tag: "Problem", detail })
  if (member.bitfieldSize > 0 || there.bitfieldSize > 0) return problem("it is a bit field, which cannot be filled in")
  const type = Btf.skipModifiersAndTypedefs(local, member.type)
  const other = Btf.skipModifiersAndTypedefs(kernel, there.type)
  const kind = Btf.kindOf(local, type)
  if (kind !== Btf.kindOf(kernel, other)) {
    return problem(
      `the object has it as \`${Btf.typeName(local, member.type)}\`, the kernel as \`${
        Btf.typeName(kernel, there.type)
      }\``
    )
  }
  if (kind === Btf.BTF_KIND_PTR) {
    const [program] = programs
    if (program === undefined) {
      return isFilled
        ? problem(
          "it is a pointer, and the object has a value of its own there; only programs can be put into pointers"
        )
        : { _tag: "Empty" }
    }
    const pointee = Btf.skipModifiersAndTypedefs(kernel, Btf.sizeOrTypeOf(kernel, other))
    return Btf.kindOf(kernel, pointee) === Btf.BTF_KIND_FUNC_PROTO
      ? { _tag: "Program", program }
      : problem(`the kernel has a \`${Btf.typeName(kernel, there.type)}\` there, which is no function`)
  }
  const otherSize = sizeOf(kernel, other)
  return size !== undefined && otherSize === size
    ? { _tag: "Value", size }
    : problem(`the object has it in ${size ?? "no"} bytes, the kernel in ${otherSize ?? "none"}`)
}

/**
 * Every member of the object's struct beside the kernel's of the same name. `image` is what the object has in it, `programs`
 * what stands in its functions.
 */
export const match = (
  local: Btf.Btf,
  typeId: number,
  image: Uint8Array,
  programs: StructOps["members"],
  kernel: Pick<KernelStruct, "btf" | "id">
): ReadonlyArray<MemberMatch> => {
  const type = Btf.typeOf(local, typeId)
  const struct = Btf.typeOf(kernel.btf, kernel.id)
  if (type._tag !== "Struct" || struct._tag !== "Struct") return []
  const byName = new Map<string, { readonly index: number; readonly member: Btf.Member }>()
  struct.members.forEach((member, index) => {
    if (!byName.has(member.name)) byName.set(member.name, { index, member })
  })
  const byOffset = new Map<number, Array<number>>()
  for (const { offset, program } of programs) byOffset.set(offset, [...byOffset.get(offset) ?? [], program])
  const holds = nonZero(image)
  const seen = new Set<string>()
  return type.members.map((member): MemberMatch => {
    const offset = Math.floor(member.bitOffset / 8)
    const size = sizeOf(local, member.type)
    const inside = byOffset.get(offset) ?? []
    const there = member.name === "" ? undefined : byName.get(member.name)
    const isFilled = holds(offset, size ?? 0)
    const known = { member, offset, size: size ?? 0, programs: inside, there }
    const problem = (detail: string): MemberMatch => ({ ...known, outcome: { _tag: "Problem", detail } })
    if (member.name === "") {
      return isFilled
        ? problem("it has no name to find it by in the kernel's struct, and the object gives it a value")
        : { ...known, outcome: { _tag: "Absent" } }
    }
    if (seen.has(member.name)) return problem("the object's struct has two members of this name")
    seen.add(member.name)
    if (there === undefined) {
      if (inside.length > 0) {
        return problem("the kernel's struct has no such member, and the object has a program there")
      }
      return isFilled
        ? problem("the kernel's struct has no such member, and the object gives it a value")
        : { ...known, outcome: { _tag: "Absent" } }
    }
    return { ...known, outcome: outcomeOf(local, member, size, inside, isFilled, kernel.btf, there.member) }
  })
}
