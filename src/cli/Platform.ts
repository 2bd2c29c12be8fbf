/**
 * What the command is given of the machine, in place of `NodeServices` of @effect/platform-node, which loads half of
 * Node's library before a command has begun: 25 ms, for a command that reads one file and prints.
 *
 * - Files: as in @effect/platform-node, loaded with the first use.
 * - Standard input: as in @effect/platform-node, loaded with the first use.
 * - Standard output and error: written to their descriptors in this thread, as Node itself does with files, terminals and
 *   pipes, but without its streams and sockets. A reader that has left is nobody's failure.
 * - The terminal: how wide it is. The command asks nothing, so there is no input from it.
 * - Processes: none are started.
 */
import * as NodePath from "@effect/platform-node/NodePath"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import { TerminalCapabilities } from "effect/cli/TerminalCapabilities"
import * as Layer from "effect/Layer"
import { systemError } from "effect/PlatformError"
import * as ChildProcessSpawner from "effect/process/ChildProcessSpawner"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Terminal from "effect/Terminal"
import * as Fs from "node:fs"

// ---- files ----

const node = Effect.promise(() => import("@effect/platform-node/NodeFileSystem"))

const nodeFiles = Effect.flatMap(node, ({ layer }) => Effect.provide(FileSystem.FileSystem, layer))

/** A method of Node's files that loads them when it is first run. */
const loading = <Args extends ReadonlyArray<unknown>, A, E, R>(
  method: (files: FileSystem.FileSystem) => (...args: Args) => Effect.Effect<A, E, R>
) =>
(...args: Args): Effect.Effect<A, E, R> => Effect.flatMap(nodeFiles, (files) => method(files)(...args))

const files: FileSystem.FileSystem = FileSystem.make({
  access: loading((files) => files.access),
  chmod: loading((files) => files.chmod),
  chown: loading((files) => files.chown),
  copy: loading((files) => files.copy),
  copyFile: loading((files) => files.copyFile),
  link: loading((files) => files.link),
  lstat: loading((files) => files.lstat),
  makeDirectory: loading((files) => files.makeDirectory),
  makeTempDirectory: loading((files) => files.makeTempDirectory),
  makeTempDirectoryScoped: loading((files) => files.makeTempDirectoryScoped),
  makeTempFile: loading((files) => files.makeTempFile),
  makeTempFileScoped: loading((files) => files.makeTempFileScoped),
  open: loading((files) => files.open),
  readDirectory: loading((files) => files.readDirectory),
  readDirectoryEntries: loading((files) => files.readDirectoryEntries),
  readFile: loading((files) => files.readFile),
  readLink: loading((files) => files.readLink),
  realPath: loading((files) => files.realPath),
  remove: loading((files) => files.remove),
  rename: loading((files) => files.rename),
  stat: loading((files) => files.stat),
  symlink: loading((files) => files.symlink),
  truncate: loading((files) => files.truncate),
  utimes: loading((files) => files.utimes),
  watch: (path, options) => Stream.unwrap(Effect.map(nodeFiles, (files) => files.watch(path, options))),
  writeFile: loading((files) => files.writeFile)
})

// ---- standard streams ----

const nodeStdio = Effect.flatMap(
  Effect.promise(() => import("@effect/platform-node/NodeStdio")),
  ({ layer }) => Effect.provide(Stdio.Stdio, layer)
)

const STDIN = 0
const STDOUT = 1
const STDERR = 2

/**
 * Whether a descriptor is a terminal's. Node's own answer is asked for only where it can be yes, since it loads sockets
 * and streams.
 */
const isTerminal = (descriptor: typeof STDIN | typeof STDOUT | typeof STDERR): boolean => {
  try {
    const status = Fs.fstatSync(descriptor)
    if (!status.isCharacterDevice() || status.rdev === Fs.statSync("/dev/null").rdev) return false
  } catch {
    // A descriptor that was closed, or a system with another name for nothing.
  }
  switch (descriptor) {
    case STDIN:
      return process.stdin.isTTY
    case STDOUT:
      return process.stdout.isTTY
    case STDERR:
      return process.stderr.isTTY
  }
}

const codeOf = (error: unknown): unknown =>
  typeof error === "object" && error !== null ? Reflect.get(error, "code") : undefined

