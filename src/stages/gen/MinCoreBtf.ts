/**
 * The BTF that objects need of a kernel: of its megabytes the few types that their CO-RE records look at.
 *
 * ```ts
 * const kernel = Core.target(Result.getOrThrow(Btf.parse(vmlinux)))
 * const { btf } = Result.getOrThrow(MinCoreBtf.make(kernel, [{ name: "firewall.bpf.o", btf: object.btf, ext: object.btfExt }]))
 * writeFileSync("6.1.0-47-cloud-amd64.btf", btf.bytes)
 * ```
 *
 * A kernel that was built without BTF has none to relocate against; this is small enough to be brought along for each such
 * kernel, and is then given to the loader in the place of the kernel's. Relocating the objects against it comes to what
 * relocating against the whole comes to: the same instructions, the same candidates with the same answers.
 *
 * - Ids of the kernel's types, which `bpf_core_type_id_kernel` asks for, are those of this BTF: the kernel does not know
 *   them, and `kernelId` tells which is meant. (A kernel without BTF has no ids at all.) They stay different from 0 where
 *   the type exists.
 * - What programs attach to, kfuncs, typed ksyms and struct_ops are looked for in the running kernel's own BTF by a loader,
 *   and are not part of it.
 * - Modules' types that records depend on come into the same blob, since loaders do not look at modules where they are given
 *   BTF. Where that would let a module's type be taken for the kernel's own, it is refused.
 *
 * It contains all that `bpftool gen min_core_btf` writes. Different from that: all candidates are recorded and not the first
 * that matches, and what others are refused for, so that no record comes to something else; tags of types and declarations
 * stay; declarations of structs are no error; comparing types that contain themselves ends; the size of pointers stays
 * known; a record that cannot be applied is told and leaves the others theirs; the byte order is the kernel's.
 *
 * Source: reference page `btf-dump`, section I.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Btf from "../../btf/Btf.ts"
import { BtfError } from "../../btf/BtfError.ts"
import type { BtfExt } from "../../btf/BtfExt.ts"
import * as BtfSubset from "../../btf/BtfSubset.ts"
import { attempt } from "../../internal/attempt.ts"
import * as Core from "../relocate/core/Core.ts"

/** The objects and the kernel do not go together, or cannot be put into one blob. */
export class MinCoreBtfError extends Schema.TaggedError<MinCoreBtfError>()("MinCoreBtfError", {
  reason: Schema.Literals([
    /** An object without `.BTF.ext`, which would have the records. */
    "NoRecords",
    /** The records of an object cannot be read, or are of the other byte order. */
    "BadRecords",
    /** A module's type would be taken for the kernel's own. */
    "ModuleConflict",
    /** The kernel's pointers are not as large as its BTF alone says. */
    "PointerSize"
  ]),
  /** The object that it is about. */
  object: Schema.optionalKey(Schema.String),
  /** The module that it is about. */
  module: Schema.optionalKey(Schema.String),
  /** What is wrong, as a clause. */
  detail: Schema.String,
  /** What to do about it. */
  hint: Schema.optionalKey(Schema.String)
}) {
  override get message(): string {
    const about = this.object ?? this.module
    const hint = this.hint === undefined ? "" : `\nhint: ${this.hint}`
    return `${about === undefined ? "" : `${about}: `}${this.detail}${hint}`
  }
}

/** An object's types and records. */
export interface MinCoreObject {
  /** For errors and answers: its path, say. */
  readonly name: string
  readonly btf: Btf.Btf
  /** Of the same BTF. */
  readonly ext: BtfExt | undefined
}

/** What was found of one object. */
export interface ObjectNeeds {
  readonly name: string
  readonly records: number
  /** How many of the records ask for ids of the kernel's types. */
  readonly typeIds: number
  /**
   * Those that cannot be applied on this kernel, and in which ELF section; that is so against the result, too. Of those that
   * ask the same the first is told. `error.record` counts over all sections, `error.slot` in the section.
   */
  readonly problems: ReadonlyArray<{ readonly section: string; readonly error: Core.CoreError }>
}

/** Where a type is from. */
export interface KernelType {
  /** The module that has it; `undefined` for the kernel itself. */
  readonly module: string | undefined
  /** In the kernel's, or the module's, ids. */
  readonly id: number
}

/** The BTF that objects need of a kernel. */
export interface MinCoreBtf {
  /** A blob without a base, in the kernel's byte order. */
  readonly btf: Btf.Btf
  /** Where its types are from: entry `id - 1` is of type `id`. */
  readonly origins: ReadonlyArray<KernelType>
  readonly objects: ReadonlyArray<ObjectNeeds>
}

