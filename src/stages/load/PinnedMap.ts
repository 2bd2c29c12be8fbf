/**
 * Whether a pinned map can stand in for the one that an object defines.
 */
import * as Schema from "effect/Schema"
import { MapFlag, MapType, mapTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import type { MapInfo } from "../../services/Kernel/KernelCall.ts"
import type { MapShape } from "./LoadPlan.ts"

/** A map is pinned where the object wants to share one, but it is another kind of map. */
export class PinnedMapError extends Schema.TaggedError<PinnedMapError>()("PinnedMapError", {
  map: Schema.String,
  path: Schema.String,
  /** Each field that differs, for people: `max_entries is 64, the object wants 128`. */
  differences: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `${this.map}: the map pinned at ${this.path} is another one: ${this.differences.join("; ")}\n` +
      "hint: remove the pin, or make the definitions equal"
  }
}

/** A map of the user's that shall stand in for one that an object defines is another kind of map. */
export class ReplacedMapError extends Schema.TaggedError<ReplacedMapError>()("ReplacedMapError", {
  map: Schema.String,
  /** What the user gave, in words: `descriptor 7`, `/sys/fs/bpf/counts`, `id 12`. */
  handle: Schema.String,
  /** Each field that differs, for people: `max_entries is 64, the object wants 128`. */
  differences: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `${this.map}: the map of the user's, ${this.handle}, cannot take its place: ${
      this.differences.join("; ")
    }\n` +
      "hint: give another map, or change the object's definition to be equal (Edit.setMap)"
  }
}

/** Types to whose flags the kernel adds `BPF_F_RDONLY_PROG` by itself. */
const addsReadOnly: ReadonlySet<number> = new Set([MapType.BPF_MAP_TYPE_DEVMAP, MapType.BPF_MAP_TYPE_DEVMAP_HASH])

/**
 * Flags that belong to the descriptor that a map is created through: the kernel does not keep them with the map, so no map
 * that is there already has them. libbpf compares them, and so never finds its own read-only maps again.
 */
const ofDescriptor = MapFlag.BPF_F_RDONLY | MapFlag.BPF_F_WRONLY

/** The fields in which a map is not what is wanted, each as text for people. */
export const differences = (wanted: MapShape, found: MapInfo): ReadonlyArray<string> => {
  const flags = addsReadOnly.has(found.type) ? found.flags & ~MapFlag.BPF_F_RDONLY_PROG : found.flags
  const rows: ReadonlyArray<readonly [string, number | bigint | string, number | bigint | string]> = [
    ["type", mapTypeName(found.type), mapTypeName(wanted.type)],
    ["key_size", found.keySize, wanted.keySize],
    ["value_size", found.valueSize, wanted.valueSize],
    ["max_entries", found.maxEntries, wanted.maxEntries],
    ["map_flags", flags & ~ofDescriptor, wanted.flags & ~ofDescriptor],
    ["map_extra", found.extra, wanted.extra]
  ]
  return rows.filter(([, is, wants]) => is !== wants).map(([field, is, wants]) =>
    `${field} is ${is}, the object wants ${wants}`
  )
}
