/**
 * The mappings of a process, as `/proc/PID/maps` lists them: which files it executes, and where.
 *
 * Pure: `Process.ts` reads the file. Source: the kernel's `Documentation/filesystems/proc.rst`, section 1.1, and
 * `fs/proc/task_mmu.c`.
 */

/** A range of a process's memory. */
export interface Mapping {
  /** First address, and the first behind it. */
  readonly start: bigint
  readonly end: bigint
  readonly isReadable: boolean
  readonly isWritable: boolean
  readonly isExecutable: boolean
  /** Whether writes reach other processes and the file. */
  readonly isShared: boolean
  /** Bytes from the start of the file. */
  readonly offset: bigint
  /** The file system's device, `major:minor` in hexadecimal. */
  readonly device: string
  /** The file's number there, 0 for memory without a file. */
  readonly inode: bigint
  /** The file's path in the process's mount namespace, without the mark of deleted files; `[heap]` and the like; or "". */
  readonly path: string
  /** Whether the kernel marks the file as deleted. A file whose name ends so itself looks the same. */
  readonly isDeleted: boolean
}

const line =
  /^([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-])([w-])([x-])([sp-]) ([0-9a-f]{1,16}) ([0-9a-f]+:[0-9a-f]+) ([0-9]{1,20})(?: +(.*))?$/

const deleted = " (deleted)"

/** A line of the list, or undefined for what is none. Of paths the kernel writes newlines as `\012`, all else as it is. */
export const parseLine = (text: string): Mapping | undefined => {
  const found = line.exec(text)
  if (found === null) return undefined
  const [, start = "", end = "", read, write, execute, shared, offset = "", device = "", inode = "", rest = ""] = found
  const isDeleted = rest.endsWith(deleted)
  return {
    start: BigInt(`0x${start}`),
    end: BigInt(`0x${end}`),
    isReadable: read === "r",
    isWritable: write === "w",
    isExecutable: execute === "x",
    isShared: shared === "s",
    offset: BigInt(`0x${offset}`),
    device,
    inode: BigInt(inode),
    path: (isDeleted ? rest.slice(0, -deleted.length) : rest).replaceAll("\\012", "\n"),
    isDeleted
  }
}

/** All mappings of a list, in order of their addresses. Lines that cannot be read are left out. */
export const parse = (text: string): ReadonlyArray<Mapping> => text.split("\n").flatMap((each) => parseLine(each) ?? [])

/** A file that a process has mapped. */
export interface MappedFile {
  readonly path: string
  readonly device: string
  readonly inode: bigint
  readonly isDeleted: boolean
  /** Its mappings, in order of their addresses; at least one is executable. */
  readonly mappings: ReadonlyArray<Mapping>
}

/** The files of which a process has executable mappings, each once, in the order of their first mapping. */
export const executables = (mappings: ReadonlyArray<Mapping>): ReadonlyArray<MappedFile> => {
  const files = new Map<string, Array<Mapping>>()
  for (const mapping of mappings) {
    if (mapping.inode === 0n || !mapping.path.startsWith("/")) continue
    const key = `${mapping.device} ${mapping.inode} ${mapping.path}`
    const held = files.get(key)
    if (held === undefined) files.set(key, [mapping])
    else held.push(mapping)
  }
  return [...files.values()].flatMap((all) => {
    const [first] = all
    if (first === undefined || !all.some(({ isExecutable }) => isExecutable)) return []
    const { device, inode, isDeleted, path } = first
    return [{ path, device, inode, isDeleted, mappings: all }]
  })
}

const lastName = (path: string): string => path.slice(path.lastIndexOf("/") + 1)

/**
 * The file that a name is for: of a path that path; else of this last name (`libc.so.6`), or of this one before its version
 * (`libc.so`). The first that fits, undefined if none does.
 */
export const fileNamed = (files: ReadonlyArray<MappedFile>, name: string): MappedFile | undefined =>
  name.includes("/")
    ? files.find(({ path }) => path === name)
    : files.find(({ path }) => lastName(path) === name) ??
      files.find(({ path }) => lastName(path).startsWith(`${name}.`))

/**
 * Where in the process the byte is that a file has at `offset`, or undefined if that byte is not mapped as code. A file that is
 * mapped more than once has it at several addresses; this is the lowest.
 */
export const addressOf = (file: MappedFile, offset: bigint): bigint | undefined => {
  for (const { end, isExecutable, offset: first, start } of file.mappings) {
    if (isExecutable && offset >= first && offset - first < end - start) return start + (offset - first)
  }
  return undefined
}
