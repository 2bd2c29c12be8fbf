/**
 * Opens object files and changes them: pure functions of the stages, with failures thrown.
 */
import * as Result from "effect/Result"
import * as Fs from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { mapTypeName, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import { ElfLimits } from "../../services/Elf/ElfModel.ts"
import { FileReadError } from "../../services/Elf/ElfService.ts"
import { type BpfObject, entryPrograms } from "../../stages/open/BpfObject.ts"
import * as Edit from "../../stages/open/Edit.ts"
import * as Open from "../../stages/open/Open.ts"
import { variables } from "../../stages/open/Variables.ts"
import type { Changes, Opened, OpenOptions, Source } from "../Opened.ts"
import { load } from "./Loading.ts"

/** A success, or the failure thrown. */
const orThrow = <A, E>(result: Result.Result<A, E>): A => {
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

const edited = (object: BpfObject, changes: Changes): BpfObject => {
  const { globals = {}, maps = {}, only, programs = {} } = changes
  const edits: ReadonlyArray<(object: BpfObject) => Result.Result<BpfObject, Edit.EditError>> = [
    ...Object.entries(maps).map(([name, change]) => (changed: BpfObject) => Edit.setMap(changed, name, change)),
    ...Object.entries(globals).map(([name, value]) => (changed: BpfObject) => Edit.setVariable(changed, name, value)),
    ...Object.entries(programs).map(([name, change]) => (changed: BpfObject) => Edit.setProgram(changed, name, change)),
    ...(only === undefined ? [] : [(changed: BpfObject) => Edit.loadOnly(changed, only)])
  ]
  return edits.reduce((changed, edit) => orThrow(edit(changed)), object)
}

const handle = (object: BpfObject): Opened => ({
  name: object.name,
  programs: entryPrograms(object).map(({ autoload, insns, name, section, type }) => ({
    name,
    section,
    type: progTypeName(type),
    instructions: insns.length / 8,
    autoload
  })),
  maps: object.maps.map(({ attr, name }) => ({
    name,
    type: mapTypeName(attr.type),
    keySize: attr.keySize,
    valueSize: attr.valueSize,
    maxEntries: attr.maxEntries
  })),
  variables: variables(object).map(({ name, section, size }) => ({ name, section, size })),
  edit: (changes) => handle(edited(object, changes)),
  global: (name) => orThrow(Edit.getVariable(object, name)),
  load: async ({ kernel, signal, token, ...changes } = {}) =>
    load(edited(object, changes), {
      kernel: kernel ?? "live",
      ...(signal === undefined ? {} : { signal }),
      ...(token === undefined ? {} : { token })
    })
})

const reasons: Readonly<Record<string, FileReadError["reason"]>> = {
  ENOENT: "NotFound",
  ENOTDIR: "NotFound",
  EACCES: "PermissionDenied",
  EPERM: "PermissionDenied"
}

const read = async (path: string, signal: AbortSignal | undefined): Promise<Uint8Array> => {
  try {
    // Looked at first, as the service of the library does: a pipe would never end, and a device has no end.
    const found = await Fs.stat(path)
    if (!found.isFile()) throw new FileReadError({ path, reason: "NotAFile" })
    if (found.size > ElfLimits.fileBytes) throw new FileReadError({ path, reason: "TooLarge", size: found.size })
    return await Fs.readFile(path, signal === undefined ? {} : { signal })
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof FileReadError) throw error
    const code = error instanceof Error && "code" in error ? String(error.code) : ""
    const reason = reasons[code] ?? "Io"
    throw new FileReadError({ path, reason, ...(reason === "Io" ? { detail: String(error) } : {}) })
  }
}

/** Opens an object file. */
export const open = async (source: Source, { signal, ...options }: OpenOptions = {}): Promise<Opened> => {
  signal?.throwIfAborted()
  if (source instanceof Uint8Array) return handle(orThrow(Open.fromBytes(source, options)))
  const path = source instanceof URL ? fileURLToPath(source) : source
  return handle(orThrow(Open.fromBytes(await read(path, signal), { ...options, path })))
}
