/**
 * Opens a BPF object: from the bytes of an object file to immutable data that says what is in it.
 *
 * No kernel is asked, no file is read, no descriptor exists. What libbpf does in its open phase happens here, in the same
 * order: sections, programs, externs, the object's BTF, maps, SEC() definitions, relocation records.
 */
import * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Btf from "../../btf/Btf.ts"
import * as BtfEdit from "../../btf/BtfEdit.ts"
import { type BtfError, isBtfError } from "../../btf/BtfError.ts"
import * as BtfExt from "../../btf/BtfExt.ts"
import { attempt } from "../../internal/attempt.ts"
import * as Elf from "../../services/Elf/Elf.ts"
import { Elf as ElfService, type FileReadError } from "../../services/Elf/ElfService.ts"
import * as Stage from "../Stage.ts"
import { type BpfObject, functionAt, type Program } from "./BpfObject.ts"
import * as Arena from "./Arena.ts"
import * as DataMaps from "./DataMaps.ts"
import * as Datasecs from "./Datasecs.ts"
import * as Externs from "./Externs.ts"
import * as LegacyMaps from "./LegacyMaps.ts"
import * as MapDefinitions from "./MapDefinitions.ts"
import { isOpenError, OpenError } from "./OpenError.ts"
import { objectName, type OpenOptions } from "./OpenOptions.ts"
import * as Programs from "./Programs.ts"
import * as Relocations from "./Relocations.ts"
import * as Sections from "./Sections.ts"
import * as Slots from "./Slots.ts"
import * as StructOpsMaps from "./StructOpsMaps.ts"

export * from "./BpfObject.ts"
export { OpenError } from "./OpenError.ts"
export type { OpenOptions } from "./OpenOptions.ts"

/** Why an object cannot be opened: the file, its BTF, or what it says as a BPF object. */
export type OpenFailure = Elf.ElfError | BtfError | OpenError

const isOpenFailure = (thrown: unknown): thrown is OpenFailure =>
  isOpenError(thrown) || isBtfError(thrown) || thrown instanceof Elf.ElfError

const unwrap = <A, E extends Error>(result: Result.Result<A, E>): A => {
  if (result._tag === "Failure") throw result.failure
  return result.success
}

/** The object's BTF and what goes with it. An object that needs none may have a damaged one, which is noted. */
const readBtf = (
  sections: Sections.Sections,
  notes: Array<string>
): { readonly btf: Btf.Btf | undefined; readonly btfExt: BtfExt.BtfExt | undefined } => {
  const needed = sections.maps !== undefined || sections.structOps.length > 0
  if (sections.btf === undefined) {
    if (needed) {
      throw new OpenError({
        reason: "MissingBtf",
        section: sections.maps?.name ?? sections.structOps[0]?.name ?? "",
        detail: "the object has no .BTF section, which says what this section means",
        hint: "compile with `-g`, and strip with `llvm-strip -g` only"
      })
    }
    return { btf: undefined, btfExt: undefined }
  }
  const btf = Btf.parse(sections.btf.data, { pointerSize: 8 })
  if (btf._tag === "Failure") {
    if (needed || Externs.areThere(sections.symbols)) throw btf.failure
    notes.push(`the object's BTF is damaged and was left out: ${btf.failure.message}`)
    return { btf: undefined, btfExt: undefined }
  }
  if (sections.btfExt === undefined) return { btf: btf.success, btfExt: undefined }
  const btfExt = BtfExt.parse(sections.btfExt.data, btf.success)
  if (btfExt._tag === "Failure") {
    if (needed) throw btfExt.failure
    notes.push(`.BTF.ext is damaged and was left out: ${btfExt.failure.message}`)
    return { btf: btf.success, btfExt: undefined }
  }
  return { btf: btf.success, btfExt: btfExt.success }
}

