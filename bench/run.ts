/**
 * `npm run bench [-- FILTER]`: measures the cases of bench/cases whose name contains FILTER, each beside its peer, and
 * prints a Markdown table.
 *
 * A module of bench/cases has one default export, a function that gives its cases; it is called once, so that reading
 * the input and building the peer stay outside the clock.
 */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { pathToFileURL } from "node:url"
import { growth } from "./Growth.ts"
import { type Case, defaultPlan, machine, measure, type Row, table } from "./Harness.ts"

type Cases = () => ReadonlyArray<Case> | Promise<ReadonlyArray<Case>>

const isCases = (value: unknown): value is Cases => typeof value === "function"

const folder = Path.join(import.meta.dirname, "cases")
const filter = process.argv[2] ?? ""

const cases: Array<Case> = []
for (const file of Fs.readdirSync(folder).filter((name) => name.endsWith(".ts")).sort()) {
  const module: { readonly default?: unknown } = await import(pathToFileURL(Path.join(folder, file)).href)
  if (!isCases(module.default)) throw new Error(`bench/cases/${file} must have a function as its default export`)
  cases.push(...await module.default())
}

const chosen = cases.filter((one) => one.name.includes(filter))
if (chosen.length === 0) {
  process.stderr.write(`no case contains "${filter}"; there are: ${cases.map((one) => one.name).join(", ")}\n`)
  process.exit(1)
}

const rows: Array<Row> = []
for (const one of chosen) {
  process.stderr.write(`${one.name} …\n`)
  rows.push(await measure(one))
}
process.stdout.write(`${machine()}\n\n${table(rows, defaultPlan)}${growth(rows)}`)
