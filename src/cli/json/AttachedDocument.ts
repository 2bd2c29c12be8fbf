/**
 * What `trace` has attached, as data: `attached` with `program`, `kind`, `target`, `means` and `link_id` (`null` where no link
 * attaches it), `skipped` with `program`, `section` and `because`.
 */
import type { Attached } from "../../attach/Attach.ts"
import type * as Documents from "../schemas/Trace.ts"

/** The document. `ids` are the identifiers of the links, by what they attach. */
export const attachedJson = (
  { links, skipped }: Attached,
  ids: ReadonlyMap<string, number>
): typeof Documents.Attached.Type => ({
  attached: [...links].map(([name, { kind, means, target }]) => ({
    program: name,
    kind,
    target,
    means,
    link_id: ids.get(name) ?? null
  })),
  skipped: skipped.map(({ because, name, section }) => ({ program: name, section, because }))
})
