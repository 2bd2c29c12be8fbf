/**
 * Writes the JSON Schemas of the command's documents into docs/schemas, and removes those of commands that are no more.
 *   node tools/schemas.ts
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileName, schemaText } from "../src/cli/schemas/Published.ts"
import { published } from "../src/cli/schemas/Schemas.ts"

const folder = Path.join(import.meta.dirname, "../docs/schemas")
Fs.mkdirSync(folder, { recursive: true })
const wanted = new Map(Object.entries(published).map(([words, each]) => [fileName(words), schemaText(words, each)]))
for (const name of Fs.readdirSync(folder)) {
  if (name.endsWith(".json") && !wanted.has(name)) Fs.rmSync(Path.join(folder, name))
}
for (const [name, text] of wanted) Fs.writeFileSync(Path.join(folder, name), text)
