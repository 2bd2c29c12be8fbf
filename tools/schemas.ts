/**
 * Writes the JSON Schemas of the command's documents into docs/schemas, removes those of commands that are no more, and lists
 * them in docs/json.md.
 *   npm run schemas                after a schema has changed
 *   npm run schemas -- --promise   also promise all that is in them now: with each release
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { fileName, listed, schemaText, version } from "../src/cli/schemas/Published.ts"
import { outlines } from "../src/cli/schemas/Outline.ts"
import { published } from "../src/cli/schemas/Schemas.ts"

const folder = Path.join(import.meta.dirname, "../docs/schemas")
Fs.mkdirSync(folder, { recursive: true })
const wanted = new Map(Object.entries(published).map(([words, each]) => [fileName(words), schemaText(words, each)]))
for (const name of Fs.readdirSync(folder)) {
  if (name.endsWith(".json") && !wanted.has(name)) Fs.rmSync(Path.join(folder, name))
}
for (const [name, text] of wanted) Fs.writeFileSync(Path.join(folder, name), text)

const page = Path.join(folder, "../json.md")
Fs.writeFileSync(page, listed(Fs.readFileSync(page, "utf8"), published))

if (process.argv.includes("--promise")) {
  const promised = Path.join(import.meta.dirname, `../test/fixtures/documents/${version}.txt`)
  Fs.mkdirSync(Path.dirname(promised), { recursive: true })
  Fs.writeFileSync(promised, outlines(published))
}
