/**
 * Numbers of JSON that a double does not hold: bpftool writes 64-bit integers as numbers, digit for digit.
 */
import type { Json } from "./Json.ts"

/** `JSON.rawJSON`, which the types of the language do not have yet. */
const rawJson: unknown = Reflect.get(JSON, "rawJSON")

const isJson = (value: unknown): value is Json => typeof value === "object" && value !== null

/** An integer of any size as a number of JSON. */
export const exact = (value: number | bigint): Json => {
  const number = Number(value)
  if (Number.isSafeInteger(number)) return number
  const digits = value.toString()
  const raw: unknown = typeof rawJson === "function" ? Reflect.apply(rawJson, JSON, [digits]) : undefined
  return isJson(raw) ? raw : digits
}
