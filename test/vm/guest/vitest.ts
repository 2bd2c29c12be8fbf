/**
 * What the live tests use of vitest, for a machine on which vitest does not run. Test files are bundled with this module
 * in the place of `vitest`; `@effect/vitest` and its `it.live` stay what they are.
 *
 * One file is one process: its tests run one after another, in the order of the file, and each prints one line of JSON
 * (`Line` of ../Report.ts) on standard output.
 */
import * as chai from "chai"
import * as Fs from "node:fs"
import * as Util from "node:util"
import type { Line } from "../Report.ts"

type Call = (...args: ReadonlyArray<unknown>) => unknown
type Hook = (context: Context) => unknown
type Body = (context: Context) => unknown

interface Options {
  readonly timeout?: number
  readonly skip?: boolean
}

/** What a test's function is given. */
interface Context {
  readonly task: Task
  readonly signal: AbortSignal
  readonly onTestFinished: (hook: () => unknown) => void
  readonly skip: (note?: string) => never
}

interface Task {
  readonly type: "test"
  readonly name: string
  readonly mode: "run" | "skip"
  readonly fails: boolean
  readonly timeout: number
  readonly body: Body
}

interface Suite {
  readonly type: "suite"
  readonly name: string
  readonly mode: "run" | "skip"
  readonly parent: Suite | undefined
  readonly tasks: Array<Task | Suite>
  readonly hooks: Record<"beforeAll" | "afterAll" | "beforeEach" | "afterEach", Array<Hook>>
}

const suiteOf = (name: string, mode: "run" | "skip", parent: Suite | undefined): Suite => ({
  type: "suite",
  name,
  mode,
  parent,
  tasks: [],
  hooks: { beforeAll: [], afterAll: [], beforeEach: [], afterEach: [] }
})

/** A machine that is emulated is some twenty times slower: only what hangs shall end. */
const defaultTimeout = 240_000

const root = suiteOf("", "run", undefined)
let current = root

