/** The JSON of `btf dedup`, `btf distill`, `btf relocate` and `btf diff`. `btf dump` has bpftool's. */
import type { Btf } from "../../btf/Btf.ts"
import type { DedupReport } from "../../btf/BtfDedup.ts"
import type * as BtfDiff from "../../btf/BtfDiff.ts"
import type * as Documents from "../schemas/Btf.ts"
import type { Json, Keys } from "./Json.ts"

/** A blob that was written. */
export const blobDocument = (path: string, btf: Btf): typeof Documents.Blob.Type => ({
  path,
  bytes: btf.bytes.length,
  types: btf.offsets.length,
  byte_order: btf.byteOrder,
  base_types: btf.base === undefined ? null : btf.firstId - 1
})

/** What dedup did. */
export const dedupDocument = (
  inputs: ReadonlyArray<string>,
  output: string,
  btf: Btf,
  report: DedupReport
): typeof Documents.Dedup.Type => ({
  inputs: [...inputs],
  output: blobDocument(output, btf),
  types: { before: report.types.before, after: report.types.after },
  bytes_strings: { before: report.strings.before, after: report.strings.after },
  forwards_resolved: report.forwardsResolved,
  survivor_count: report.survivorCount,
  survivors: report.survivors.map(({ beside, difference, id, reason }) => ({
    id,
    beside,
    reason,
    difference: difference === undefined ? null : [...difference]
  })),
  exhausted: report.exhausted
})

const typeAt = ({ first, id, kind, name }: BtfDiff.TypeAt): typeof Documents.TypeAt.Type => ({
  kind,
  name: name === "" ? "(anon)" : name,
  id,
  ...(first === undefined ? {} : { first })
})

/** Keys of the library in the manner of bpftool's. */
const keys: Readonly<Record<string, string>> = {
  bitOffset: "bits_offset",
  bitfieldSize: "bitfield_size",
  newPath: "new_path",
  newName: "new_name"
}

const snakeCase = (tag: string): string => tag.replaceAll(/(?<=[a-z])[A-Z]/g, "_$&").toLowerCase()

const fieldJson = (value: unknown): Json => {
  if (typeof value === "bigint") return value.toString()
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return value
  if (Array.isArray(value)) return value.map(fieldJson)
  if (typeof value === "object" && value !== null) return fieldsJson(value)
  return null
}

const fieldsJson = (fields: object): { readonly [key: string]: Json } =>
  Object.fromEntries(Object.entries(fields).map(([key, value]) => [keys[key] ?? key, fieldJson(value)]))

const changeDocument = ({ _tag, ...fields }: BtfDiff.Change): Json => ({
  change: snakeCase(_tag),
  ...fieldsJson(fields)
})

const typeChange = (change: BtfDiff.TypeChange): Json => ({
  ...fieldsJson(change.before),
  name: change.before.name === "" ? "(anon)" : change.before.name,
  new_id: change.after.id,
  changes: change.changes.map(changeDocument),
  breaks: change.breaks.map(({ now, path, why }) => ({ path, why, now: now ?? null })),
  embedded_in: [...change.embeddedIn],
  embedded_in_more: change.embeddedInMore,
  incomplete: change.incomplete
})

/** A difference. */
export const diffDocument = (
  before: string,
  after: string,
  difference: BtfDiff.Difference
): Keys<typeof Documents.Diff.Type> => ({
  before,
  after,
  compared: { ...difference.compared },
  removed: difference.removed.map(typeAt),
  added: difference.added.map(typeAt),
  changed: difference.changed.map(typeChange),
  ambiguous: difference.ambiguous.map(({ after, before, kind, name }) => ({
    kind,
    name,
    before: [...before],
    after: [...after]
  }))
})
