/** Generated TypeScript, run in this process: its types are stripped, and what it imports is given to it. */
import { stripTypeScriptTypes } from "node:module"
import { compileFunction } from "node:vm"
import type * as Result from "effect/Result"
import type { BtfValue } from "../../src/btf/BtfValue.ts"
import * as LayoutCodec from "../../src/btf/LayoutCodec.ts"

/** A generated codec, whose type this process does not know. */
export interface RunCodec {
  readonly name: string
  readonly size: number
  readonly flexible?: boolean
  /** Of structs and unions. */
  readonly layout?: Readonly<Record<string, LayoutCodec.Place>>
  readonly read: (view: DataView, at: number) => BtfValue
  readonly encode: (value: BtfValue) => Result.Result<Uint8Array, LayoutCodec.CodecError>
  readonly of: (value: BtfValue) => Result.Result<BtfValue, LayoutCodec.CodecError>
}

/** What a module exports, by name. */
export type Exports = ReadonlyMap<string, RunCodec>

/** Runs declarations that call `LayoutCodec` and import nothing. */
export const runCodecs = (text: string): Exports => {
  const plain = stripTypeScriptTypes(text, { mode: "strip" })
  const names = [...plain.matchAll(/^export const ([\w$]+)/gm)].map(([, name = ""]) => name)
  const body = `"use strict"\n${plain.replaceAll(/^export const/gm, "const")}\nreturn { ${names.join(", ")} }`
  const found = compileFunction(body, ["LayoutCodec"])(LayoutCodec)
  return new Map(Object.entries(found))
}
