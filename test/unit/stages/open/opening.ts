/** Opening objects that a test has built. */
import * as Result from "effect/Result"
import type { BpfObject } from "../../../../src/stages/open/BpfObject.ts"
import * as Open from "../../../../src/stages/open/Open.ts"
import { build, type ObjectSpec } from "../ObjectBuilder.ts"

/** The object opened; throws what it is refused for. */
export const open = (spec: ObjectSpec, options: Open.OpenOptions = {}): BpfObject =>
  Result.getOrThrow(Open.fromBytes(build(spec), { name: "test", ...options }))

/** What opening the object fails with. */
export const failureOf = (spec: ObjectSpec, options: Open.OpenOptions = {}): Open.OpenFailure => {
  const opened = Open.fromBytes(build(spec), { name: "test", ...options })
  if (Result.isSuccess(opened)) throw new Error("the object was opened")
  return opened.failure
}

/** The `OpenError` that an object is refused with, as its place and its words. */
export const refusal = (spec: ObjectSpec, options: Open.OpenOptions = {}) => {
  const failure = failureOf(spec, options)
  if (failure._tag !== "OpenError") throw failure
  const { detail, name, offset, reason, section } = failure
  if (!failure.message.includes(detail)) throw new Error(`the message lacks the detail: ${failure.message}`)
  return { reason, section, offset, name, detail }
}
