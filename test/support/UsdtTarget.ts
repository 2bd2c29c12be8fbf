/** Programs with probes, built from `test/live/programs/usdt_*.c` and run by tests. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Readline from "node:readline"
import { repository, run, runFolder, temporaryFolder } from "./Require.ts"

/** What building needs of the machine, for `describeWith`. */
export const sdtHeader = "/usr/include/x86_64-linux-gnu/sys/sdt.h"

/** The path of one of the sources. */
export const sourceOf = (name: string): string => Path.join(repository, "test/live/programs", name)

const compile = (args: ReadonlyArray<string>): void => {
  const done = run("cc", ["-O2", "-Wall", "-Wextra", "-Werror", ...args])
  if (done.status !== 0) throw new Error(done.stderr)
}

/** Where virtual machines have the program and its library, which nothing could build there. */
export const prebuilt = "/vm/usdt"

const isPrebuilt = (): boolean => Fs.existsSync(Path.join(prebuilt, "effect_bpf_target"))

/** What groups of tests need for `build`, for `describeWith`. */
export const builtNeeds: { readonly tools: ReadonlyArray<string>; readonly files: ReadonlyArray<string> } = isPrebuilt()
  ? { tools: [], files: [] }
  : { tools: ["cc"], files: [sdtHeader] }

/** What was built. */
export interface Built {
  readonly folder: string
  readonly program: string
  readonly library: string
}

/** Builds the program and its library in a folder of their own. The name is what `usdt_programs.h` attaches to by itself. */
export const build = (flags: ReadonlyArray<string> = []): Built => {
  const inFolder = (folder: string): Built => ({
    folder,
    program: Path.join(folder, "effect_bpf_target"),
    library: Path.join(folder, "libeffect_probes.so.1")
  })
  if (flags.length === 0 && isPrebuilt()) return inFolder(prebuilt)
  return inFolder(runFolder(["usdt", ...flags].join(""), (folder, later) => {
    const { library, program } = inFolder(folder)
    compile(["-shared", "-fPIC", "-Wl,-soname,libeffect_probes.so.1", "-o", library, sourceOf("usdt_library.c")])
    const sources = [sourceOf("usdt_target.c"), sourceOf("usdt_counted.c")]
    compile(["-DWITH_LIBRARY", ...flags, "-o", program, ...sources, library, `-Wl,-rpath,$ORIGIN:${later}`])
  }))
}

/** Builds a program of one file in a folder of its own. */
export const compileTarget = (file: string): string => {
  const program = Path.join(temporaryFolder(), `effect_bpf_target_${Path.basename(file, ".c")}`)
  compile(["-o", program, sourceOf(file)])
  return program
}

/** Builds the program of 32 bits, which has no C library. */
export const compileTarget32 = (): string => {
  const folder = temporaryFolder()
  const program = Path.join(folder, "effect_bpf_target_32")
  const object = `${program}.o`
  const include = Path.dirname(Path.dirname(sdtHeader))
  const flags = ["-ffreestanding", "-fno-stack-protector", "-fno-pic", "-O2", "-Wall", "-Werror", `-I${include}`]
  for (
    const [tool, args] of [
      ["clang", ["-target", "i386-linux-gnu", ...flags, "-c", sourceOf("usdt_32.c"), "-o", object]],
      ["ld", ["-m", "elf_i386", "-o", program, object]]
    ] as const
  ) {
    const done = run(tool, args)
    if (done.status !== 0) throw new Error(done.stderr)
  }
  return program
}

/** A program that did not do what it was started for. */
export class TargetEnded extends Data.TaggedError("TargetEnded")<{ readonly path: string; readonly detail: string }> {}

/** A program that is running. */
export interface Target {
  readonly pid: number
  /** Lets it pass its probes once; answers how often the counted one was passed so far. */
  readonly round: Effect.Effect<number, TargetEnded>
  /** Ends it. */
  readonly stop: Effect.Effect<void>
}

/** Runs a program until the scope closes. */
export const start = (
  path: string,
  args: ReadonlyArray<string> = []
): Effect.Effect<Target, TargetEnded, Scope.Scope> =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => ChildProcess.spawn(path, [...args], { stdio: ["pipe", "pipe", "inherit"] })),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    const waiting: Array<(line: string) => void> = []
    const lines: Array<string> = []
    Readline.createInterface({ input: child.stdout }).on("line", (line) => {
      const next = waiting.shift()
      if (next === undefined) lines.push(line)
      else next(line)
    })
    const exited = new Promise<void>((resolve) => child.once("close", () => resolve()))
    child.once("error", () => undefined)
    const line = Effect.tryPromise({
      try: () =>
        Promise.race([
          new Promise<string>((resolve) => {
            const first = lines.shift()
            if (first === undefined) waiting.push(resolve)
            else resolve(first)
          }),
          exited.then((): never => {
            throw new Error(`${path} has ended`)
          })
        ]),
      catch: (thrown) => new TargetEnded({ path, detail: String(thrown) })
    })
    yield* line
    const { pid } = child
    if (pid === undefined) return yield* new TargetEnded({ path, detail: "it was not started" })
    return {
      pid,
      round: Effect.flatMap(Effect.sync(() => child.stdin.write("\n")), () => Effect.map(line, Number)),
      stop: Effect.promise(async () => {
        child.kill("SIGKILL")
        await exited
      })
    }
  })
