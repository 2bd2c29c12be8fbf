/**
 * The numbers of processes in other pid namespaces: what a container calls 7, this process calls otherwise, and the kernel wants
 * the number that this process knows.
 *
 * Source: `NSpid` in `Documentation/filesystems/proc.rst`, section 1.1; pid_namespaces(7).
 */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { ProcessError } from "./Process.ts"

/**
 * The numbers of a process from its status as procfs writes it: first the one in the namespace of that procfs, then those in the
 * namespaces inside it, its own last. `undefined` where the kernel does not tell (before 4.1), or where this is no status.
 */
export const numbersIn = (status: string): ReadonlyArray<number> | undefined => {
  const line = /^NSpid:((?:\s+\d{1,10})+)[ \t]*$/m.exec(status)?.[1]
  if (line === undefined) return undefined
  const numbers = line.trim().split(/\s+/).map(Number)
  return numbers.length <= deepest && numbers.every((number) => number > 0 && number < 2 ** 31) ? numbers : undefined
}

/** Namespaces are nested 32 deep at most, below the first. */
const deepest = 33

const codeOf = (thrown: unknown): unknown =>
  typeof thrown === "object" && thrown !== null ? Reflect.get(thrown, "code") : undefined

const failed = (pid: number, thrown: unknown): ProcessError => {
  const code = codeOf(thrown)
  return new ProcessError({ reason: code === "EACCES" || code === "EPERM" ? "PermissionDenied" : "NoSuchProcess", pid })
}

const attempt = <A>(pid: number, body: () => A): Effect.Effect<A, ProcessError> =>
  Number.isSafeInteger(pid) && pid > 0 && pid < 2 ** 31
    ? Effect.try({ try: body, catch: (thrown) => failed(pid, thrown) })
    : Effect.fail(new ProcessError({ reason: "NoSuchProcess", pid }))

const statusOf = (pid: number): string => Fs.readFileSync(`/proc/${pid}/status`, "utf8")

/** The pid namespace of a process: equal texts are equal namespaces. */
const namespaceOf = (pid: number): string => Fs.readlinkSync(`/proc/${pid}/ns/pid`)

/** The numbers of a process, from the one that this process knows to its own in the innermost namespace. */
export const numbersOf = (pid: number): Effect.Effect<ReadonlyArray<number>, ProcessError> =>
  attempt(pid, () => numbersIn(statusOf(pid)) ?? [pid])

/** Processes as procfs lists them. */
const listed = (): ReadonlyArray<number> =>
  Fs.readdirSync("/proc").filter((name) => /^[1-9]\d*$/.test(name)).map(Number)

/** Whether a process is in a namespace, and has this number there; one that has exited meanwhile is not. */
const isCalled = (candidate: number, namespace: string, pid: number): boolean => {
  try {
    return namespaceOf(candidate) === namespace && numbersIn(statusOf(candidate))?.at(-1) === pid
  } catch {
    return false
  }
}

/**
 * The number by which this process knows the one that is called `pid` in the pid namespace of `inside`, such as a container's first
 * process as the container runtime tells it: for uprobes and USDT of one process. Only processes of that very namespace are found,
 * not those of namespaces inside it.
 */
export const find = (inside: number, pid: number): Effect.Effect<number, ProcessError> =>
  Effect.flatMap(
    attempt(inside, () => {
      const namespace = namespaceOf(inside)
      return listed().find((candidate) => isCalled(candidate, namespace, pid))
    }),
    (found) =>
      found === undefined ? Effect.fail(new ProcessError({ reason: "NoSuchProcess", pid })) : Effect.succeed(found)
  )