const pause = new Int32Array(new SharedArrayBuffer(4))

/** Writes all of it. A pipe that does not wait by itself, because another process made it so, is waited for. */
const writeAll = (descriptor: number, bytes: Uint8Array): void => {
  for (let done = 0; done < bytes.length;) {
    try {
      done += Fs.writeSync(descriptor, bytes, done, bytes.length - done)
    } catch (error) {
      if (codeOf(error) !== "EAGAIN") throw error
      Atomics.wait(pause, 0, 0, 1)
    }
  }
}

/** Prints a line. A reader that has left is not missed; standard output that cannot be written is told, and fails. */
const printLine = (descriptor: number, text: string): void => {
  try {
    writeAll(descriptor, new TextEncoder().encode(`${text}\n`))
  } catch (error) {
    if (codeOf(error) === "EPIPE" || descriptor === STDERR) return
    process.exitCode = 1
    printLine(STDERR, `error: standard output: ${error instanceof Error ? error.message : String(error)}`)
  }
}

const print = (descriptor: number) => (...values: ReadonlyArray<unknown>): void => {
  const [first] = values
  // Everything the command prints is one text; whatever else comes is formatted as Node does it.
  if (values.length === 1 && typeof first === "string") printLine(descriptor, first)
  else if (descriptor === STDOUT) globalThis.console.log(...values)
  else globalThis.console.error(...values)
}

/** Node's console, with texts written without its streams. */
const console: Console.Console = { ...globalThis.console, log: print(STDOUT), error: print(STDERR) }

const sinkOf = (descriptor: 1 | 2, method: string) => () =>
  Sink.forEach((part: string | Uint8Array) =>
    Effect.try({
      try: () => writeAll(descriptor, typeof part === "string" ? new TextEncoder().encode(part) : part),
      catch: (cause) =>
        systemError({
          module: "Stdio",
          method,
          _tag: "Unknown",
          description: cause instanceof Error ? cause.message : String(cause),
          cause
        })
    })
  )

const stdio = Stdio.make({
  args: Effect.sync(() => process.argv.slice(2)),
  stdinIsTerminal: Effect.sync(() => isTerminal(STDIN)),
  stdoutIsTerminal: Effect.sync(() => isTerminal(STDOUT)),
  stderrIsTerminal: Effect.sync(() => isTerminal(STDERR)),
  stdout: sinkOf(STDOUT, "stdout"),
  stderr: sinkOf(STDERR, "stderr"),
  stdin: Stream.unwrap(Effect.map(nodeStdio, ({ stdin }) => stdin))
})

const noInput = Effect.die("the command asks nothing")

const terminal = Terminal.make({
  columns: Effect.sync(() => isTerminal(STDOUT) ? process.stdout.columns ?? 0 : 0),
  rows: Effect.sync(() => isTerminal(STDOUT) ? process.stdout.rows ?? 0 : 0),
  size: noInput,
  readInput: noInput,
  readLine: noInput,
  display: (text) => Effect.sync(() => writeAll(STDOUT, new TextEncoder().encode(text)))
})

const isSet = (value: string | undefined): boolean => value !== undefined && value !== ""

/** As effect/cli finds it out by itself, but that it would open standard input for it. */
const capabilities = (): TerminalCapabilities => {
  const { FORCE_COLOR, NO_COLOR, TERM } = process.env
  const shows = TERM !== "dumb" && isTerminal(STDOUT)
  const forced = TERM !== "dumb" && isSet(FORCE_COLOR) && FORCE_COLOR !== "0" && FORCE_COLOR?.toLowerCase() !== "false"
  return { canColor: !isSet(NO_COLOR) && (shows || forced), canAnimate: shows, canPrompt: false }
}

/** Everything that the command needs of the machine but the kernel. */
export const layer = Layer.mergeAll(
  Layer.succeed(FileSystem.FileSystem, files),
  NodePath.layer,
  Layer.succeed(Stdio.Stdio, stdio),
  Layer.succeed(Terminal.Terminal, terminal),
  Layer.succeed(
    ChildProcessSpawner.ChildProcessSpawner,
    ChildProcessSpawner.make(() => Effect.die("the command starts no processes"))
  ),
  Layer.succeed(Console.Console, console),
  Layer.sync(TerminalCapabilities, capabilities)
)
