/** Places of functions as JSON. */
import type { FunctionOffset } from "../../services/Elf/FunctionOffset.ts"
import type * as Documents from "../schemas/Elf.ts"

/** A function, and the file that a probe of it is put on. */
export interface Place {
  readonly path: string
  /** Bytes from the start of that file. */
  readonly offset: bigint
  readonly function: FunctionOffset
}

/**
 * An array: of each function the `symbol` as it was asked for (of a pattern its name) and the `offset` in the file `path`, a
 * number, since files are smaller than 2^53 bytes; and what its symbol says.
 */
export const offsetDocument = (places: ReadonlyArray<Place>): ReadonlyArray<typeof Documents.Place.Type> =>
  places.map(({ function: found, offset, path }) => ({
    symbol: found.symbol,
    offset: Number(offset),
    path,
    name: found.name,
    version: found.version ?? null,
    default_version: found.version === undefined ? null : found.isDefault,
    address: String(found.address),
    size: String(found.size),
    binding: found.binding,
    table: found.table,
    indirect: found.isIndirect
  }))
