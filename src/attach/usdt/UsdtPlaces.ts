/**
 * The places of one probe in a file, ready to be attached to: offsets, and the records that tell programs of the arguments.
 *
 * Pure but for what the file's source does. Source: reference page `usdt`, sections 3 to 7.
 */
import * as Result from "effect/Result"
import type { ElfBinary } from "../../services/Elf/ElfBinary.ts"
import * as C from "../../services/Elf/ElfConstants.ts"
import * as Argument from "../../usdt/Argument.ts"
import * as Notes from "../../usdt/Notes.ts"
import { isUsdtError, refuse } from "../../usdt/UsdtError.ts"
import * as Spec from "../../usdt/Spec.ts"
import { addressesOf } from "../../usdt/SymbolAddress.ts"
import { attempt } from "../../internal/attempt.ts"
import * as Elf from "../../services/Elf/ElfBinary.ts"

/** A place of a probe. */
export interface UsdtPlace {
  /** Bytes from the beginning of the file, or of the archive that the file is in. */
  readonly offset: bigint
  /** Where the semaphore is, likewise; 0 for none. */
  readonly counterOffset: bigint
  /** The address of the instruction in a program that is loaded where it was linked to be. */
  readonly address: bigint
  /** What its record is known by: the text of its arguments, with the address where that has a part in them. */
  readonly record: string
}

/** The places of a probe, and the records that they use. */
export interface UsdtPlaces {
  readonly places: ReadonlyArray<UsdtPlace>
  /** Places with the same arguments share one. */
  readonly records: ReadonlyMap<string, Uint8Array>
  /** Whether the file is loaded anywhere: a shared library, or a program that is as movable as one. */
  readonly isMovable: boolean
}

/** What is wanted of a file. */
export interface Wanted {
  readonly provider: string
  readonly name: string
  readonly cookie: bigint
  readonly layout: Spec.Layout
  /** What the kernel runs on. */
  readonly kernel: Argument.Architecture
  /** Where the file begins in the archive that it is in, otherwise 0. */
  readonly start: bigint
  /** Whether the kernel enters probes on `nop` instructions of five bytes by system calls. */
  readonly hasFastEntry: boolean
}

/** How many names an error lists. */
const LISTED = 20

/** The names that are there, those of the same provider and those that are alike first. */
const presentNames = (probes: ReadonlyArray<Notes.Probe>, { name, provider }: Wanted): string => {
  const names = [...new Set(probes.map(Notes.fullName))]
  if (names.length === 0) return "the file has no probes"
  const rank = (each: string): number => each.startsWith(`${provider}:`) ? 0 : each.endsWith(`:${name}`) ? 1 : 2
  const ordered = names.map((each) => [rank(each), each] as const).sort(([a], [b]) => a - b).map(([, each]) => each)
  const rest = names.length - LISTED
  return `the file has ${ordered.slice(0, LISTED).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`
}

const canRun = (kernel: Argument.Architecture, file: Argument.Architecture): boolean =>
  kernel === file || (kernel === "x86-64" && file === "i386")

const need = <A>(result: Result.Result<A, Notes.NotesError>): A => {
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

const architectureOf = (binary: ElfBinary, kernel: Argument.Architecture): Argument.Architecture => {
  const found = Argument.architectureOf(binary.machine, binary.bits === 64)
  if (found !== undefined && canRun(kernel, found)) return found
  const what = found ?? `ELF machine ${binary.machine} of ${binary.bits} bits`
  return refuse("Architecture", `it is for ${what}, and the kernel is for ${kernel}`)
}

const isError = (thrown: unknown): thrown is Notes.NotesError => isUsdtError(thrown) || Elf.isBinaryError(thrown)

/** The places of a probe in a file. A probe that is not there is an error that lists those that are. */
export const find = (binary: ElfBinary, wanted: Wanted): Result.Result<UsdtPlaces, Notes.NotesError> =>
  attempt(isError, () => {
    const architecture = architectureOf(binary, wanted.kernel)
    const all = need(Notes.ofBinary(binary))
    const probes = all.filter(({ name, provider }) => name === wanted.name && provider === wanted.provider)
    if (probes.length === 0) {
      refuse("NoSuchProbe", `it has no probe ${Notes.fullName(wanted)}`, { hint: presentNames(all, wanted) })
    }
    const argumentsOf = new Map(
      probes.map(({ arguments: text }) => [text, need(Argument.parse(architecture, text))] as const)
    )
    const symbols = need(addressesOf(binary, symbolsOf(argumentsOf.values())))
    const records = new Map<string, Uint8Array>()
    const places = probes.map((probe): UsdtPlace => {
      const { fileOffset, semaphoreOffset } = need(Notes.place(binary, probe))
      const skipped = wanted.hasFastEntry && architecture === "x86-64" && startsWithNops(binary, fileOffset) ? 1n : 0n
      const address = probe.address + skipped
      const parts = argumentsOf.get(probe.arguments) ?? []
      const isRelative = parts.some(({ location }) => location._tag === "Symbol")
      const record = isRelative ? `${probe.arguments} at ${address}` : probe.arguments
      if (!records.has(record)) {
        const spec = { arguments: need(Argument.relativeTo(address, parts, symbols)), cookie: wanted.cookie }
        records.set(record, need(Spec.encode(wanted.layout, wanted.kernel, spec)))
      }
      return {
        offset: wanted.start + fileOffset + skipped,
        counterOffset: semaphoreOffset === 0n ? 0n : wanted.start + semaphoreOffset,
        address,
        record
      }
    })
    return { places, records, isMovable: binary.type === C.ET_DYN }
  })

/** The variables that are places of arguments. */
const symbolsOf = (all: Iterable<ReadonlyArray<Argument.Argument>>): ReadonlySet<string> =>
  new Set(
    [...all].flatMap((parts) => parts.flatMap(({ location }) => location._tag === "Symbol" ? [location.symbol] : []))
  )

const startsWithNops = (binary: ElfBinary, offset: bigint): boolean => {
  const bytes = binary.source.read(Number(offset), 6)
  return Result.isSuccess(bytes) && Notes.isNopPair(bytes.success)
}
