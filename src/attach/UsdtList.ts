/**
 * The probes of a program, a library, an archive's member or a running process, with where they are and what they tell.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { ElfBinary } from "../services/Elf/ElfBinary.ts"
import * as Argument from "../usdt/Argument.ts"
import * as Notes from "../usdt/Notes.ts"
import type { UsdtError } from "../usdt/UsdtError.ts"
import * as BinaryFile from "./BinaryFile.ts"
import * as Process from "./Process.ts"

/** A probe that is there. */
export interface ListedProbe {
  /** The file, as it was asked for; of a process the path that it has there. */
  readonly path: string
  readonly probe: Notes.Probe
  /**
   * Where in the file the probe and its semaphore are, counted from the beginning of the archive where the file is in one; or why
   * it cannot be attached to.
   */
  readonly place: Result.Result<Notes.Place, UsdtError>
  /** Where its arguments are, or why that is not understood. */
  readonly arguments: Result.Result<ReadonlyArray<Argument.Argument>, UsdtError>
  /** Whose registers those are; `undefined` for machines that are not understood. */
  readonly architecture: Argument.Architecture | undefined
}

/** What is wrong with a probe: where it is, what its arguments are. */
export const problemsOf = ({ arguments: parts, place }: ListedProbe): ReadonlyArray<UsdtError> => [
  ...(Result.isFailure(place) ? [place.failure] : []),
  ...(Result.isFailure(parts) ? [parts.failure] : [])
]

/** The probes of an open file, in the order of its notes; none where it has no notes. `start` is where it is in an archive. */
export const ofBinary = (
  path: string,
  binary: ElfBinary,
  start: bigint
): Result.Result<ReadonlyArray<ListedProbe>, Notes.NotesError> => {
  const architecture = Argument.architectureOf(binary.machine, binary.bits === 64)
  const probes = Notes.ofBinary(binary)
  if (Result.isFailure(probes)) {
    const { failure } = probes
    return failure._tag === "UsdtError" && failure.reason === "NoNotes" ? Result.succeed([]) : Result.fail(failure)
  }
  const unknown = `${binary.bits}-bit programs of ELF machine ${binary.machine}`
  return Result.succeed(probes.success.map((probe): ListedProbe => ({
    path,
    probe,
    place: Result.map(Notes.place(binary, probe), ({ fileOffset, semaphoreOffset }) => ({
      fileOffset: start + fileOffset,
      semaphoreOffset: semaphoreOffset === 0n ? 0n : start + semaphoreOffset
    })),
    arguments: Argument.parseFor(architecture, probe.arguments, unknown),
    architecture
  })))
}

/** What may be wrong with a file or its notes. */
export type ListError = BinaryFile.Failure | Notes.NotesError

/** The probes of a file that is given as for `Usdt.attach`. */
export const ofFile = (
  name: string,
  options: BinaryFile.Options = {}
): Effect.Effect<ReadonlyArray<ListedProbe>, ListError> =>
  Effect.scoped(Effect.flatMap(
    BinaryFile.open(name, options),
    ({ base, binary }) => Effect.fromResult(ofBinary(name, binary, base))
  ))

/**
 * The probes of all files that a process executes. Files that cannot be read, or that are damaged, are passed over: what a
 * process has mapped as code need not be a program.
 */
export const ofProcess = (pid: number): Effect.Effect<ReadonlyArray<ListedProbe>, Process.ProcessError> =>
  Effect.gen(function*() {
    const found: Array<ListedProbe> = []
    for (const file of yield* Process.executables(pid)) {
      const path = yield* Process.pathOf(pid, file)
      const probes = yield* Effect.orElseSucceed(ofFile(path), (): ReadonlyArray<ListedProbe> => [])
      for (const probe of probes) found.push({ ...probe, path: file.path })
    }
    return found
  })
