/** What running processes say of the files that they execute, and how these are reached from here. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import type { MappedFile, Mapping } from "./ProcessMaps.ts"
import * as Maps from "./ProcessMaps.ts"

/**
 * A process that cannot be asked.
 *
 * - `NoSuchProcess`: there is none of this number, or it has exited meanwhile
 * - `PermissionDenied`: its mappings are for its user and for root
 * - `NotMapped`: it executes no file of this name; `near` are some of those that it executes
 */
export class ProcessError extends Schema.TaggedError<ProcessError>()("ProcessError", {
  reason: Schema.Literals(["NoSuchProcess", "PermissionDenied", "NotMapped"]),
  pid: Schema.Number,
  name: Schema.optionalKey(Schema.String),
  near: Schema.optionalKey(Schema.Array(Schema.String))
}) {
  override get message(): string {
    const process = `process ${this.pid === 0 ? "0 (this one)" : this.pid}`
    switch (this.reason) {
      case "NoSuchProcess":
        return `${process}: there is none`
      case "PermissionDenied":
        return `${process}: its mappings are for its own user and for root`
      case "NotMapped": {
        const near = this.near ?? []
        const files = near.length === 0 ? "" : `; it executes ${near.join(", ")}`
        return `${process}: executes no file ${this.name ?? ""}${files}`
      }
    }
  }
}

/** The folder of a process in procfs; 0 is this process. */
const folderOf = (pid: number): string => `/proc/${pid === 0 ? process.pid : pid}`

const codeOf = (thrown: unknown): unknown =>
  typeof thrown === "object" && thrown !== null ? Reflect.get(thrown, "code") : undefined

const failed = (pid: number, thrown: unknown): ProcessError => {
  const code = codeOf(thrown)
  const isDenied = code === "EACCES" || code === "EPERM"
  return new ProcessError({ reason: isDenied ? "PermissionDenied" : "NoSuchProcess", pid })
}

const isNumber = (pid: number): boolean => Number.isSafeInteger(pid) && pid >= 0 && pid < 2 ** 31

/** The mappings of a process, 0 for this one, in order of their addresses. A zombie has none. */
export const mappings = (pid: number): Effect.Effect<ReadonlyArray<Mapping>, ProcessError> =>
  Effect.suspend(() => {
    if (!isNumber(pid)) return Effect.fail(new ProcessError({ reason: "NoSuchProcess", pid }))
    return Effect.try({
      try: () => Maps.parse(Fs.readFileSync(`${folderOf(pid)}/maps`, "utf8")),
      catch: (thrown) => failed(pid, thrown)
    })
  })

/** The files that a process executes: its program, its libraries, and others that it has mapped as code. */
export const executables = (pid: number): Effect.Effect<ReadonlyArray<MappedFile>, ProcessError> =>
  Effect.map(mappings(pid), Maps.executables)

/** How many files an error lists. */
const maximumNear = 12

/** The file of a process that a name is for: its path there, or its last name, with or without version. */
export const executableNamed = (pid: number, name: string): Effect.Effect<MappedFile, ProcessError> =>
  Effect.flatMap(executables(pid), (files) => {
    const found = Maps.fileNamed(files, name)
    if (found !== undefined) return Effect.succeed(found)
    const near = files.slice(0, maximumNear).map(({ path }) => path)
    return Effect.fail(new ProcessError({ reason: "NotMapped", pid, name, near }))
  })

/** Whether a process has another root or other mounts than this one. */
const isElsewhere = (pid: number): boolean => {
  const root = Fs.statSync(`${folderOf(pid)}/root`, { bigint: true })
  const ours = Fs.statSync("/proc/self/root", { bigint: true })
  return root.dev !== ours.dev || root.ino !== ours.ino ||
    Fs.readlinkSync(`${folderOf(pid)}/ns/mnt`) !== Fs.readlinkSync("/proc/self/ns/mnt")
}

/**
 * The folder under which a process's paths are found here: empty if they are the same, `/proc/PID/root` for a process in a
 * container or behind chroot.
 */
export const rootOf = (pid: number): Effect.Effect<string, ProcessError> =>
  Effect.suspend(() => {
    if (!isNumber(pid)) return Effect.fail(new ProcessError({ reason: "NoSuchProcess", pid }))
    return Effect.try({
      try: () => isElsewhere(pid) ? `${folderOf(pid)}/root` : "",
      catch: (thrown) => failed(pid, thrown)
    })
  })

/** The most links that are followed in one path: as many as the kernel follows. */
const maximumLinks = 40

/**
 * A path of another root as a path here, all links followed: `/lib/libc.so.6` in `/proc/7/root` as
 * `/proc/7/root/usr/lib/libc.so.6`. The kernel would follow absolute links from this process's own root, out of a container.
 * What is not there is kept as it is, so that opening it says so.
 */
export const insideRoot = (root: string, path: string): string => {
  if (root === "") return path
  const waiting = path.split("/").toReversed()
  const done: Array<string> = []
  let links = 0
  for (let part = waiting.pop(); part !== undefined; part = waiting.pop()) {
    if (part === "" || part === ".") continue
    if (part === "..") {
      done.pop()
      continue
    }
    const target = links < maximumLinks ? linkAt([root, ...done, part].join("/")) : undefined
    if (target === undefined) {
      done.push(part)
      continue
    }
    links += 1
    if (target.startsWith("/")) done.length = 0
    waiting.push(...target.split("/").toReversed())
  }
  return [root, ...done].join("/")
}

const linkAt = (path: string): string | undefined => {
  const read = Result.try(() => Fs.readlinkSync(path))
  return Result.isSuccess(read) ? read.success : undefined
}

const isThere = (path: string, inode: bigint): boolean => {
  const stat = Fs.statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat !== undefined && stat.isFile() && stat.ino === inode
}

const hex = (value: bigint): string => value.toString(16)

/**
 * A path by which a file that a process executes can be opened and probed here: its own, seen from its root; or the entry of
 * `/proc/PID/map_files` of one that was deleted, or replaced by another since.
 */
export const pathOf = (pid: number, file: MappedFile): Effect.Effect<string, ProcessError> =>
  Effect.flatMap(rootOf(pid), (root) =>
    Effect.try({
      try: () => {
        const path = insideRoot(root, file.path)
        const [first] = file.mappings
        if (first === undefined || (!file.isDeleted && isThere(path, file.inode))) return path
        const mapped = `${folderOf(pid)}/map_files/${hex(first.start)}-${hex(first.end)}`
        // Layered file systems number files differently here and there; then the path is the better answer, if there is one.
        return !file.isDeleted && !Fs.existsSync(mapped) ? path : mapped
      },
      catch: (thrown) => failed(pid, thrown)
    }))
