/**
 * The schemas of all documents that the command prints with `--json`, by the command's words.
 *
 * For those who read the documents: `tools/schemas.ts` publishes them in `docs/schemas`, and tests hold each document that a
 * command prints against its schema. Commands themselves do without.
 */
import * as BtfObjects from "./BtfObjects.ts"
import * as Elf from "./Elf.ts"
import { failure } from "./Failure.ts"
import * as Map from "./Map.ts"
import * as Prog from "./Prog.ts"
import type { ByCommand, Published } from "./Published.ts"

/** By command: `prog show`. A command without a verb is its one word: `inspect`. */
export const commands: ByCommand = {
  ...Prog.documents,
  ...Map.documents,
  ...BtfObjects.documents,
  ...Elf.documents
}

export { failure }

/** All that is published, by the words that the files are called after. */
export const published: Readonly<Record<string, Published>> = { ...commands, failure }
