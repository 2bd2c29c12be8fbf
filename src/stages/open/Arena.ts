/**
 * Global variables in the arena: memory that BPF programs and user space share.
 *
 * They stand in the section `.addr_space.1` and live in the object's one arena map, which starts with their image.
 */
import type { ElfSection } from "../../services/Elf/Elf.ts"
import { MapType } from "../../services/Kernel/abi/BpfConstants.ts"
import type { MapDefinition } from "./BpfObject.ts"
import { OpenError } from "./OpenError.ts"

/** Gives the arena map the image of the arena's variables. Throws `OpenError`. */
export const withGlobals = (
  section: ElfSection | undefined,
  maps: ReadonlyArray<MapDefinition>
): ReadonlyArray<MapDefinition> => {
  const arenas = maps.filter((map) => map.attr.type === MapType.BPF_MAP_TYPE_ARENA)
  const second = arenas[1]
  if (second !== undefined) {
    throw new OpenError({
      reason: "MapDefinition",
      section: second.sectionName,
      offset: second.sectionOffset,
      name: second.name,
      detail: `is a second arena beside ${arenas[0]?.name ?? ""}; an object can have one`
    })
  }
  if (section === undefined) return maps
  if (arenas.length === 0) {
    throw new OpenError({
      reason: "MapDefinition",
      section: section.name,
      detail: "the object has variables in an arena, but defines no arena map"
    })
  }
  return maps.map((map) => map === arenas[0] ? { ...map, initialValue: section.data } : map)
}