/** A name with its `%s`, `%i`, `%d`, `%j`, `%o`, `%#`, `%%` and `$field` filled in from a case. */
const titled = (name: string, index: number, args: ReadonlyArray<unknown>): string => {
  let next = 0
  return name.replaceAll(/%([sdifjo#%])|\$(\w+)/g, (whole, letter: string | undefined, field: string | undefined) => {
    if (letter === "%") return "%"
    if (letter === "#") return String(index)
    if (letter !== undefined) return next < args.length ? Util.format(`%${letter}`, args[next++]) : whole
    const first = args[0]
    if (typeof first !== "object" || first === null || field === undefined || !(field in first)) return whole
    return Util.format("%s", Reflect.get(first, field))
  })
}

/** The arguments after the name come in two orders: function and timeout, or options and function. */
const given = (first: unknown, second: unknown): { readonly options: Options; readonly body: Call } => {
  const [body, options] = typeof first === "function" ? [first, second] : [second, first]
  return {
    body: body as Call,
    options: typeof options === "number" ? { timeout: options } : options ?? {}
  }
}

interface Flags {
  readonly mode: "run" | "skip"
  readonly fails: boolean
}

type Register = (name: string, first?: unknown, second?: unknown) => void

/** `each` spreads a case that is an array over the arguments, `for` does not. */
const withCases =
  (register: Register, body: (run: Call, args: ReadonlyArray<unknown>) => unknown, spread: boolean) =>
  (cases: ReadonlyArray<unknown>) =>
  (name: string, first?: unknown, second?: unknown): void => {
    const { body: run, options } = given(first, second)
    for (const [index, each] of cases.entries()) {
      const args = Array.isArray(each) ? each as ReadonlyArray<unknown> : [each]
      register(titled(name, index, args), options, body(run, spread ? args : [each]))
    }
  }

const test = (flags: Flags) => {
  const register: Register = (name, first, second) => {
    const { body, options } = given(first, second)
    current.tasks.push({
      type: "test",
      name,
      mode: options.skip === true ? "skip" : flags.mode,
      fails: flags.fails,
      timeout: options.timeout ?? defaultTimeout,
      body
    })
  }
  const call = (run: Call, args: ReadonlyArray<unknown>) => (context: Context) => run(...args, context)
  return Object.assign(register, { each: withCases(register, call, true), for: withCases(register, call, false) })
}

const runs: Flags = { mode: "run", fails: false }
const skips: Flags = { mode: "skip", fails: false }

const testApi = () =>
  Object.assign(test(runs), {
    skip: test(skips),
    only: test(runs),
    fails: test({ mode: "run", fails: true }),
    skipIf: (condition: unknown) => test(condition ? skips : runs),
    runIf: (condition: unknown) => test(condition ? runs : skips)
  })

const describing = (mode: "run" | "skip") => {
  const register: Register = (name, first, second) => {
    const { body } = given(first, second)
    const suite = suiteOf(name, current.mode === "skip" ? "skip" : mode, current)
    current.tasks.push(suite)
    const before = current
    current = suite
    try {
      const answer = body()
      // No file of ours has such groups; one that gets them must not lose tests unseen.
      if (answer instanceof Promise) {
        throw new Error(`the group ${name} registers its tests later, which is not done here`)
      }
    } finally {
      current = before
    }
  }
  const call = (run: Call, args: ReadonlyArray<unknown>) => () => run(...args)
  return Object.assign(register, { each: withCases(register, call, true), for: withCases(register, call, false) })
}

/** Registers a test. */
export const it = testApi()
export { it as test }

/** Registers a group of tests. */
export const describe = Object.assign(describing("run"), {
  skip: describing("skip"),
  only: describing("run"),
  skipIf: (condition: unknown) => describing(condition ? "skip" : "run"),
  runIf: (condition: unknown) => describing(condition ? "run" : "skip")
})

const hook = (kind: keyof Suite["hooks"]) => (run: Hook): void => void current.hooks[kind].push(run)

/** Runs before the first test of a group. */
export const beforeAll = hook("beforeAll")
/** Runs after the last test of a group. */
export const afterAll = hook("afterAll")
/** Runs before each test of a group. */
export const beforeEach = hook("beforeEach")
/** Runs after each test of a group. */
export const afterEach = hook("afterEach")

/** chai's, as vitest's is. */
export const assert = chai.assert

/** What `layer` of @effect/vitest asks for: the group that is being registered. */
export const TestRunner = { getCurrentSuite: (): Suite => current }

/** Thrown by `context.skip()`. */
class Skipped extends Error {}

const print = (line: Line): void => void Fs.writeSync(1, `${JSON.stringify(line)}\n`)

const lines = (value: unknown): ReadonlyArray<string> =>
  Util.inspect(value, { depth: 12, maxArrayLength: 1000, sorted: true, breakLength: 100 }).split("\n")

/** The lines of two values of which only one has them. */
const unlike = (actual: unknown, expected: unknown): string => {
  const [left, right] = [lines(actual), lines(expected)]
  const [inLeft, inRight] = [new Set(left), new Set(right)]
  return [
    ...left.filter((line) => !inRight.has(line)).slice(0, 40).map((line) => `- ${line}`),
    ...right.filter((line) => !inLeft.has(line)).slice(0, 40).map((line) => `+ ${line}`)
  ].join("\n")
}

const described = (error: unknown): string => {
  if (!(error instanceof Error)) return Util.inspect(error, { depth: 4 })
  const { actual, expected } = error as { readonly actual?: unknown; readonly expected?: unknown }
  const compared = actual === undefined && expected === undefined ? "" : `\n${unlike(actual, expected)}`
  // fast-check's errors say in their cause which assertion it was.
  const cause = error.cause === undefined ? "" : `\ncaused by: ${described(error.cause)}`
  return `${(error.stack ?? error.message).slice(0, 4000)}${compared}${cause}`.slice(0, 12000)
}

const hooksAround = (suite: Suite, kind: "beforeEach" | "afterEach"): ReadonlyArray<Hook> => {
  const own = suite.hooks[kind]
  if (suite.parent === undefined) return own
  const outer = hooksAround(suite.parent, kind)
  return kind === "beforeEach" ? [...outer, ...own] : [...own, ...outer]
}

const runTest = async (suite: Suite, task: Task): Promise<unknown> => {
  const controller = new AbortController()
  const finished: Array<() => unknown> = []
  const context: Context = {
    task,
    signal: controller.signal,
    onTestFinished: (hook) => void finished.push(hook),
    skip: (note) => {
      throw new Skipped(note)
    }
  }
  let timer: NodeJS.Timeout | undefined
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      const error = new Error(`not done after ${task.timeout} ms`)
      controller.abort(error)
      reject(error)
    }, task.timeout)
  })
  const failures: Array<unknown> = []
  try {
    for (const each of hooksAround(suite, "beforeEach")) await each(context)
    await Promise.race([task.body(context), late])
  } catch (error) {
    failures.push(error)
  } finally {
    clearTimeout(timer)
  }
  for (const each of [...hooksAround(suite, "afterEach"), ...finished.toReversed()]) {
    try {
      await each(context)
    } catch (error) {
      failures.push(error)
    }
  }
  if (!task.fails) return failures[0]
  return failures.length > 0 ? undefined : new Error("passes, and should fail")
}

const runSuite = async (suite: Suite, names: ReadonlyArray<string>, broken: unknown): Promise<void> => {
  const context = {} as Context
  let failure = broken
  const skipped = suite.mode === "skip" || !suite.tasks.some((task) => task.mode === "run")
  if (failure === undefined && !skipped) {
    try {
      for (const each of suite.hooks.beforeAll) await each(context)
    } catch (error) {
      failure = error
    }
  }
  for (const task of suite.tasks) {
    if (task.type === "suite") {
      await runSuite(task, [...names, task.name], failure)
      continue
    }
    const test = [...names, task.name].join(" > ")
    if (suite.mode === "skip" || task.mode === "skip") {
      print({ _tag: "Test", test, state: "skipped", milliseconds: 0 })
      continue
    }
    const start = performance.now()
    const error = failure ?? await runTest(suite, task)
    const milliseconds = Math.round(performance.now() - start)
    if (error === undefined) print({ _tag: "Test", test, state: "passed", milliseconds })
    else if (error instanceof Skipped) {
      const reason = error.message === "" ? {} : { error: error.message }
      print({ _tag: "Test", test, state: "skipped", milliseconds, ...reason })
    } else print({ _tag: "Test", test, state: "failed", milliseconds, error: described(error) })
  }
  if (skipped) return
  for (const each of suite.hooks.afterAll.toReversed()) {
    try {
      await each(context)
    } catch (error) {
      const test = [...names, "after all tests"].join(" > ")
      print({ _tag: "Test", test, state: "failed", milliseconds: 0, error: described(error) })
    }
  }
}

/** Runs what was registered, and ends the process: a test that left something open shall not hold the others up. */
export const runRegistered = async (): Promise<never> => {
  await runSuite(root, [], undefined)
  print({ _tag: "Done" })
  process.exit(0)
}
