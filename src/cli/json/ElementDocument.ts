/**
 * Elements of a map as data, with bpftool's keys: bytes as lists of hexadecimal texts, and under `formatted` what they are
 * by the map's types.
 */
import type { KernelError } from "../../services/Kernel/KernelError.ts"
import { type Element, holdsMaps, isPerCpu, type Shape, valuesOf } from "../map/Elements.ts"
import { formatted } from "./FormattedValue.ts"
import type { Json } from "./Json.ts"
import { hexList } from "./ObjectsDocument.ts"

/** What the C library says of the error numbers that look-ups fail with; of others their number. */
const said: Readonly<Record<number, string>> = {
  1: "Operation not permitted",
  2: "No such file or directory",
  3: "No such process",
  7: "Argument list too long",
  9: "Bad file descriptor",
  11: "Resource temporarily unavailable",
  12: "Cannot allocate memory",
  13: "Permission denied",
  14: "Bad address",
  16: "Device or resource busy",
  22: "Invalid argument",
  28: "No space left on device",
  95: "Operation not supported"
}

/** `ENOENT` */
const absent = 2

/** A refusal in bpftool's words. */
export const errorWords = ({ errnoNumber }: KernelError): string => said[errnoNumber] ?? `Unknown error ${errnoNumber}`

/** What key and value are by the map's types; nothing where it has none, or they do not fit. */
const formattedJson = (shape: Shape, key: Uint8Array, value: Uint8Array): { readonly [key: string]: Json } => {
  const { btf } = shape
  if (btf === undefined || shape.value === 0) return {}
  const keyJson = shape.key === 0 ? undefined : formatted(btf, shape.key, key)
  if (shape.key !== 0 && keyJson === undefined) return {}
  const of = keyJson === undefined ? {} : { key: keyJson }
  const values = valuesOf(shape, value).map((each) => formatted(btf, shape.value, each))
  const known = values.filter((each) => each !== undefined)
  if (known.length < values.length) return {}
  return {
    formatted: isPerCpu(shape.info)
      ? { ...of, values: known.map((value, cpu) => ({ cpu, value })) }
      : { ...of, value: known[0] ?? null }
  }
}

/** One element. */
export const elementJson = (shape: Shape, { key, value }: Element): Json => {
  if (!(value instanceof Uint8Array)) {
    return { key: hexList(key), value: { error: value === undefined ? said[absent] ?? "" : errorWords(value) } }
  }
  return isPerCpu(shape.info)
    ? {
      key: hexList(key),
      values: valuesOf(shape, value).map((each, cpu) => ({ cpu, value: hexList(each) })),
      ...formattedJson(shape, key, value)
    }
    : {
      key: hexList(key),
      value: hexList(value),
      ...(holdsMaps(shape.info) && value.length >= 4
        ? { inner_map_id: new DataView(value.buffer, value.byteOffset, 4).getUint32(0, true) }
        : {}),
      ...formattedJson(shape, key, value)
    }
}
