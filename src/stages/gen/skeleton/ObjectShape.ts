/**
 * What a skeleton that embeds its object, or a subskeleton, speaks of: the object's maps, programs, variables and structs of
 * functions, by the names that whoever loads it finds them by and by identifiers of a language.
 *
 * Source of the rules of names: reference page `skeleton`, section 1.
 */
import type * as Result from "effect/Result"
import { attempt } from "../../../internal/attempt.ts"
import { MapFlag, MapType } from "../../../services/Kernel/abi/BpfConstants.ts"
import {
  type BpfObject,
  entryPrograms,
  isGlobalData,
  type MapDefinition,
  type StructOps
} from "../../open/BpfObject.ts"
import * as Variables from "../../open/Variables.ts"
import {
  isSkeletonError,
  makeNames,
  nameComplaint,
  SkeletonError,
  type SkeletonVariable,
  variablesOf,
  wantedName
} from "./SkeletonShape.ts"

/** Variables of an object in memory that user space sees. */
export interface ObjectSection {
  readonly identifier: string
  /** Whether they are values of the kernel's configuration. */
  readonly kconfig: boolean
  /** Whether they are in an arena, whose value has no type: libbpf cannot look for them in another object. */
  readonly arena: boolean
  readonly variables: ReadonlyArray<SkeletonVariable>
}

/** A map of the object. */
export interface ObjectMap {
  /** What libbpf finds it by: of global data the name of its section, whatever the object is called. */
  readonly name: string
  readonly identifier: string
  /** The memory of its value that user space sees. */
  readonly section: ObjectSection | undefined
  /** The struct of functions that it is. */
  readonly structOps: StructOps | undefined
  /** The identifier of the link that a struct of functions is registered by. */
  readonly link: string | undefined
}

/** A program that is loaded on its own. */
export interface ObjectProgram {
  readonly name: string
  readonly identifier: string
  /** The identifier of the link that attaches it. */
  readonly link: string
}

/** Everything that a skeleton speaks of. */
export interface ObjectShape {
  /** What all names begin with. */
  readonly name: string
  readonly maps: ReadonlyArray<ObjectMap>
  readonly programs: ReadonlyArray<ObjectProgram>
}

/** What the decoder of texts writes for bytes that are no text. */
const UNREADABLE = "\ufffd"

/** Throws where a name could not be written as the object has it, or is none. */
export const requireReadable = (names: ReadonlyArray<string>, what: string): void => {
  for (const name of names) {
    const refuse = (detail: string): SkeletonError => new SkeletonError({ reason: "Name", name, detail })
    if (name === "") throw refuse(`the object has a ${what} without a name`)
    if (name.includes(UNREADABLE)) throw refuse(`the name of the ${what} is not UTF-8`)
  }
}

/** Throws where something could not be found by its name. */
const requireFindable = (names: ReadonlyArray<string>, what: string): void => {
  requireReadable(names, what)
  const seen = new Set<string>()
  for (const name of names) {
    if (seen.has(name)) {
      const detail = `the object has two ${what}s of this name, and the second could not be found by it`
      throw new SkeletonError({ reason: "Name", name, detail })
    }
    seen.add(name)
  }
}

const isMapped = (map: MapDefinition): boolean =>
  map.attr.type === MapType.BPF_MAP_TYPE_ARENA
    ? map.initialValue !== undefined
    : isGlobalData(map) && (map.attr.flags & MapFlag.BPF_F_MMAPABLE) !== 0

/** What a skeleton of this object speaks of. `reserved` are words that the language keeps for itself. */
export const shapeOf = (
  object: BpfObject,
  name: string,
  reserved: ReadonlySet<string>
): Result.Result<ObjectShape, SkeletonError> =>
  attempt(isSkeletonError, () => {
    const complaint = nameComplaint(name)
    if (complaint !== undefined) throw new SkeletonError({ reason: "Name", name, detail: complaint })
    const variables = Variables.variables(object)
    const mapNames = makeNames(reserved)
    // An arena's variables have a name of their own, beside sections.
    const sectionNames = makeNames(reserved)
    const programNames = makeNames(reserved)
    const linkNames = makeNames(reserved)
    const programs = entryPrograms(object).map(({ name }): ObjectProgram => {
      const identifier = programNames(name)
      return { name, identifier, link: linkNames(identifier) }
    })
    const maps = object.maps.map((map, number): ObjectMap => {
      const identifier = mapNames(wantedName(map))
      return {
        name: isGlobalData(map) ? map.sectionName : map.name,
        identifier,
        section: isMapped(map)
          ? {
            identifier: sectionNames(isGlobalData(map) ? wantedName(map) : "arena"),
            kconfig: map.origin === "Kconfig",
            arena: !isGlobalData(map),
            variables: variablesOf(variables, number, makeNames(reserved))
          }
          : undefined,
        structOps: map.structOps,
        link: map.structOps === undefined ? undefined : linkNames(identifier)
      }
    })
    requireFindable(maps.map((map) => map.name), "map")
    requireFindable(programs.map((program) => program.name), "program")
    return { name, maps, programs }
  })

/** The sections that user space sees, in the order of their maps. */
export const sectionsOf = ({ maps }: ObjectShape): ReadonlyArray<ObjectSection> =>
  maps.flatMap(({ section }) => section === undefined ? [] : [section])

/** The identifiers of all links: of the programs, and then of the maps that are structs of functions. */
export const linksOf = ({ maps, programs }: ObjectShape): ReadonlyArray<string> => [
  ...programs.map(({ link }) => link),
  ...maps.flatMap(({ link }) => link === undefined ? [] : [link])
]
