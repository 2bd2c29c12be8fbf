/**
 * Attributes of maps and programs for kernels that lack some: names, memory mapping, the attach type that a program is told
 * at its load.
 *
 * Source: reference page `load`, sections 1.2, 8.1 and 9.3.
 */
import { AttachType, MapFlag } from "../../../services/Kernel/abi/BpfConstants.ts"
import type { MapAttributes } from "../../../services/Kernel/KernelCall.ts"
import type { Feature } from "../../../services/Kernel/KernelInfo.ts"
import { isGlobalData, type MapDefinition, type Program } from "../../open/BpfObject.ts"
import type { Features } from "../../Features.ts"

/** The features on which the attributes of a map depend. */
export const featuresOfMap = (map: MapDefinition): ReadonlyArray<Feature> => {
  const found: Array<Feature> = []
  if (map.attr.name !== "") found.push("ProgName")
  if (isGlobalData(map) && (map.attr.flags & MapFlag.BPF_F_MMAPABLE) !== 0) found.push("ArrayMmap")
  return map.inner === undefined ? found : [...found, ...featuresOfMap(map.inner)]
}

/** The attributes of a map for a kernel with these features, and what was changed; the very same where nothing was. */
export const ofMap = (
  map: MapDefinition,
  features: Features
): { readonly attr: MapAttributes; readonly notes: ReadonlyArray<string> } => {
  let { attr } = map
  const notes: Array<string> = []
  if (attr.name !== "" && !features.has("ProgName")) {
    attr = { ...attr, name: "" }
    notes.push(`without a name: ${features.because("ProgName")}`)
  }
  if (isGlobalData(map) && (attr.flags & MapFlag.BPF_F_MMAPABLE) !== 0 && !features.has("ArrayMmap")) {
    attr = { ...attr, flags: attr.flags & ~MapFlag.BPF_F_MMAPABLE }
    notes.push(`without BPF_F_MMAPABLE: ${features.because("ArrayMmap")}`)
  }
  return { attr, notes }
}

/** Whether a program's attach type is one that old kernels do without. */
const hasOptionalAttachType = ({ definition, expectedAttachType }: Program): boolean =>
  expectedAttachType !== 0 && definition?.flags.optionalAttachType === true

/** The features on which the attributes of a program depend. */
export const featuresOfProgram = (program: Program): ReadonlyArray<Feature> => [
  "ProgName",
  ...(hasOptionalAttachType(program) ? ["ExpectedAttachType" as const] : []),
  ...(program.definition?.flags.usdt === true ? ["UprobeMultiLink" as const] : [])
]

/** What a program's load says of it, as far as it depends on the kernel. */
export interface ProgramAttributes {
  readonly name: string
  readonly expectedAttachType: number
  readonly notes: ReadonlyArray<string>
}

/** The name and attach type of a program for a kernel with these features. */
export const ofProgram = (program: Program, features: Features): ProgramAttributes => {
  const notes: Array<string> = []
  const named = features.has("ProgName")
  if (!named) notes.push(`without a name: ${features.because("ProgName")}`)
  let { expectedAttachType } = program
  if (hasOptionalAttachType(program) && !features.has("ExpectedAttachType")) {
    expectedAttachType = 0
    notes.push(`without an attach type: ${features.because("ExpectedAttachType")}`)
  }
  if (program.definition?.flags.usdt === true && features.has("UprobeMultiLink")) {
    expectedAttachType = AttachType.BPF_TRACE_UPROBE_MULTI
    notes.push("the kernel attaches it to all places of a probe at once")
  }
  return { name: named ? program.name.slice(0, 15) : "", expectedAttachType, notes }
}