/** Which type of the kernel the type `id` of the result is; `undefined` for `void` and ids that it does not have. */
export const kernelId = (minimal: MinCoreBtf, id: number): KernelType | undefined => minimal.origins[id - 1]

const isError = (thrown: unknown): thrown is MinCoreBtfError | BtfError =>
  thrown instanceof MinCoreBtfError || thrown instanceof BtfError

/**
 * The BTF that these objects need of the kernel that `target` describes.
 *
 * `MinCoreBtfError` for an object without `.BTF.ext` or of the other byte order, and for module types that cannot be in one
 * blob with the kernel's. `BtfError`, reason `UnknownKind`, where a type is needed that this library cannot copy. A record
 * that cannot be applied is no error: see `ObjectNeeds.problems`.
 */
export const make = (
  target: Core.CoreTarget,
  objects: ReadonlyArray<MinCoreObject>
): Result.Result<MinCoreBtf, MinCoreBtfError | BtfError> => attempt(isError, () => made(target, objects))

const made = (target: Core.CoreTarget, objects: ReadonlyArray<MinCoreObject>): MinCoreBtf => {
  const growing = Core.beginFootprint()
  const needs = objects.map((object) => note(growing, target, object))
  const { blobs, conflicts } = Core.endFootprint(growing, target)
  const [conflict] = conflicts
  if (conflict !== undefined) {
    throw new MinCoreBtfError({
      reason: "ModuleConflict",
      module: conflict.module,
      detail: `the objects need its ${conflict.typeName}, and look for a type of this name in the kernel`,
      hint: "make the BTF for the objects that need the kernel's type and for those that need the module's apart"
    })
  }
  const modules = new Map(target.modules.map(({ btf, name }) => [btf, name]))
  const chain = [target.base]
  for (let blob = target.base.base; blob !== undefined; blob = blob.base) chain.unshift(blob)
  const order = [...new Set([...chain, ...modules.keys()])]
  // A blob of no types has the kernel's byte order, too.
  const subset = BtfSubset.subset(order.map((btf) => ({ btf, types: blobs.get(btf) ?? new Map() })))
  if (Result.isFailure(subset)) throw subset.failure
  const { btf, origins } = subset.success
  requirePointerSize(btf, target.base)
  return {
    btf,
    origins: origins.map(({ btf, id }) => ({ module: modules.get(btf), id })),
    objects: needs
  }
}

/** Bytes of the known fields of a record. */
const RECORD_SIZE = 16

/** The kind of records that ask for ids. */
const TARGET_TYPE_ID = Core.kindNames.indexOf("target_type_id")

const note = (
  growing: Core.GrowingFootprint,
  target: Core.CoreTarget,
  { btf, ext, name }: MinCoreObject
): ObjectNeeds => {
  if (ext === undefined) {
    throw new MinCoreBtfError({
      reason: "NoRecords",
      object: name,
      detail: "has no .BTF.ext, and so no CO-RE relocations",
      hint: "a BPF object file is expected, as clang -target bpf -g -O2 -c makes it"
    })
  }
  const { recordSize, sections } = ext.coreRelocations ?? { recordSize: RECORD_SIZE, sections: [] }
  // All at once: what sections share is looked at once, and the bound on the work is the object's.
  const records = new Uint8Array(sections.reduce((size, section) => size + section.records.length, 0))
  const names: Array<string> = []
  let end = 0
  for (const section of sections) {
    records.set(section.records, end)
    end += section.records.length
    for (let index = 0; index < section.count; index++) names.push(section.section)
  }
  const noted = Core.note(growing, { recordSize, records }, btf, target)
  if (Result.isFailure(noted)) {
    const { detail, hint } = noted.failure
    const withHint = hint === undefined ? {} : { hint }
    throw new MinCoreBtfError({ reason: "BadRecords", object: name, detail, ...withHint })
  }
  const view = new DataView(records.buffer)
  let typeIds = 0
  for (let at = 0; at < records.length; at += recordSize) {
    if (view.getUint32(at + 12, ext.byteOrder === "little") === TARGET_TYPE_ID) typeIds++
  }
  const problems = noted.success.map((error) => ({ section: names[error.record ?? 0] ?? "", error }))
  return { name, records: names.length, typeIds, problems }
}

/** Refuses BTF whose pointers readers would take for larger or smaller ones than they are. */
const requirePointerSize = (btf: Btf.Btf, kernel: Btf.Btf): void => {
  if (Btf.pointerSize(btf) === Btf.pointerSize(kernel) || Btf.idsOfKind(btf, Btf.BTF_KIND_PTR).length === 0) return
  throw new MinCoreBtfError({
    reason: "PointerSize",
    detail: `the kernel has pointers of ${Btf.pointerSize(kernel)} bytes, and no type called long that says so`
  })
}
