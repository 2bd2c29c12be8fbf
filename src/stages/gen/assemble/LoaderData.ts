/**
 * The data of a loader while it is assembled: bytes are appended, and keep their place.
 */
import { FD_ARRAY_SIZE } from "../LoaderLayout.ts"

/** The data so far. */
export interface LoaderData {
  readonly parts: Array<{ readonly at: number; readonly bytes: Uint8Array }>
  /** Length in bytes, a multiple of 8. */
  length: number
}

/** The format counts bytes of data in 31 bits. */
export const MAX_DATA = 0x7fff_ffff

/** The data that every loader begins with: its `fd_array`, empty. */
export const make = (): LoaderData => ({ parts: [], length: FD_ARRAY_SIZE })

/**
 * Appends bytes on the next multiple of 8 and answers with their offset; `undefined` when the data would become too
 * large. The bytes are used as they are when the data is joined: they must not change until then.
 */
export const add = (data: LoaderData, bytes: Uint8Array): number | undefined => {
  const at = data.length
  const end = at + Math.ceil(bytes.length / 8) * 8
  if (end > MAX_DATA) return undefined
  data.parts.push({ at, bytes })
  data.length = end
  return at
}

/** All of the data. */
export const join = (data: LoaderData): Uint8Array => {
  const whole = new Uint8Array(data.length)
  for (const { at, bytes } of data.parts) whole.set(bytes, at)
  return whole
}
