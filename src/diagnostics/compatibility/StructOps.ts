/**
 * Structs of the kernel that an object implements: whether the kernel's struct has the members that the object fills in.
 *
 * The rule is that of a load (`stages/load/StructOps`): a member that the kernel does not have is passed over where the object
 * leaves it empty.
 */
import * as Btf from "../../btf/Btf.ts"
import type { BpfObject, MapDefinition, StructOps } from "../../stages/open/BpfObject.ts"
import * as Layout from "../../stages/load/StructOps.ts"
import { type Finding, make } from "./Finding.ts"
import * as Place from "./Place.ts"
import type { Target } from "./Target.ts"

const lookupOf = (target: Target): Layout.Lookup => ({
  vmlinux: target.types,
  modules: target.modules,
  structOf: (owner, name) => target.named(owner?.name, name, Btf.BTF_KIND_STRUCT)[0]
})

interface Members {
  readonly map: MapDefinition
  readonly structOps: StructOps
  readonly object: BpfObject
  readonly local: Btf.Btf
}

/** The findings about one variable. */
const ofMap = (target: Target, members: Members, places: Place.Places): ReadonlyArray<Finding> => {
  const { local, map, object, structOps } = members
  const { typeId, typeName } = structOps
  const found = Layout.find(lookupOf(target), typeName)
  const subject = `struct ${typeName}`
  const reference: Place.Reference = { what: "type", path: subject }
  if (typeof found === "string") {
    Place.add(places, reference, Place.missing)
    const unseen = target.knowsModules ? "" : "; the types of its modules are not given"
    return [make({
      rule: "struct-ops",
      verdict: "fatal",
      subject,
      detail: `${Layout.missingText[found](typeName)}, which ${map.name} does${unseen}`
    })]
  }
  const findings: Array<Finding> = []
  const image = map.initialValue ?? new Uint8Array(0)
  for (const each of Layout.match(local, typeId, image, structOps.members, found)) {
    const { member, outcome, there } = each
    const path = member.name === "" ? subject : `${subject}.${member.name}`
    const programs = each.programs.map((program) => object.programs[program]?.name ?? "")
    if (outcome._tag === "Problem") {
      const has = programs.length > 0 ? `has the program ${programs.join(", ")} there` : "gives it a value"
      const isMissing = there === undefined && member.name !== ""
      if (isMissing) Place.add(places, { what: "field", path }, { _tag: "Absent", reason: "NoMember", at: member.name })
      const detail = isMissing ? `the kernel's ${subject} has no such member, and ${map.name} ${has}` : outcome.detail
      findings.push(make({ rule: "struct-ops", verdict: "fatal", subject: path, detail, programs }))
    }
    if (there !== undefined && programs.length > 0) {
      Place.add(places, { what: "field", path }, {
        _tag: "Present",
        module: found.owner === "vmlinux" ? undefined : found.owner,
        bitOffset: there.member.bitOffset,
        type: Btf.typeName(found.btf, there.member.type),
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
