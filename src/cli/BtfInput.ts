/** BTF that a command is about: read from a file, parsed over its base. */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Fs from "node:fs"
import type { Btf } from "../btf/Btf.ts"
import * as BtfFile from "../btf/BtfFile.ts"
import { FileReadError, readFile } from "../services/Elf/ElfService.ts"
import { InFile } from "./Failure.ts"

/** Where the running kernel shows its own types and those of its modules. */
const kernelFolder = "/sys/kernel/btf"

/** What a file argument may be. */
export const fileDescription =
  "raw BTF, an ELF file with .BTF, or the name of what the running kernel has in /sys/kernel/btf, such as vmlinux"

/** `--base-btf`: what split BTF is split over. */
export const baseFlag = Flag.String("base-btf").pipe(
  Flag.withAlias("B"),
  Flag.withMetavar("FILE"),
  Flag.withDescription(
    "What the types are split over, as a module's over its kernel's; a module in /sys/kernel/btf knows"
  ),
  Flag.optional
)

/** BTF and the file that it is from. */
export interface BtfInput {
  readonly path: string
  readonly file: BtfFile.BtfFile
}

interface Found {
  readonly path: string
  /** The base name within the kernel's folder, where the file is there. */
  readonly kernelName: string | undefined
}

/** The file that an argument names: a path, or a name in the kernel's folder where there is no such file. */
const find = Effect.fnUntraced(function*(argument: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const isThere = (path: string) => Effect.orElseSucceed(fileSystem.exists(path), () => false)
  const path = !argument.includes("/") && !(yield* isThere(argument)) && (yield* isThere(`${kernelFolder}/${argument}`))
    ? `${kernelFolder}/${argument}`
    : argument
  const real = yield* Effect.orElseSucceed(fileSystem.realPath(path), () => path)
  const kernelName = real.startsWith(`${kernelFolder}/`) ? real.slice(kernelFolder.length + 1) : undefined
  return { path, kernelName } satisfies Found
})

/**
 * Reads what the kernel shows, in this thread: it is in memory, and comes 4 KiB at a time, for each of which another
 * thread would be asked and waited for.
 */
const readKernelFile = (path: string): Effect.Effect<Uint8Array, FileReadError> =>
  Effect.try({
    try: () => Fs.readFileSync(path),
    catch: (error) => new FileReadError({ path, reason: "Io", detail: String(error) })
  })

const parseFile = Effect.fnUntraced(function*({ kernelName, path }: Found, options: BtfFile.BtfFileOptions) {
  const bytes = kernelName === undefined
    ? yield* readFile(yield* FileSystem.FileSystem, path)
    : yield* readKernelFile(path)
  // The kernel has checked what it shows.
  const trusted = kernelName === "vmlinux" && options.base === undefined
  const file = yield* Effect.mapError(
    Effect.fromResult(BtfFile.parse(bytes, { ...options, trusted })),
    (cause) => new InFile({ path, cause })
  )
  return { path, file } satisfies BtfInput
})

/** Reads a base: a module's own is its kernel. */
export const readBase = Effect.fnUntraced(function*(argument: string) {
  const found = yield* find(argument)
  const base = found.kernelName === undefined || found.kernelName === "vmlinux"
    ? undefined
    : (yield* parseFile({ path: `${kernelFolder}/vmlinux`, kernelName: "vmlinux" }, {})).file.btf
  return (yield* parseFile(found, { base })).file.btf
})

/** Options of `read`. */
export interface ReadOptions {
  /** `--base-btf`. */
  readonly base?: Option.Option<string>
  /** The base itself, where it was read for several files. */
  readonly over?: Btf | undefined
}

/** Reads a file over the base that was asked for, or that it is known to have. */
export const read = Effect.fnUntraced(function*(argument: string, options: ReadOptions = {}) {
  const found = yield* find(argument)
  const named = Option.getOrUndefined(options.base ?? Option.none())
  const isModule = found.kernelName !== undefined && found.kernelName !== "vmlinux"
  const base = options.over
    ?? (named !== undefined
      ? yield* readBase(named)
      : isModule
      ? yield* readBase(`${kernelFolder}/vmlinux`)
      : undefined)
  return yield* parseFile(found, { base })
})
