/**
 * The lines that programs print with `bpf_printk`: the kernel's trace pipe, which has one reader for the whole machine.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"

/** The pipe cannot be read. */
export class TracePipeError extends Schema.TaggedError<TracePipeError>()("TracePipeError", {
  detail: Schema.String,
  hint: Schema.String
}) {
  override get message(): string {
    return `${this.detail}\nhint: ${this.hint}`
  }
}

const paths = ["/sys/kernel/tracing/trace_pipe", "/sys/kernel/debug/tracing/trace_pipe"]

/** Bytes that are read at once. */
const room = 65_536

/** How often is read at most before somebody is shown what came: programs may print faster than this reads. */
const most = 64

const isEmpty = (thrown: unknown): boolean =>
  typeof thrown === "object" && thrown !== null && Reflect.get(thrown, "code") === "EAGAIN"

/** What is in the pipe now; it never waits. */
const readNow = (fd: number, decoder: InstanceType<typeof TextDecoder>): string => {
  const bytes = new Uint8Array(room)
  let text = ""
  try {
    for (let time = 0; time < most; time++) {
      const count = Fs.readSync(fd, bytes, 0, room, null)
      if (count === 0) return text
      // A character may be in two parts.
      text += decoder.decode(bytes.subarray(0, count), { stream: true })
    }
    return text
  } catch (thrown) {
    if (isEmpty(thrown)) return text
    throw thrown
  }
}

/** The open pipe. */
export interface TracePipe {
  /** The whole lines that have come since it was looked at last. */
  readonly look: Effect.Effect<ReadonlyArray<string>, TracePipeError>
}

/** Opens the pipe for the length of a scope. */
export const open: Effect.Effect<TracePipe, TracePipeError, Scope.Scope> = Effect.gen(function*() {
  const refused = (thrown: unknown): TracePipeError =>
    new TracePipeError({
      detail: `the kernel's trace pipe cannot be read: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
      hint: "it needs root and tracefs: mount -t tracefs tracefs /sys/kernel/tracing"
    })
  const path = paths.find((each) => Fs.existsSync(each)) ?? paths[0] ?? ""
  const fd = yield* Effect.acquireRelease(
    Effect.try({ try: () => Fs.openSync(path, Fs.constants.O_RDONLY | Fs.constants.O_NONBLOCK), catch: refused }),
    (fd) => Effect.sync(() => Fs.closeSync(fd))
  )
  let rest = ""
  const decoder = new TextDecoder()
  const look = Effect.try({
    try: (): ReadonlyArray<string> => {
      const lines = (rest + readNow(fd, decoder)).split("\n")
      rest = lines.pop() ?? ""
      return lines
    },
    catch: refused
  })
  return { look }
})
