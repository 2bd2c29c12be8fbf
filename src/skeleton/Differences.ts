/**
 * Whether an object is the one that a skeleton was made of.
 */
import * as BtfLayout from "../btf/BtfLayout.ts"
import { mapTypeName } from "../services/Kernel/abi/BpfConstants.ts"
import { type BpfObject, findMap, findProgram } from "../stages/open/BpfObject.ts"
import * as Variables from "../stages/open/Variables.ts"
import type { MapDescription } from "./Maps.ts"
import type { ProgramDescription } from "./Programs.ts"
import type { Place } from "./Sections.ts"

/** What a skeleton knows of its object. */
export interface Known {
  readonly maps: ReadonlyArray<MapDescription<object>>
  readonly programs: ReadonlyArray<ProgramDescription<object>>
  readonly sections: ReadonlyArray<KnownSection>
  /** The layouts of the types that are read and written, by C names. */
  readonly layouts?: Readonly<Record<string, string>>
}

/** A section, and where its variables are in it. */
export interface KnownSection {
  readonly name: string
  readonly variables: Readonly<Record<string, Place>>
}

const ofMap = (object: BpfObject, known: MapDescription<object>): ReadonlyArray<string> => {
  const map = findMap(object, known.name)
  if (map === undefined) return [`the object has no map ${known.name}`]
  const { keySize, type, valueSize } = map.attr
  return [
    ...(type === known.type ? [] : [`map ${known.name} is a ${mapTypeName(type)}, not a ${mapTypeName(known.type)}`]),
    ...(keySize === known.keySize ? [] : [`keys of map ${known.name} have ${keySize} bytes, not ${known.keySize}`]),
    ...(known.valueSize === undefined || valueSize === known.valueSize
      ? []
      : [`values of map ${known.name} have ${valueSize} bytes, not ${known.valueSize}`])
  ]
}

const ofSection = (object: BpfObject, known: KnownSection): ReadonlyArray<string> => {
  const { btf } = object
  const found = new Map(
    Variables.variables(object)
      .filter(({ global, section }) => global && section === known.name)
      .map((variable) => [variable.name, variable])
  )
  return Object.values(known.variables).flatMap((variable): ReadonlyArray<string> => {
    const now = found.get(variable.name)
    const name = `variable ${variable.name} of ${known.name}`
    if (now === undefined || btf === undefined) return [`the object has no ${name}`]
    return [
      ...(now.offset === variable.offset ? [] : [`${name} is at ${now.offset}, not at ${variable.offset}`]),
      ...(now.size === variable.size ? [] : [`${name} has ${now.size} bytes, not ${variable.size}`])
    ]
  })
}

/** What differs, one line for each thing; nothing where the object is what the skeleton was made of. */
export const differences = (
  object: BpfObject,
  { layouts = {}, maps, programs, sections }: Known
): ReadonlyArray<string> => [
  ...maps.flatMap((map) => ofMap(object, map)),
  ...programs.flatMap(({ name }) =>
    findProgram(object, name) === undefined ? [`the object has no program ${name}`] : []
  ),
  ...sections.flatMap((section) => ofSection(object, section)),
  ...Object.entries(layouts).flatMap(([name, layout]) => {
    const { btf } = object
    const different = btf === undefined ? `the object has no ${name}` : BtfLayout.difference(btf, name, layout)
    return different === undefined ? [] : [different]
  })
]
