/** The JSON of `gen`. */
import type { MinCoreBtf } from "../../stages/gen/MinCoreBtf.ts"
import type * as Documents from "../schemas/Gen.ts"
import { blobDocument } from "./BtfDocument.ts"

/** What `gen min_core_btf` wrote, and what each object needs. */
export const minCoreBtfDocument = (
  input: string,
  output: string,
  whole: { readonly types: number; readonly bytes: number },
  { btf, objects, origins }: MinCoreBtf
): typeof Documents.MinCoreBtf.Type => ({
  input,
  output: blobDocument(output, btf),
  types: { before: whole.types, after: btf.offsets.length },
  bytes: { before: whole.bytes, after: btf.bytes.length },
  modules: [...new Set(origins.flatMap(({ module }) => module ?? []))],
  objects: objects.map(({ name, problems, records, typeIds }) => ({
    path: name,
    relocations: records,
    target_type_ids: typeIds,
    problems: problems.map(({ error, section }) => ({
      section,
      record: error.record ?? null,
      insn: error.slot ?? null,
      kind: error.kind ?? null,
      path: error.path ?? null,
      reason: error.reason,
      error: error.detail
    }))
  }))
})
