/**
 * Split BTF moved from its distilled base onto a real one.
 *
 * The types of a distilled base are found again by name, kind and size; then every id and string offset of the split
 * blob is renumbered for the new base. Whether the members of a type are still where they were is not looked at: that
 * is for CO-RE, or for the compiler that builds a module.
 *
 * ```ts
 * const base = Btf.parse(sections.btfBase)
 * const split = Btf.parse(sections.btf, { base })
 * const relocated = relocate(split, vmlinux)
 * if (Result.isFailure(relocated)) console.error(relocated.failure.message)
 * ```
 *
 * Source: reference page `split-relocate`, sections 3 and 4.
 */
import type * as Result from "effect/Result"
import { attempt } from "../internal/attempt.ts"
import type { BtfError } from "./BtfError.ts"
import { isBtfError } from "./BtfError.ts"
import type { BtfExt } from "./BtfExt.ts"
import { forEachString as forEachExtString, remapped } from "./BtfExtFields.ts"
import { forEachString, forEachTypeId } from "./BtfFields.ts"
import { assembled, imageOf, requireKnownKinds, requireWritable } from "./BtfImage.ts"
import type { Btf } from "./BtfModel.ts"
import { nameOffsetOf } from "./BtfModel.ts"
import type { RelocateMismatch } from "./BtfRelocateError.ts"
import { BtfRelocateError, isBtfRelocateError, MAX_MISMATCHES } from "./BtfRelocateError.ts"
import type { Report } from "./BtfRelocateMatch.ts"
import { checkDistilled, markEmbedded, match } from "./BtfRelocateMatch.ts"
import * as BtfStrings from "./BtfStrings.ts"

export { BtfRelocateError, mismatchText } from "./BtfRelocateError.ts"
export type { RelocateCandidate, RelocateMismatch } from "./BtfRelocateError.ts"

/** What `relocate` answers. */
export interface Relocated {
  /** The split BTF over the new base: the same own types in their order, in the byte order that they had. */
  readonly btf: Btf
  /** The `.BTF.ext` that was given, for `btf`. */
  readonly ext: BtfExt | undefined
  /** New id by old id: of the types of the distilled base the ids in the new one, then those of the own types. */
  readonly map: Uint32Array
}

/** Options of `relocate`. */
export interface RelocateOptions {
  /** A `.BTF.ext` of the split BTF, to be renumbered with it. */
  readonly ext?: BtfExt | undefined
}

/**
 * Moves `split` from its distilled base onto `base`, which may itself be split.
 *
 * - an INT or FLOAT stands for one of the same name and size, an INT also of the same encoding
 * - an ENUM stands for an ENUM or ENUM64 of the same name and size
 * - a STRUCT or UNION stands for one of the same kind and name. The size must be the same where a type of `split`
 *   contains it, and where the new base has several of this kind and name. Where it is not contained, and nothing of its
 *   kind fits, it may be a FWD there
 * - a FWD stands for a FWD of the same sort, and where there is none for a struct or union that is the only one
 *
 * This is what libbpf does but for three faults: libbpf lets a STRUCT become anything that has its name, reads whether a
 * FWD is a union from the wrong type, and takes a struct beside its own forward declaration for two candidates.
 *
 * Fails with a `BtfRelocateError` that lists all types without a counterpart, or with a `BtfError` where `split` has
 * what this library does not know. Time and memory are in proportion to `split` and `base`.
 */
export const relocate = (
  split: Btf,
  base: Btf,
  options: RelocateOptions = {}
): Result.Result<Relocated, BtfRelocateError | BtfError> =>
  attempt(isRelocateFailure, () => relocated(split, base, options.ext))

const isRelocateFailure = (thrown: unknown): thrown is BtfRelocateError | BtfError =>
  isBtfRelocateError(thrown) || isBtfError(thrown)

const relocated = (split: Btf, base: Btf, ext: BtfExt | undefined): Relocated => {
  const distilled = split.base
  if (distilled === undefined) {
    throw refused("this BTF is not split, and only split BTF can be moved to another base", {
      hint: "parse it with its distilled base, the section .BTF.base"
    })
  }
  if (distilled === base) throw refused("the new base is the base that the split BTF has", {})
  requireWritable(split)
  requireKnownKinds(split)
  const unfit = list((report) => checkDistilled(distilled, report))
  if (unfit.count > 0) {
    throw new BtfRelocateError({
      reason: "BadBase",
      detail: "the base of the split BTF is not a distilled one",
      mismatches: unfit.listed,
      mismatchCount: unfit.count,
      hint: "split BTF over a whole kernel's has to be distilled with that kernel's BTF first"
    })
  }
  let matched: Uint32Array = new Uint32Array(0)
  const unmatched = list((report) => {
    matched = match(distilled, base, markEmbedded(split), report)
  })
  if (unmatched.count > 0) {
    throw new BtfRelocateError({
      reason: "Mismatch",
      detail: "the new base lacks types that the split BTF needs",
      mismatches: unmatched.listed,
      mismatchCount: unmatched.count,
      hint: "the split BTF was built for a kernel with other types: build it again for this one"
    })
  }
  return rewrite(split, distilled, base, ext, matched)
}

const refused = (detail: string, { hint }: { readonly hint?: string }): BtfRelocateError =>
  new BtfRelocateError({
    reason: "Arguments",
    detail,
    mismatches: [],
    mismatchCount: 0,
    ...(hint === undefined ? {} : { hint })
  })

/** Collects what is reported, up to what an error lists. */
const list = (
  find: (report: Report) => void
): { readonly count: number; readonly listed: ReadonlyArray<RelocateMismatch> } => {
  const listed: Array<RelocateMismatch> = []
  let count = 0
  find((make) => {
    if (count++ < MAX_MISMATCHES) listed.push(make())
  })
  return { count, listed }
}

/** The split BTF over the new base, when it is known what becomes of each type of the distilled one. */
const rewrite = (split: Btf, distilled: Btf, base: Btf, ext: BtfExt | undefined, matched: Uint32Array): Relocated => {
  const { littleEndian } = split.internal
  const map = new Uint32Array(split.endId)
  map.set(matched)
  for (let id = split.firstId; id < split.endId; id++) map[id] = id - split.firstId + base.endId

  const image = imageOf(split)
  const strings = BtfStrings.make({ base, initial: image.strings })
  const moveBy = base.stringsStart + base.stringsLength - split.stringsStart
  const names = new Map<number, number>()
  for (let id = 1; id < distilled.endId; id++) {
    names.set(nameOffsetOf(distilled, id), nameOffsetOf(base, matched[id] ?? 0))
  }
  /** A string of the distilled base that is no type's name is looked for in the new one, or becomes an own string. */
  const moveString = (offset: number): number => {
    if (offset === 0) return 0
    if (offset >= split.stringsStart) return offset + moveBy
    const known = names.get(offset)
    if (known !== undefined) return known
    const added = strings.addFrom(distilled, offset)
    names.set(offset, added)
    return added
  }
  const types = image.types.slice()
  const view = new DataView(types.buffer)
  const start = split.typesOffset
  forEachTypeId(split, (offset, id) => view.setUint32(offset - start, map[id] ?? 0, littleEndian))
  forEachString(split, (offset, value) => view.setUint32(offset - start, moveString(value), littleEndian))
  if (ext !== undefined) forEachExtString(ext, (_offset, value) => moveString(value))
  const btf = assembled({ ...image, base, types, strings: strings.content() })
  return { btf, ext: ext === undefined ? undefined : remapped(ext, btf, (id) => map[id] ?? 0, moveString), map }
}
