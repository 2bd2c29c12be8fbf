/** Generated TypeScript skeletons in a folder of their own, with the packages of this repository beside them. */
import { spawnSync } from "node:child_process"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Result from "effect/Result"
import * as Open from "../../src/stages/open/Open.ts"
import * as SkeletonTs from "../../src/stages/gen/SkeletonTs.ts"
import { repository, temporaryFolder } from "./Require.ts"

/** The runtime's source, for modules that are imported here. */
export const runtime: string = Path.join(repository, "src/skeleton.ts")

/** The skeleton of an object; `undefined` where there is none of it: it cannot be opened. */
export const textOf = (bytes: Uint8Array, file: string, name = SkeletonTs.nameOfFile(file)) => {
  const opened = Open.fromBytes(bytes, { path: file })
  return Result.isFailure(opened)
    ? undefined
    : SkeletonTs.make(opened.success, { name, runtime, source: { _tag: "Embedded", bytes } })
}

/** A new folder in which packages are found. */
export const folder = (): string => {
  const made = Fs.mkdtempSync(Path.join(temporaryFolder(), "skeleton-"))
  Fs.symlinkSync(Path.join(repository, "node_modules"), Path.join(made, "node_modules"))
  Fs.writeFileSync(Path.join(made, "package.json"), "{ \"type\": \"module\" }")
  return made
}

/** Options of the compiler that a user may have switched on beside `strict`. */
export interface Strictness {
  readonly exactOptionalPropertyTypes?: boolean
  readonly noUncheckedIndexedAccess?: boolean
}

/** What the compiler says of the modules in a folder under `strict`; nothing where all is well. */
export const complaints = (folder: string, strictness: Strictness = {}): string => {
  const compilerOptions = {
    target: "ES2024",
    lib: ["ES2024"],
    module: "NodeNext",
    moduleResolution: "NodeNext",
    types: ["node"],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
    allowImportingTsExtensions: true,
    erasableSyntaxOnly: true,
    verbatimModuleSyntax: true,
    isolatedModules: true,
    // The library's own sources are written for these, which only says more of them.
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    ...strictness
  }
  const file = Path.join(folder, "tsconfig.json")
  Fs.writeFileSync(file, JSON.stringify({ compilerOptions, include: ["*.ts"] }))
  const tsc = Path.join(repository, "node_modules/typescript/bin/tsc")
  const done = spawnSync(process.execPath, [tsc, "-p", file, "--pretty", "false"], { encoding: "utf8" })
  return `${done.stdout}${done.stderr}`
}

/** Where a text has `any` or `unknown` for a type; properties of that name are none. */
export const loose = (text: string): ReadonlyArray<string> => {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\/|"(?:[^"\\]|\\.)*"/g, "")
  return code.match(/\w*(?::|<|,|\||=|&|\bas)\s*(?:any|unknown)\b(?!\??:)>?/g) ?? []
}
