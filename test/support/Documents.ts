/**
 * The documents that commands print with `--json`, held against their schemas: every test that runs a command checks what it
 * printed, beside what the test is about.
 */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js"
import { jsonSchema, type Published } from "../../src/cli/schemas/Published.ts"
import { commands, published } from "../../src/cli/schemas/Schemas.ts"

/** One for all files of a process, which compiles a schema when it is first asked for. */
let judge: Ajv2020 | undefined
const compiled = new Map<string, ValidateFunction>()

const validator = (words: string, each: Published): ValidateFunction => {
  const known = compiled.get(words)
  if (known !== undefined) return known
  judge ??= new Ajv2020({ strictTypes: true })
  const made = judge.compile(jsonSchema(words, each))
  compiled.set(words, made)
  return made
}

/** What is wrong with a document by a schema; nothing where it is as the schema says. */
export const fault = (words: string, each: Published, document: unknown): string | undefined => {
  const validate = validator(words, each)
  if (validate(document)) return undefined
  const errors = (validate.errors ?? []).map(({ instancePath, message, params }) =>
    `${instancePath === "" ? "the document" : instancePath} ${message ?? ""} ${JSON.stringify(params)}`
  )
  return `${words} --json is not as src/cli/schemas says: ${errors.join("; ")}\n${
    JSON.stringify(document).slice(0, 2000)
  }`
}

/** Flags of all commands that have a value behind them. */
const withValue = new Set(["--sarif", "--log-level"])

/** The command that arguments are of, by the words of its schema: `prog show`. */
export const wordsOf = (args: ReadonlyArray<string>): string | undefined => {
  const [noun = "", verb = ""] = args.filter((arg, at) => !arg.startsWith("-") && !withValue.has(args[at - 1] ?? ""))
  return [`${noun} ${verb}`, noun].find((words) => Object.hasOwn(commands, words))
}

/** Whether these arguments ask for documents of the command's own. The log of `--sarif -` has a schema that is not ours. */
const wantsDocuments = (args: ReadonlyArray<string>): boolean =>
  args.some((arg) => /^(--json|--pretty|-[jp]{1,2})$/.test(arg)) &&
  !args.some((arg) => /^(--help|-h|--version|-v|--completions.*)$/.test(arg)) &&
  args[args.indexOf("--sarif") + 1] !== "-"

/**
 * The documents of an output: each on a line, or laid out, where its last line is the first that is not indented again. Text
 * that is no JSON is thrown.
 */
const documentsOf = (stdout: string): ReadonlyArray<unknown> => {
  const documents: Array<unknown> = []
  let lines: Array<string> = []
  for (const line of stdout.split("\n")) {
    if (line === "" && lines.length === 0) continue
    lines.push(line)
    if (lines.length === 1 ? /^[[{]$/.test(line) : !/^[\]}]/.test(line)) continue
    documents.push(JSON.parse(lines.join("\n")))
    lines = []
  }
  if (lines.length > 0) documents.push(JSON.parse(lines.join("\n")))
  return documents
}

const isFailure = (document: unknown): boolean =>
  typeof document === "object" && document !== null && "error" in document && "type" in document && "hints" in document

/** What is wrong with a document of a command that ended so: its own, or that of a failure. */
const faultOfOne = (words: string, own: Published, document: unknown, succeeded: boolean): string | undefined => {
  const { failure } = published
  if (!succeeded && failure !== undefined && isFailure(document)) return fault("failure", failure, document)
  return fault(words, own, document) ?? (words === "batch file" ? faultInBatch(document) : undefined)
}

/** What is wrong with the documents inside that of a batch: of one that prints several there is a list. */
const faultInBatch = (document: unknown): string | undefined => {
  const done: ReadonlyArray<{ readonly command: ReadonlyArray<string>; readonly output: unknown }> =
    Array.isArray(document) ? document : []
  for (const { command, output } of done) {
    const words = wordsOf(command)
    const own = words === undefined ? undefined : published[words]
    if (words === undefined || own === undefined || output === null || typeof output === "string") continue
    const wrong = faultOfOne(words, own, output, false)
    const isList = Array.isArray(output) && output.every((each) => faultOfOne(words, own, each, false) === undefined)
    if (wrong !== undefined && !isList) return wrong
  }
  return undefined
}

/** What is wrong with what a command has printed; nothing where it is as it must be, or no document was asked for. */
export const faultOf = (
  args: ReadonlyArray<string>,
  { status, stdout }: { readonly status: number | null; readonly stdout: string }
): string | undefined => {
  const words = wordsOf(args)
  if (words === undefined || !wantsDocuments(args)) return undefined
  const own = published[words]
  if (own === undefined) return undefined
  let documents: ReadonlyArray<unknown>
  try {
    documents = documentsOf(stdout)
  } catch (thrown) {
    return `${words} --json printed what is no JSON: ${String(thrown)}\n${stdout.slice(0, 2000)}`
  }
  if (status === 0 && documents.length !== 1 && own.lines !== true) {
    return `${words} --json printed ${documents.length} documents, not one`
  }
  for (const document of documents) {
    const wrong = faultOfOne(words, own, document, status === 0)
    if (wrong !== undefined) return wrong
  }
  return undefined
}

/** Fails the test where a command printed another document than its schema says. */
export const check = <A extends { readonly status: number | null; readonly stdout: string }>(
  args: ReadonlyArray<string>,
  ended: A
): A => {
  const wrong = faultOf(args, ended)
  if (wrong !== undefined) throw new Error(wrong)
  return ended
}
