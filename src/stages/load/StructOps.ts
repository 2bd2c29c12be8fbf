/**
 * Structs of the kernel that an object implements: where the kernel has each member of them.
 *
 * The object declares as much of a struct as it fills in, under the kernel's name or a flavor of it. Its members are found in
 * the kernel's struct by their names; what the object has in them is put where the kernel has them. The kernel takes the struct
 * as part of another, `bpf_struct_ops_<name>`, whose other members are its own.
 *
 * Source: reference page `load`, section 5. Members without a name, which libbpf takes for the kernel's first one without,
 * have to be empty here.
 */
import * as Btf from "../../btf/Btf.ts"
import type { KernelSymbol, Value } from "../../services/Kernel/KernelCall.ts"
import type * as KernelInfo from "../../services/Kernel/KernelInfo.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Asked from "../Asked.ts"
import type { BpfObject, MapDefinition, StructOps } from "../open/BpfObject.ts"
import { PlanError } from "./PlanError.ts"
import { type KernelStruct, type Lookup, wrapperName, find, missingText, match } from "./StructOpsMatch.ts"

export {
  find,
  type KernelStruct,
  type Lookup,
  match,
  type MemberMatch,
  type Missing,
  missingText,
  type Outcome,
  wrapperName
} from "./StructOpsMatch.ts"

/** A struct_ops variable as the kernel takes it. */
export interface Variable {
  /** Position in `object.maps`. */
  readonly map: number
  /** The struct that the map's value is. */
  readonly valueType: KernelSymbol
  /**
   * What the map's only element is set to when the struct is registered: bytes in the kernel's layout, and the programs that
   * the object has in its functions. A load sends it nowhere. Empty while the kernel's layout is left open.
   */
  readonly value: Value
  /** Whether a link attaches it (`.struct_ops.link`); else setting the element does. */
  readonly linked: boolean
  /** Members of the object's struct that the kernel does not have. */
  readonly absent: ReadonlyArray<string>
}

/** What a program implements. */
export interface Implemented {
  readonly attachTo: KernelSymbol
  /** The position of the member in the kernel's struct: the program's expected attach type. 0 while that is left open. */
  readonly index: number
}

/** The structs that an object implements, as the kernel has them. */
export interface Structs {
  readonly variables: ReadonlyMap<number, Variable>
  /** By position in `object.programs`. */
  readonly programs: ReadonlyMap<number, Implemented>
}

const none: Structs = { variables: new Map(), programs: new Map() }

/** The types of a kernel as structs are looked for in them; modules are only looked at where vmlinux has none of the name. */
export const lookupOf = (types: Btf.Btf, modules: () => ReadonlyArray<KernelInfo.ModuleTypes>): Lookup => ({
  vmlinux: types,
  modules,
  structOf: (owner, name) =>
    owner === undefined
      ? Btf.findOne(types, name, Btf.BTF_KIND_STRUCT)
      : Btf.findOwn(owner.btf, name, Btf.BTF_KIND_STRUCT)
})

/**
 * One variable for a kernel that nobody knows yet: the struct and its members by their names. How large the kernel's struct is
 * and where it has the members is left open; the value is empty. Throws `PlanError`.
 */
const layLater = (
  object: BpfObject,
  local: Btf.Btf,
  position: number,
  map: MapDefinition,
  { members, typeId, typeName }: StructOps,
  programs: Map<number, Implemented>
): Variable => {
  const type = Btf.typeOf(local, typeId)
  const names = new Map<number, string>()
  for (const { bitOffset, name } of type._tag === "Struct" ? type.members : []) {
    names.set(Math.floor(bitOffset / 8), name)
  }
  for (const { offset, program } of members) {
    const member = names.get(offset) ?? ""
    const refuse = (detail: string, hint: string): PlanError =>
      new PlanError({
        reason: "StructOps",
        name: map.name,
        member: member === "" ? `byte ${offset}` : member,
        detail,
        hint
      })
    if (member === "") {
      throw refuse(
        `byte ${offset} of struct ${typeName} holds ${
          object.programs[program]?.name ?? ""
        }, and no member of a name is there`,
        "give the member the kernel's name for it"
      )
    }
    const before = programs.get(program)?.attachTo
    if (before !== undefined && (before.name !== typeName || before.member !== member)) {
      throw refuse(
        `${object.programs[program]?.name ?? ""} implements ${typeName}.${member} here and ` +
          `${before.name}.${before.member ?? ""} elsewhere; a program is loaded for one of them`,
        "write a program for each"
      )
    }
    programs.set(program, { attachTo: { name: typeName, kind: "Struct", member, weak: false }, index: 0 })
  }
  return {
    map: position,
    valueType: { name: wrapperName(typeName), kind: "Struct", weak: false },
    value: { bytes: new Uint8Array(0), refs: [] },
    linked: map.sectionName.endsWith(".link"),
    absent: []
  }
}

const optionalHint = "turn the map's autocreate off to load the rest of the object"