/** The BTF as the kernel wants it: sizes and offsets filled in, externs and hidden functions rewritten. */
const patchBtf = (
  file: Elf.ElfFile,
  symbols: Elf.SymbolTable,
  btf: Btf.Btf,
  externs: Externs.Externs,
  programs: ReadonlyArray<Program>
): Btf.Btf => {
  const editor = BtfEdit.edit(btf)
  Externs.rewrite(btf, editor, externs.externs)
  Datasecs.complete(file, symbols, btf, editor)
  Datasecs.hideFunctions(btf, editor, programs)
  return unwrap(editor.finish())
}

/** Every function that another one calls or takes the address of, by its position. */
const calledFunctions = (programs: ReadonlyArray<Program>): ReadonlySet<Program> => {
  const called = new Set<Program>()
  for (const program of programs) {
    for (const relocation of program.relocations) {
      if (relocation._tag !== "Call" && relocation._tag !== "Function") continue
      const position = functionAt(programs, relocation.section, relocation.slot)
      const callee = position === undefined ? undefined : programs[position]
      if (callee !== undefined && callee !== program) called.add(callee)
    }
  }
  return called
}

const openFile = (file: Elf.ElfFile, name: string, options: OpenOptions): BpfObject => {
  const sections = Sections.collect(file)
  const { byteOrder } = file.header
  const notes = [...sections.notes]
  const bare = Programs.collect(sections, byteOrder, options)
  const raw = readBtf(sections, notes)
  const externs = Externs.collect(file, sections.symbols, raw.btf)
  const btf = raw.btf === undefined ? undefined : patchBtf(file, sections.symbols, raw.btf, externs, bare)
  const maps = Arena.withGlobals(sections.arena, [
    ...LegacyMaps.collect(sections, byteOrder, options),
    ...(sections.maps === undefined || btf === undefined ? [] : MapDefinitions.collect(sections.maps, btf, options)),
    ...DataMaps.collect(name, sections, btf),
    ...DataMaps.kconfigMap(name, externs.externs, btf),
    ...(btf === undefined ? [] : StructOpsMaps.collect(sections, btf))
  ])
  const context: Relocations.Context = { file, sections, programs: bare, maps, externs, btf }
  const relocated = Relocations.ofPrograms(context)
  const called = calledFunctions(relocated.programs)
  const programs = Programs.markCallees(relocated.programs, (program) => called.has(program))
  const filled = { ...context, programs }
  return {
    name,
    byteOrder,
    license: sections.license,
    kernelVersion: sections.version,
    programs,
    maps: Slots.ofStructOps(filled, Slots.ofMaps(filled)),
    externs: externs.externs,
    btf,
    btfExt: raw.btfExt,
    notes: [...notes, ...relocated.notes]
  }
}

/**
 * Opens an object that is parsed already. `path`, where there is one, gives the object its name. Keeps views of the
 * file's bytes, which must not change afterwards.
 */
export const fromElf = (
  file: Elf.ElfFile,
  options: OpenOptions & { readonly path?: string } = {}
): Result.Result<BpfObject, OpenFailure> =>
  attempt(isOpenFailure, () => openFile(file, objectName(options, options.path), options))

/** Opens the bytes of an object file. */
export const fromBytes = (
  bytes: Uint8Array,
  options: OpenOptions & { readonly path?: string } = {}
): Result.Result<BpfObject, OpenFailure> =>
  attempt(isOpenFailure, () => openFile(unwrap(Elf.parse(bytes)), objectName(options, options.path), options))

/** The stage: opens the bytes of an object file. */
export const open = (
  options: OpenOptions & { readonly path?: string } = {}
): Stage.Stage<Uint8Array, BpfObject, OpenFailure> =>
  Stage.make("open", (bytes) => Effect.fromResult(fromBytes(bytes, options)))

/** The stage: reads an object file by its path through the Elf service, and opens it. The path gives the object its name. */
export const openPath = (
  options: OpenOptions = {}
): Stage.Stage<string, BpfObject, OpenFailure | FileReadError, ElfService> =>
  Stage.make("open", (path) =>
    Effect.gen(function*() {
      const elf = yield* ElfService
      const file = yield* elf.open(path)
      return yield* Effect.fromResult(fromElf(file, { ...options, path }))
    }))
