/**
 * Binaries as those who trace them name them: by a path, by a name alone, or as the member of an archive; of this machine or
 * of a process in a container. What a probe needs to know of one is the file to probe and the offset in it.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { ArchiveError, Member } from "../services/Elf/Archive.ts"
import * as Archive from "../services/Elf/Archive.ts"
import type { ByteSource, ByteSourceError } from "../services/Elf/ByteSource.ts"
import type { ElfBinary } from "../services/Elf/ElfBinary.ts"
import * as Binary from "../services/Elf/ElfBinary.ts"
import type { ElfError } from "../services/Elf/ElfError.ts"
import type { FileReadError } from "../services/Elf/ElfService.ts"
import type { FunctionOffset } from "../services/Elf/FunctionOffset.ts"
import * as FunctionOffsets from "../services/Elf/FunctionOffset.ts"
import type { FunctionOffsetError } from "../services/Elf/FunctionOffsetError.ts"
import * as FileSource from "./FileSource.ts"
import * as LibrarySearch from "./LibrarySearch.ts"
import type { LibraryNotFound } from "./LibrarySearch.ts"

/** What can be wrong with a file that is there. */
export type BinaryFault = ElfError | ByteSourceError | ArchiveError | FunctionOffsetError

/** What is wrong with a file, and with which. */
export class BinaryFileError extends Schema.TaggedError<BinaryFileError>()("BinaryFileError", {
  /** As it was asked for. */
  path: Schema.String,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `${this.path}: ${this.cause instanceof Error ? this.cause.message : String(this.cause)}`
  }

  /** What to do, where that is known. */
  get hint(): string | undefined {
    const hint: unknown = typeof this.cause === "object" && this.cause !== null
      ? Reflect.get(this.cause, "hint")
      : undefined
    return typeof hint === "string" ? hint : undefined
  }

  /** What is wrong: an `ElfError`, `ByteSourceError`, `ArchiveError` or `FunctionOffsetError`. */
  get fault(): BinaryFault {
    return this.cause as BinaryFault
  }
}

/** Why there is no binary, or no place in it. */
export type Failure = BinaryFileError | FileReadError | LibraryNotFound

/** A binary that can be read. */
export interface BinaryFile {
  /** As it was asked for. */
  readonly name: string
  /** The file to probe: that of the archive for a member. */
  readonly path: string
  /** Where the binary begins in that file: 0 but for members of archives. */
  readonly base: bigint
  readonly member: Member | undefined
  readonly binary: ElfBinary
}

/** Where to look for what is given by its name alone, or is in another root. */
export type Options = LibrarySearch.Options

interface Found {
  readonly path: string
  readonly member: string | undefined
}

/** The file that is to be read, and the member in it. Of archives only paths are known, and no folders are searched. */
const locateFile = (name: string, options: Options): Effect.Effect<Found, LibraryNotFound> => {
  const parts = Archive.split(name)
  return Effect.map(
    LibrarySearch.search(parts === undefined ? name : pathOf(parts.archive), options),
    (path) => ({ path, member: parts?.member })
  )
}

/** The path of an archive: `app.apk` is in the folder of this process, and not searched for. */
const pathOf = (archive: string): string => archive.includes("/") ? archive : `./${archive}`

type Opened = Omit<BinaryFile, "name" | "path">

const openSource = (
  source: ByteSource,
  member: string | undefined
): Result.Result<Opened, ElfError | ByteSourceError | ArchiveError> => {
  if (member === undefined) {
    return Result.map(Binary.open(source), (binary) => ({ base: 0n, member: undefined, binary }))
  }
  return Result.flatMap(
    Archive.open(source),
    (archive) =>
      Result.flatMap(
        Archive.member(archive, member),
        (found) =>
          Result.map(Binary.open(found.source), (binary) => ({ base: BigInt(found.offset), member: found, binary }))
      )
  )
}

const inFile = (path: string) => (cause: BinaryFault): BinaryFileError => new BinaryFileError({ path, cause })

/**
 * Opens a binary for the length of a scope: `/bin/bash`, `bash`, `libc.so.6` or `app.apk!/lib/x86_64/libfoo.so`. Only its headers
 * are read.
 */
export const open = (name: string, options: Options = {}): Effect.Effect<BinaryFile, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    const { member, path } = yield* locateFile(name, options)
    const source = yield* FileSource.open(path)
    const opened = yield* Effect.fromResult(Result.mapError(openSource(source, member), inFile(name)))
    return { name, path, ...opened }
  })

/** A place to probe. */
export interface ProbePlace {
  /** The file to probe. */
  readonly path: string
  /** Bytes from the start of that file. */
  readonly offset: bigint
  /** The function that is there; its own `offset` is counted from the start of the binary, as in an archive. */
  readonly function: FunctionOffset
}

const placesOf = ({ base, path }: Pick<BinaryFile, "base" | "path">, found: ReadonlyArray<FunctionOffset>) =>
  found.map((each): ProbePlace => ({ path, offset: base + each.offset, function: each }))

const askFile = (
  name: string,
  options: Options,
  question: (binary: ElfBinary) => Result.Result<ReadonlyArray<FunctionOffset>, BinaryFault>
): Effect.Effect<ReadonlyArray<ProbePlace>, Failure> =>
  Effect.flatMap(
    locateFile(name, options),
    ({ member, path }) =>
      Effect.suspend(() =>
        Effect.fromResult(FileSource.ask(path, (source): Result.Result<ReadonlyArray<ProbePlace>, BinaryFileError> =>
          Result.mapError(
            Result.flatMap(openSource(source, member), (opened) =>
              Result.map(question(opened.binary), (found) => placesOf({ ...opened, path }, found))),
            inFile(name)
          )))
      )
  )

/** Where the named functions of a binary are, in the order of their names: one pass over its symbols. */
export const functions = (
  name: string,
  symbols: ReadonlyArray<string>,
  options: Options & FunctionOffsets.Options = {}
): Effect.Effect<ReadonlyArray<ProbePlace>, Failure> =>
  askFile(name, options, (binary) => FunctionOffsets.findAll(binary, symbols, options))

/** Where the functions of a binary are whose names match a pattern; each name of a function counts. */
export const functionsMatching = (
  name: string,
  pattern: string,
  options: Options & FunctionOffsets.MatchOptions = {}
): Effect.Effect<ReadonlyArray<ProbePlace>, Failure> =>
  askFile(name, options, (binary) => FunctionOffsets.matching(binary, pattern, options))
