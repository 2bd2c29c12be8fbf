/**
 * Runs once before all test files of a run, and once after them: makes the folder that they share, and removes it.
 */
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { runFolderVariable } from "./Require.ts"

/** Makes the folder; what is answered removes it. */
export default (): () => void => {
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-bpf-run-"))
  Fs.chmodSync(folder, 0o755)
  process.env[runFolderVariable] = folder
  return () => Fs.rmSync(folder, { recursive: true, force: true })
}