/** Puts one variable into the kernel's layout. Throws `PlanError`. */
const lay = (
  object: BpfObject,
  local: Btf.Btf,
  position: number,
  map: MapDefinition,
  { typeId, typeName, members }: StructOps,
  kernel: KernelStruct,
  programs: Map<number, Implemented>
): Variable => {
  const bytes = new Uint8Array(kernel.size)
  const refs: Array<Value["refs"][number]> = []
  const absent: Array<string> = []
  const image = map.initialValue ?? new Uint8Array(0)
  const resolved = { owner: kernel.owner, id: kernel.id }
  for (const { member, offset, outcome, programs: inside, there } of match(local, typeId, image, members, kernel)) {
    const refuse = (detail: string, hint: string): PlanError =>
      new PlanError({
        reason: "StructOps",
        name: map.name,
        member: member.name === "" ? `byte ${offset}` : member.name,
        detail,
        hint,
        localType: Btf.typeName(local, member.type),
        ...(there === undefined ? {} : { kernelType: Btf.typeName(kernel.btf, there.member.type) })
      })
    const names = inside.map((program) => object.programs[program]?.name ?? "").join(", ")
    const programHint = names === "" ? "" : ` (the program is ${names})`
    if (outcome._tag === "Problem") {
      throw refuse(
        `member ${member.name === "" ? `at byte ${offset}` : member.name} of struct ${typeName}: ${outcome.detail}` +
          programHint,
        there === undefined
          ? "leave it empty (Edit.setStructOps) where the kernel lacks it, or declare it as the kernel does"
          : "declare it as the kernel does"
      )
    }
    if (outcome._tag === "Absent") {
      if (member.name !== "") absent.push(member.name)
      continue
    }
    if (there === undefined || outcome._tag === "Empty") continue
    const at = kernel.offset + Math.floor(there.member.bitOffset / 8)
    const end = at + (outcome._tag === "Program" ? 8 : outcome.size)
    // Types of a profile may contradict themselves.
    if (end > bytes.length) {
      throw refuse(`member ${member.name} of struct ${typeName} lies behind the struct's end`, optionalHint)
    }
    if (outcome._tag === "Value") {
      bytes.set(image.subarray(offset, offset + outcome.size), at)
      continue
    }
    const { program } = outcome
    const before = programs.get(program)
    const attachTo: KernelSymbol = { name: typeName, kind: "Struct", member: member.name, weak: false, resolved }
    if (before !== undefined && !isSame(before, resolved, there.index)) {
      const name = object.programs[program]?.name ?? ""
      throw refuse(
        `${name} implements ${typeName}.${member.name} here and ` +
          `${before.attachTo.name}.${before.attachTo.member ?? ""} elsewhere; a program is loaded for one of them`,
        "write a program for each"
      )
    }
    programs.set(program, before ?? { attachTo, index: there.index })
    refs.push({ at, size: 8, to: Ref.prog(program) })
  }
  return {
    map: position,
    valueType: {
      name: wrapperName(typeName),
      kind: "Struct",
      weak: false,
      resolved: { owner: kernel.owner, id: kernel.wrapper }
    },
    value: { bytes, refs },
    linked: map.sectionName.endsWith(".link"),
    absent
  }
}

const isSame = (
  { attachTo: { resolved: one }, index }: Implemented,
  other: { readonly owner: string; readonly id: number },
  at: number
): boolean => one !== undefined && "owner" in one && one.owner === other.owner && one.id === other.id && index === at

/** All structs that a load makes, for a kernel that nobody knows yet. Throws `PlanError`. */
const later = (object: BpfObject, btf: Btf.Btf): Structs => {
  const variables = new Map<number, Variable>()
  const programs = new Map<number, Implemented>()
  for (const [position, map] of object.maps.entries()) {
    const { structOps } = map
    if (structOps === undefined || !map.autocreate) continue
    variables.set(position, layLater(object, btf, position, map, structOps, programs))
  }
  return { variables, programs }
}

/** Matches all structs that a load makes with the kernel's, or says what must be known of it. Throws `PlanError`. */
export const of = (object: BpfObject, info: KernelInfo.KernelInfo): Asked.Asked<Structs> => {
  const { btf } = object
  const first = object.maps.find((map) => map.structOps !== undefined && map.autocreate)
  if (first === undefined || btf === undefined) return Asked.done(none)
  const { moduleTypes, vmlinuxTypes } = info
  if (vmlinuxTypes._tag === "Unasked") return Asked.needs([{ _tag: "VmlinuxTypes" }])
  if (vmlinuxTypes._tag === "Deferred") return Asked.done(later(object, btf))
  let wantsModules = false
  const lookup = lookupOf(vmlinuxTypes.value, () => {
    if (moduleTypes._tag === "Known") return moduleTypes.value
    wantsModules = true
    return []
  })
  const variables = new Map<number, Variable>()
  const programs = new Map<number, Implemented>()
  for (const [position, map] of object.maps.entries()) {
    const { structOps } = map
    if (structOps === undefined || !map.autocreate) continue
    const kernel = find(lookup, structOps.typeName)
    if (wantsModules) {
      if (moduleTypes._tag === "Deferred") return Asked.done(later(object, btf))
      return Asked.needs([{ _tag: "ModuleTypes" }])
    }
    if (typeof kernel === "string") {
      throw new PlanError({
        reason: "StructOps",
        name: map.name,
        detail: missingText[kernel](structOps.typeName),
        hint: `load the module that has it, or ${optionalHint}`
      })
    }
    variables.set(position, lay(object, btf, position, map, structOps, kernel, programs))
  }
  return Asked.done({ variables, programs })
}
