/**
 * Objects with variables, for kernels that cannot load the address of a byte in a map's value.
 *
 * Such a kernel would take the maps of the variables, and no program that uses them. So the maps are not created, and the
 * programs that use them become what those of any other map are that is not: refused where they can reach it. libbpf decides
 * the same when it has relocated, so that its programs go to the kernel with a descriptor that is not there.
 *
 * Source: reference page `load`, section 8, step 1.
 */
import type { CodeRef } from "../../../services/Kernel/KernelCall.ts"
import type { Features } from "../../Features.ts"
import { type BpfObject, isGlobalData, type MapDefinition } from "../../open/BpfObject.ts"
import { poison, poisonedMap } from "../../relocate/Relocate.ts"
import type { RelocatedObject, RelocatedProgram } from "../../relocate/RelocatedObject.ts"

const isCreated = (map: MapDefinition | undefined): boolean => map !== undefined && isGlobalData(map) && map.autocreate

/** Whether an object has variables. */
export const isUsed = (object: BpfObject): boolean => object.maps.some(isCreated)

/** A program without the maps of variables. */
const withoutMaps = (object: BpfObject, program: RelocatedProgram, features: Features): RelocatedProgram => {
  const { code } = program
  const insns = code.insns.slice()
  const lost = new Set<string>()
  const refs: Array<CodeRef> = []
  for (const ref of code.refs) {
    const map = ref._tag === "SymbolRef" ? undefined : object.maps[ref.map.index]
    if (ref._tag === "SymbolRef" || map === undefined || !isCreated(map)) refs.push(ref)
    else {
      lost.add(map.name)
      poison(insns, ref.at, poisonedMap + ref.map.index)
    }
  }
  if (lost.size === 0) return program
  const note = `refused where it reaches ${[...lost].join(", ")}: ${features.because("GlobalData")}`
  return { ...program, code: { ...code, insns, refs }, notes: [...program.notes, note] }
}

/** The object for a kernel with these features: without its variables, where the kernel cannot have them. */
export const sanitise = (relocated: RelocatedObject, features: Features): RelocatedObject => {
  const { object, programs } = relocated
  if (features.has("GlobalData") || !isUsed(object)) return relocated
  return {
    ...relocated,
    object: { ...object, maps: object.maps.map((map) => isCreated(map) ? { ...map, autocreate: false } : map) },
    programs: programs.map((program) => withoutMaps(object, program, features))
  }
}
