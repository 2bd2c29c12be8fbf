/** The documents of `iter`. */
import * as Field from "./Field.ts"
import type { ByCommand } from "./Published.ts"

/** The documents. */
export const documents: ByCommand = {
  "iter pin": { description: "The iterator was pinned; bpftool prints nothing.", schema: Field.nothing }
}
