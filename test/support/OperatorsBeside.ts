/** What tests of operators' commands share: documents of ours, and of both versions of bpftool. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { command } from "./InProcess.ts"
import * as Fs from "node:fs"
import { newBpftool, run, toolPath } from "./Require.ts"

/** A version of bpftool that judges. */
export interface Judge {
  readonly name: string
  /** What a shell starts it by. */
  readonly path: string
  /** The document of one of its commands; which processes hold objects it tells only where it was built for that. */
  readonly ask: (...args: ReadonlyArray<string>) => unknown
}

const asking = (tool: string) => (...args: ReadonlyArray<string>): unknown => {
  const { status, stderr, stdout } = run(tool, ["-j", ...args])
  if (status !== 0 || stdout === "") throw new Error(`${tool} ${args.join(" ")}: ${status} ${stderr}`)
  return JSON.parse(stdout, (key, value: unknown) => key === "pids" ? undefined : value)
}

/** Debian's, which knows what Linux 6.1 had. */
export const older: Judge = { name: "bpftool 7.1", path: toolPath("bpftool") ?? "bpftool", ask: asking("bpftool") }

/** That of Linux 6.12. */
export const newer: Judge = { name: "bpftool 7.5", path: newBpftool, ask: asking(newBpftool) }

/** The judges on this machine: the older one always, which groups require as a tool. */
export const judges: ReadonlyArray<Judge> = Fs.existsSync(newBpftool) ? [older, newer] : [older]

/** The document of a command of ours that succeeds. */
export const ours = (...args: ReadonlyArray<string>): Effect.Effect<unknown> =>
  Effect.map(command(...args, "--json"), ({ status, stderr, stdout }): unknown => {
    assert.deepStrictEqual({ status, stderr }, { status: 0, stderr: "" }, args.join(" "))
    return JSON.parse(stdout)
  })

/** Whether something is an object of JSON. */
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** An object of JSON; none is empty. */
export const object = (value: unknown): Readonly<Record<string, unknown>> => isObject(value) ? value : {}

/** The objects of a list. */
export const list = (value: unknown): ReadonlyArray<Readonly<Record<string, unknown>>> =>
  Array.isArray(value) ? value.map(object) : []

/** Those of a list whose key has one of some values: others' objects are theirs. */
export const those = (value: unknown, key: string, of: ReadonlyArray<unknown>) =>
  list(value).filter((each) => of.includes(each[key]))

/** An object without some keys. */
export const without = (value: unknown, ...keys: ReadonlyArray<string>): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(object(value)).filter(([key]) => !keys.includes(key)))

/** The same documents, their keys in the same order. */
export const same = (actual: unknown, expected: unknown, what: string): void => {
  assert.deepStrictEqual(actual, expected, what)
  assert.strictEqual(JSON.stringify(actual), JSON.stringify(expected), `${what}: in the same order`)
}
