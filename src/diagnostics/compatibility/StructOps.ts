/**
 * Structs of the kernel that an object implements: whether the kernel's struct has the members that the object fills in.
 *
 * Source: reference page `load`, section 5. As libbpf does, a member that the kernel does not have is passed over where the
 * object leaves it empty.
 */
import * as Btf from "../../btf/Btf.ts"
import type { BpfObject, MapDefinition, StructOps } from "../../stages/open/BpfObject.ts"
import { type Finding, make } from "./Finding.ts"
import * as Place from "./Place.ts"
import type { Target } from "./Target.ts"

/** The kernel's struct of a name, with the blob that has it; it is one that can be implemented if there is a wrapper. */
interface KernelStruct {
  readonly module: string | undefined
  readonly btf: Btf.Btf
  readonly id: number
}

const wrapperOf = (name: string): string => `bpf_struct_ops_${name}`

type Found = KernelStruct | "NoWrapper" | "NoStruct" | "NoMember"

/** Whether a wrapper has the struct as a member. */
const wraps = (btf: Btf.Btf, wrapper: number, id: number): boolean => {
  const type = Btf.typeOf(btf, wrapper)
  return type._tag === "Struct" && type.members.some((member) => member.type === id)
}

const find = (target: Target, name: string): Found => {
  const look = (module: string | undefined, btf: Btf.Btf, wrapper: number): Found => {
    const [own] = module === undefined ? [] : target.named(module, name, Btf.BTF_KIND_STRUCT)
    const id = target.named(undefined, name, Btf.BTF_KIND_STRUCT)[0] ?? own
    if (id === undefined) return "NoStruct"
    return wraps(btf, wrapper, id) ? { module, btf, id } : "NoMember"
  }
  const [own] = target.named(undefined, wrapperOf(name), Btf.BTF_KIND_STRUCT)
  if (own !== undefined) return look(undefined, target.types, own)
  for (const { btf, name: owner } of target.modules()) {
    const [wrapper] = target.named(owner, wrapperOf(name), Btf.BTF_KIND_STRUCT)
    if (btf !== undefined && wrapper !== undefined) return look(owner, btf, wrapper)
  }
  return "NoWrapper"
}

const nothingFits: Readonly<Record<Exclude<Found, KernelStruct>, (name: string) => string>> = {
  NoWrapper: (name) => `the kernel has no struct ${wrapperOf(name)}, so programs cannot implement struct ${name}`,
  NoStruct: (name) => `the kernel has no struct ${name}`,
  NoMember: (name) => `the kernel's struct ${wrapperOf(name)} is not one of struct ${name}`
}

const isZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

interface Members {
  readonly map: MapDefinition
  readonly structOps: StructOps
  readonly object: BpfObject
  readonly local: Btf.Btf
}

/** The program in a member, or whether it has a value of its own. */
const contentOf = ({ map, structOps }: Members, offset: number, size: number): "empty" | "program" | "value" => {
  if (structOps.members.some((member) => member.offset === offset)) return "program"
  return isZero((map.initialValue ?? new Uint8Array()).subarray(offset, offset + size)) ? "empty" : "value"
}

/** What is wrong with a member that both have, as a clause. */
const mismatchOf = (
  members: Members,
  member: Btf.Member,
  { btf }: KernelStruct,
  there: Btf.Member,
  size: number
): string | undefined => {
  const { local } = members
  if (member.bitfieldSize > 0 || there.bitfieldSize > 0) return "it is a bit field, which cannot be filled in"
  const type = Btf.skipModifiersAndTypedefs(local, member.type)
  const other = Btf.skipModifiersAndTypedefs(btf, there.type)
  if (Btf.kindOf(local, type) !== Btf.kindOf(btf, other)) {
    return `the object has it as \`${Btf.typeName(local, member.type)}\`, the kernel as \`${
      Btf.typeName(btf, there.type)
    }\``
  }
  if (Btf.kindOf(local, type) === Btf.BTF_KIND_PTR) {
    if (contentOf(members, member.bitOffset / 8, size) !== "program") return undefined
    const pointee = Btf.skipModifiersAndTypedefs(btf, Btf.sizeOrTypeOf(btf, other))
    return Btf.kindOf(btf, pointee) === Btf.BTF_KIND_FUNC_PROTO
      ? undefined
      : `the kernel has a \`${Btf.typeName(btf, there.type)}\` there, which is no function`
  }
  const otherSize = Btf.resolveSize(btf, other)
  return otherSize._tag === "Success" && otherSize.success === size
    ? undefined
    : `the object has it in ${size} bytes, the kernel in ${otherSize._tag === "Success" ? otherSize.success : "none"}`
}

/** The findings about one variable. */
const ofMap = (target: Target, members: Members, places: Place.Places): ReadonlyArray<Finding> => {
  const { local, map, object, structOps } = members
  const { typeId, typeName } = structOps
  const found = find(target, typeName)
  const subject = `struct ${typeName}`
  const reference: Place.Reference = { what: "type", path: subject }
  if (typeof found === "string") {
    Place.add(places, reference, Place.missing)
    const unseen = target.knowsModules ? "" : "; the types of its modules are not given"
    return [make({
      rule: "struct-ops",
      verdict: "fatal",
      subject,
      detail: `${nothingFits[found](typeName)}, which ${map.name} does${unseen}`
    })]
  }
  const type = Btf.typeOf(local, typeId)
  const kernel = Btf.typeOf(found.btf, found.id)
  if (type._tag !== "Struct" || kernel._tag !== "Struct") return []
  const byName = new Map(kernel.members.toReversed().map((member) => [member.name, member]))
  const findings: Array<Finding> = []
  for (const member of type.members) {
    if (member.name === "") continue
    const there = byName.get(member.name)
    const resolved = Btf.resolveSize(local, member.type)
    const size = resolved._tag === "Success" ? resolved.success : 0
    const offset = Math.floor(member.bitOffset / 8)
    const path = `${subject}.${member.name}`
    const programs = structOps.members.filter((each) => each.offset === offset)
      .map(({ program }) => object.programs[program]?.name ?? "")
    const report = (detail: string): void => {
      findings.push(make({ rule: "struct-ops", verdict: "fatal", subject: path, detail, programs }))
    }
    if (there === undefined) {
      const content = contentOf(members, offset, size)
      if (content === "empty") continue
      Place.add(places, { what: "field", path }, { _tag: "Absent", reason: "NoMember", at: member.name })
      const has = content === "program" ? `has the program ${programs.join(", ")} there` : "gives it a value"
      report(`the kernel's ${subject} has no such member, and ${map.name} ${has}`)
      continue
    }
    const mismatch = mismatchOf(members, member, found, there, size)
    if (mismatch !== undefined) report(mismatch)
    if (programs.length > 0) {
      Place.add(places, { what: "field", path }, {
        _tag: "Present",
        module: found.module,
        bitOffset: there.bitOffset,
        type: Btf.typeName(found.btf, there.type),
        size: undefined,
        value: undefined
      })
    }
  }
  return findings
}

/** The findings about all struct_ops variables of an object, or about those alone that a load leaves out. */
export const examine = (
  target: Target,
  object: BpfObject,
  autocreate: boolean,
  places: Place.Places
): ReadonlyArray<Finding> => {
  const { btf } = object
  if (btf === undefined) return []
  return object.maps.flatMap((map) =>
    map.structOps === undefined || map.autocreate !== autocreate
      ? []
      : ofMap(target, { map, structOps: map.structOps, object, local: btf }, places)
  )
}
