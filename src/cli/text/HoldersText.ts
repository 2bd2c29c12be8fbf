/**
 * Who holds an object, in a cell of a table.
 */
import type { Holder } from "../objects/Holders.ts"
import { clip } from "./Clip.ts"

/** The most holders that are named. */
const named = 4

/** Names with the numbers of their processes: `node(812), sh(9)`. */
export const holdersText = (holders: ReadonlyArray<Holder> = []): string =>
  [
    ...holders.slice(0, named).map(({ comm, pid }) => `${clip(comm)}(${pid})`),
    ...(holders.length > named ? [`${holders.length} in all`] : [])
  ].join(", ")
