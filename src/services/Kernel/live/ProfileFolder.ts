/**
 * Profiles of kernels in folders: read with bounds, written whole or not at all.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Btf } from "../../../btf/Btf.ts"
import * as BtfFile from "../../../btf/BtfFile.ts"
import * as Errno from "../abi/Errno.ts"
import * as KernelProfile from "../KernelProfile.ts"
import { errnoOf } from "../sys/Sys.ts"
import { machine } from "./Files.ts"
import { maximumFile } from "./KernelTypes.ts"

const { ProfileError } = KernelProfile

const ioError = (file: string, errnoNumber: number, hint?: string): KernelProfile.ProfileError =>
  new ProfileError({
    reason: "Io",
    file,
    detail: phrases[errnoNumber] ?? Errno.fromNumber(errnoNumber),
    ...(hint === undefined ? {} : { hint })
  })

/** Error numbers as a person would say them. */
const phrases: Readonly<Record<number, string>> = {
  [Errno.numbers.ENOENT]: "there is no such file",
  [Errno.numbers.EACCES]: "permission denied",
  [Errno.numbers.EINVAL]: "it is no regular file",
  [Errno.numbers.ENOTDIR]: "it is no folder",
  [Errno.numbers.EEXIST]: "it is there already",
  [Errno.numbers.ENOTEMPTY]: "it is there already, and not empty"
}

const readIn = (folder: string): KernelProfile.ReadFile => (name, limit) => {
  const path = Path.join(folder, name)
  const bytes = machine.read(path, limit)
  if (Result.isSuccess(bytes)) return Result.succeed(bytes.success)
  switch (bytes.failure) {
    case Errno.numbers.ENOENT:
      return Result.succeed(undefined)
    case Errno.numbers.EFBIG:
      return Result.fail(
        new ProfileError({ reason: "TooLarge", file: name, detail: `it has more than ${limit} bytes` })
      )
    default:
      return Result.fail(ioError(name, bytes.failure))
  }
}

/** The error of a file in a folder, as one of a path. */
const inFolder = (folder: string) => ({ detail, file, hint, reason }: KernelProfile.ProfileError) =>
  new ProfileError({ reason, file: Path.join(folder, file), detail, ...(hint === undefined ? {} : { hint }) })

/** Reads the profile in a folder. The types of its modules are read when somebody needs them. */
export const read = (folder: string): Effect.Effect<KernelProfile.KernelProfile, KernelProfile.ProfileError> =>
  Effect.suspend(() => Effect.fromResult(Result.mapError(KernelProfile.decode(readIn(folder)), inFolder(folder))))

/**
 * The kernel at a path: the profile in a folder, or that of a file of types alone, raw or ELF. A path where nothing is
 * fails with the reason `Io` and the path as its file.
 */
export const open = (path: string): Effect.Effect<KernelProfile.KernelProfile, KernelProfile.ProfileError> =>
  Effect.suspend(() => isFolder(path) ? read(path) : Effect.map(readTypes(path), KernelProfile.fromTypesAlone))

const isFolder = (path: string): boolean => Fs.statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** The types of a file: raw BTF, or the section of an ELF file. */
const readTypes = (path: string): Effect.Effect<Btf, KernelProfile.ProfileError> =>
  Effect.suspend(() => {
    const bytes = machine.read(path, maximumFile)
    if (Result.isFailure(bytes)) return Effect.fail(ioError(path, bytes.failure))
    const file = BtfFile.parse(bytes.success)
    return Result.isSuccess(file) ? Effect.succeed(file.success.btf) : Effect.fail(
      new ProfileError({
        reason: "Types",
        file: path,
        detail: file.failure.message,
        hint: "raw BTF is expected, a kernel image with a section .BTF, or a folder that kernel snapshot has written"
      })
    )
  })

/** How a profile is written. */
export interface WriteOptions {
  /** Whether a profile that is there already is replaced. Anything else that is there is an error. */
  readonly replace?: boolean
}

/** A name beside a path that nobody uses. */
const besides = (path: string, what: string): string =>
  Path.join(Path.dirname(path), `.${Path.basename(path)}.${what}-${Crypto.randomUUID()}`)

const isProfile = (folder: string): boolean =>
  Fs.lstatSync(folder).isDirectory() &&
  Fs.lstatSync(Path.join(folder, "profile.json"), { throwIfNoEntry: false })?.isFile() === true

/** Puts the finished folder in its place; of an old one nothing is lost until the new one is there. */
const put = (finished: string, folder: string, replace: boolean): void => {
  const there = Fs.lstatSync(folder, { throwIfNoEntry: false })
  if (!replace || there === undefined || !isProfile(folder)) {
    // Replaces an empty folder, and nothing else.
    Fs.renameSync(finished, folder)
    return
  }
  const old = besides(folder, "old")
  Fs.renameSync(folder, old)
  try {
    Fs.renameSync(finished, folder)
  } catch (thrown) {
    Fs.renameSync(old, folder)
    throw thrown
  }
  remove(old)
}

/** Removes a folder of ours, if it is there and if that is possible: its name says what it is. */
const remove = (folder: string): void => {
  try {
    Fs.rmSync(folder, { recursive: true, force: true })
  } catch {
    // What was in the way of writing it is in the way of looking at it, too.
  }
}

const taken: ReadonlySet<number> = new Set([Errno.numbers.ENOTEMPTY, Errno.numbers.EEXIST, Errno.numbers.ENOTDIR])

/**
 * Writes the files of a profile to a folder, which appears with all of them or not at all. It must not exist, or be empty;
 * or hold a profile, where `replace` says so.
 */
export const write = (
  path: string,
  files: ReadonlyMap<string, Uint8Array>,
  options: WriteOptions = {}
): Effect.Effect<void, KernelProfile.ProfileError> =>
  Effect.suspend(() => {
    const folder = Path.resolve(path)
    const unfinished = besides(folder, "new")
    try {
      // One by one: `recursive` never ends where the kernel answers ENOENT to mkdir(2), as in /proc.
      Fs.mkdirSync(unfinished)
      const folders = new Set([...files.keys()].map((name) => Path.dirname(name)).filter((name) => name !== "."))
      for (const name of folders) Fs.mkdirSync(Path.join(unfinished, name))
      for (const [name, bytes] of files) Fs.writeFileSync(Path.join(unfinished, name), bytes, { flag: "wx" })
      put(unfinished, folder, options.replace === true)
      return Effect.void
    } catch (thrown) {
      const errno = -errnoOf(thrown)
      return Effect.fail(
        taken.has(errno)
          ? ioError(path, errno, "choose a new name; a profile that is there can be replaced (--replace)")
          : ioError(path, errno)
      )
    } finally {
      remove(unfinished)
    }
  })
