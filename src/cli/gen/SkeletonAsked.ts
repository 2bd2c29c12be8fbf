/**
 * What `gen skeleton` is asked for, and what it writes, whatever the language.
 */
import type * as Option from "effect/Option"
import type * as Recording from "./Recording.ts"

/** The arguments. */
export interface Asked extends Recording.Given {
  readonly object: string
  readonly words: ReadonlyArray<string>
  readonly name: Option.Option<string>
  readonly useLoader: boolean
  readonly lang: "c" | "ts"
  readonly types: boolean
  readonly beside: boolean
  readonly output: Option.Option<string>
}

/** A skeleton as text, and what it speaks of. */
export interface Written {
  readonly text: string
  /** `a header`, `a module`. */
  readonly what: string
  readonly maps: ReadonlyArray<string>
  readonly programs: ReadonlyArray<string>
  readonly notes: ReadonlyArray<string>
}
