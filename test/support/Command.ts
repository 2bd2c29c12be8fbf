/**
 * The command as it is shipped, for tests that start it often: reading its sources anew takes most of a second each time.
 */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { check } from "./Documents.ts"
import { repository, type Run, run as runTool, runFolder } from "./Require.ts"

let bundled: string | undefined

/**
 * A script for Node that is the whole command, bundled from the sources when it is first asked for. Where there is nothing to
 * bundle with, as in virtual machines, what stands in the place of the sources.
 */
export const command = (): string => {
  if (bundled !== undefined) return bundled
  const source = Path.join(repository, "src/bin.ts")
  const tool = Path.join(repository, "tools/bundle.mjs")
  if (!Fs.existsSync(tool)) return bundled = source
  const folder = runFolder("command", (folder) => {
    // koffi stays outside of the bundle.
    Fs.symlinkSync(Path.join(repository, "node_modules"), Path.join(folder, "node_modules"))
    const done = ChildProcess.spawnSync(process.execPath, [tool, source, folder], { encoding: "utf8" })
    if (done.status !== 0) throw new Error(`${tool}: ${done.stderr}`)
  })
  return bundled = Path.join(folder, "effect-bpf.js")
}

/** Runs the command as a process. A document that is not as the command's schema says is thrown. */
export const run = (args: ReadonlyArray<string>, options?: Parameters<typeof runTool>[2]): Run =>
  check(args, runTool(process.execPath, [command(), ...args], options))
