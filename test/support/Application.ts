/** Applications that run until they are interrupted, as their user runs them. */
import { assert } from "@effect/vitest"
import * as ChildProcess from "node:child_process"
import { once } from "node:events"
import * as Path from "node:path"
import { repository, temporaryFolder } from "./Require.ts"

/** An application that has been started. */
export interface Application {
  readonly pid: number
  /** What it has printed. */
  readonly stdout: () => string
  readonly stderr: () => string
  /** Waits until it has printed what this matches, which is answered. */
  readonly until: (pattern: RegExp) => Promise<RegExpExecArray>
  /** Writes to its standard input. */
  readonly write: (text: string) => void
  /** When it ends by itself: its exit status, or the signal that it died of. */
  readonly ended: Promise<number | string | null>
  /** Interrupts it as Ctrl-C does, and waits for its end. */
  readonly interrupt: () => Promise<number | string | null>
  readonly [Symbol.asyncDispose]: () => Promise<void>
}

/** Milliseconds that an application may take to print something, also where the machine has much to do. */
const patience = 40_000

/** What Node has compiled of our sources, for the applications that are started after the first. */
let compiled: string | undefined

/** Starts a program of examples/; `prefix` is what its command begins with, instead of Node. */
export const start = (
  script: string,
  args: ReadonlyArray<string> = [],
  prefix: ReadonlyArray<string> = []
): Application => {
  const node = [process.execPath, Path.join(repository, "examples", script)]
  const [command = process.execPath, ...rest] = prefix.concat(node)
  const child = ChildProcess.spawn(command, [...rest, ...args], {
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: compiled ??= temporaryFolder(),
      NODE_NO_WARNINGS: "1",
      FORCE_COLOR: "0"
    },
    stdio: ["pipe", "pipe", "pipe"]
  })
  const said = { stdout: "", stderr: "" }
  const listeners = new Set<() => void>()
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      said[name] += text
      for (const listener of listeners) listener()
    })
  }
  const ended = once(child, "close").then(() => child.exitCode ?? child.signalCode)
  const until = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const finish = () => {
        listeners.delete(look)
        clearTimeout(timer)
      }
      const fail = (why: string) => {
        finish()
        reject(new Error(`${script} ${why} before ${pattern} came\n${said.stdout.slice(-2000)}${said.stderr}`))
      }
      const look = () => {
        const found = pattern.exec(said.stdout) ?? pattern.exec(said.stderr)
        if (found === null) return
        finish()
        resolve(found)
      }
      const timer = setTimeout(() => fail("took too long"), patience)
      listeners.add(look)
      ended.then(() => fail("ended"), reject)
      look()
    })
  return {
    pid: child.pid ?? assert.fail(`${script} does not start`),
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    until,
    write: (text) => child.stdin.write(text),
    ended,
    interrupt: () => {
      child.kill("SIGINT")
      return ended
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill("SIGKILL")
      await ended
    }
  }
}
