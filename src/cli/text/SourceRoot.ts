/**
 * Paths as tools want them that show files of a repository: relative to its root.
 */
import * as Path from "node:path"

/** Where paths are looked for. */
export interface Root {
  /** The repository's folder, absolute. */
  readonly root: string
  /** The folder that relative paths of the command line are of. */
  readonly folder: string
  /** Folders of objects: compilers write paths relative to where they ran. */
  readonly beside: ReadonlyArray<string>
  readonly exists: (path: string) => boolean
}

/** The path relative to the root where it is in there; else absolute where it is known, or as it was. */
export const relativeTo = ({ beside, exists, folder, root }: Root) => (path: string): string => {
  if (path === "") return path
  const inside = (absolute: string): string => {
    const relative = Path.relative(root, absolute)
    return relative === "" || relative === ".." || relative.startsWith("../") || Path.isAbsolute(relative)
      ? absolute
      : relative
  }
  if (Path.isAbsolute(path)) return inside(Path.normalize(path))
  // Whatever the folder was that a compiler ran in, the file is there if it is.
  const found = [folder, root, ...beside].map((each) => Path.resolve(each, path)).find(exists)
  return found === undefined ? Path.normalize(path) : inside(found)
}
