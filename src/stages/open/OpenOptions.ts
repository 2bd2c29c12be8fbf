/**
 * What the user may say about opening an object.
 */
import type { SectionDefinition } from "./SectionDefinitions.ts"

/** Options of `open`. */
export interface OpenOptions {
  /**
   * The object's name, from which the names of its data maps are made. At most 15 characters count. Without it the name
   * is made of the file's, up to the first dot, or is `object`.
   */
  readonly name?: string
  /** Whether definitions in a `maps` section, as objects had before BTF, are taken (`accept`, the default) or refused. */
  readonly legacyMaps?: "accept" | "refuse"
  /** Pass over members of a map definition that are not understood, instead of refusing the object. */
  readonly relaxedMaps?: boolean
  /** The bpf file system folder of maps that are pinned by name; `/sys/fs/bpf` unless given. */
  readonly pinRoot?: string
  /** Definitions of the user's own: tried before the built-in ones, in this order. */
  readonly sections?: ReadonlyArray<SectionDefinition>
  /** What the verifier is asked to say when a program loads: 0 nothing, 1 basic, 2 verbose, 4 statistics. */
  readonly logLevel?: number
}

/** The longest name that the kernel takes for a map or program, in bytes. */
export const maxNameLength = 15

/** The name of an object: as given, or made of a file's path. */
export const objectName = (options: OpenOptions, path: string | undefined): string => {
  if (options.name !== undefined) return options.name.slice(0, maxNameLength)
  if (path === undefined) return "object"
  const base = path.slice(path.lastIndexOf("/") + 1).slice(0, maxNameLength)
  const dot = base.indexOf(".")
  return dot < 0 ? base : base.slice(0, dot)
}
