/**
 * The buffer of a call on one element of a map. Such calls are made by the million: what `Arena.make` does for any structure
 * is done here for this one.
 */
import * as Result from "effect/Result"
import * as Arena from "./Arena.ts"
import * as Attr from "./Attr.ts"

const { key: KEY, map_fd: MAP_FD, flags: FLAGS, value: VALUE } = Attr.MapElement.fields

const headerSize = Attr.MapElement.size
const nothing: ReadonlyMap<string, Arena.Region> = new Map()

const align = (offset: number): number => Math.ceil(offset / 8) * 8

/** The most bytes of a key or value that are worth it; what is longer takes its time anyway. */
const most = 4096

/**
 * `union bpf_attr` of a call on one element: its key, and its value as bytes to be read or, as a number, as room for so many.
 * Equal to what `Arena.make` makes of the same.
 */
export const make = (
  fd: number,
  key: Uint8Array,
  value: Uint8Array | number,
  flags: bigint
): Result.Result<Arena.Arena<typeof Attr.MapElement>, Arena.FieldError> => {
  const valueLength = typeof value === "number" ? value : value.length
  if (key.length > most || valueLength > most || !(flags >= 0n && flags <= 0xffff_ffff_ffff_ffffn)) {
    return Arena.make(Attr.MapElement, {
      map_fd: fd,
      key: Arena.bytes(key),
      value: typeof value === "number" ? Arena.room(value) : Arena.bytes(value),
      flags
    })
  }
  const valueAt = headerSize + align(key.length)
  const buffer = new ArrayBuffer(valueAt + align(valueLength))
  const view = new DataView(buffer)
  const little = Arena.hostIsLittle
  view.setUint32(MAP_FD.offset, fd, little)
  if (flags !== 0n) view.setBigUint64(FLAGS.offset, flags, little)
  const bytes = new Uint8Array(buffer)
  const pointers: Array<number> = []
  const regions = new Map<string, Arena.Region>()
  if (key.length > 0) {
    bytes.set(key, headerSize)
    view.setUint32(KEY.offset + (little ? 0 : 4), headerSize, little)
    pointers.push(KEY.offset)
    regions.set("key", { offset: headerSize, length: key.length, inner: nothing })
  }
  if (valueLength > 0) {
    if (typeof value !== "number") bytes.set(value, valueAt)
    view.setUint32(VALUE.offset + (little ? 0 : 4), valueAt, little)
    pointers.push(VALUE.offset)
    regions.set("value", { offset: valueAt, length: valueLength, inner: nothing })
  }
  return Result.succeed({ buffer, layout: Attr.MapElement, pointers, regions })
}
