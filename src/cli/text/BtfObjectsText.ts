/**
 * The text of `btf show`.
 */
import type { BtfObject } from "../btf/Objects.ts"
import type { Holders } from "../objects/Holders.ts"
import { clip } from "./Clip.ts"
import { holdersText } from "./HoldersText.ts"
import { type Line, line, span, table } from "./Text.ts"

/** The most identifiers that are listed. */
const listed = 16

const ids = (all: ReadonlyArray<number>): string =>
  all.length <= listed ? all.join(" ") : `${all.slice(0, listed).join(" ")} … (${all.length} in all)`

/** A table of objects of types. */
export const btfObjectsText = (found: ReadonlyArray<BtfObject>, holders: Holders): ReadonlyArray<Line> =>
  found.length === 0 ? [line("no types")] : table(
    ["id", "name", "of", "size", "programs", "maps", "held by"],
    found.map(({ info, users }) => [
      String(info.id),
      span("name", clip(info.name)),
      info.isKernels ? info.name === "vmlinux" ? "the kernel" : "a module" : "programs",
      `${info.size} B`,
      ids(users.progs),
      ids(users.maps),
      holdersText(holders.get(info.id))
    ])
  )
