/**
 * The text of what `trace` has attached.
 */
import type { Attached } from "../../attach/Attach.ts"
import { clip } from "./Clip.ts"
import { blank, type Line, line, span, table, wrapped } from "./Text.ts"

/** A table of what is attached, and what is not. `ids` are the identifiers of the links, by what they attach. */
export const attachedText = (
  { links, skipped }: Attached,
  ids: ReadonlyMap<string, number>
): ReadonlyArray<Line> => [
  ...(links.size === 0 ? [] : table(
    ["program", "kind", "attached to", "by"],
    [...links].map(([name, { kind, means, target }]) => {
      const id = ids.get(name)
      return [span("name", clip(name)), kind, clip(target), id === undefined ? means : `link ${id}`]
    })
  )),
  ...(links.size === 0 || skipped.length === 0 ? [] : [blank]),
  ...(skipped.length === 0 ? [] : [line("not attached:")]),
  ...skipped.map(({ because, name }) => wrapped(4, "  ", span("name", clip(name)), `: ${clip(because)}`))
]
