/** A plan in few words, for tests to compare. */
import type { KernelCall } from "../../../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import type { LoadPlan } from "../../../../src/stages/load/LoadPlan.ts"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"

/** What a ref stands for in an object: the name of a map or program, `template` for what gives a map of maps its shape. */
export const nameOf = (object: BpfObject, ref: Ref.Ref): string => {
  switch (ref._tag) {
    case "Map":
      return object.maps[ref.index]?.name ?? `template of ${object.maps[ref.index - object.maps.length]?.name}`
    case "Prog":
      return object.programs[ref.index]?.name ?? Ref.key(ref)
    default:
      return Ref.key(ref)
  }
}

const callOf = (object: BpfObject, call: KernelCall): string => {
  switch (call._tag) {
    case "BtfLoad":
      return "btf"
    case "MapCreate":
      return `create ${nameOf(object, call.as)}${call.types === undefined ? "" : " typed"}${
        call.inner === undefined ? "" : ` of ${nameOf(object, call.inner)}`
      }`
    case "MapUpdate": {
      const [to] = call.value.refs
      const slot = new DataView(call.key.buffer, call.key.byteOffset).getUint32(0, object.byteOrder === "little")
      return to === undefined
        ? `fill ${nameOf(object, call.map)}`
        : `${nameOf(object, call.map)}[${slot}] = ${nameOf(object, to.to)}`
    }
    case "MapFreeze":
      return `freeze ${nameOf(object, call.map)}`
    case "ProgLoad":
      return `load ${nameOf(object, call.as)}`
    case "ProgBindMap":
      return `bind ${nameOf(object, call.map)} to ${nameOf(object, call.prog)}`
    case "ObjPin":
      return `pin ${nameOf(object, call.object)} at ${call.path}`
    case "Close":
      return `close ${nameOf(object, call.ref)}`
    default:
      return call._tag
  }
}

/** The steps of a plan, one line each; `?` is optional, `|` stands before what is done instead. */
export const outline = (object: BpfObject, plan: LoadPlan): ReadonlyArray<string> =>
  plan.flatMap((step): ReadonlyArray<string> => {
    if (step._tag === "Ensure") {
      return [
        `ensure ${nameOf(object, step.map)} at ${step.pinnedAt}`,
        ...outline(object, step.otherwise).map((line) => `  ${line}`)
      ]
    }
    const branches = step.otherwise.flatMap((branch) =>
      outline(object, branch.steps).map((line) => `| ${line}${branch.on === "any" ? "" : ` on ${branch.on.join()}`}`)
    )
    return [`${callOf(object, step.call)}${step.required ? "" : " ?"}`, ...branches]
  })
