/**
 * Code blocks of Markdown documents, and what the tests do with each.
 *
 * The first word of a fence's info string is the language; the words after it say how the block is treated:
 * - `ts`: type-checked, then run by Node as a module of its own, importing "effect-bpf" as a user would.
 * - `sh`: run by sh in a copy of the repository; `effect-bpf` and `npx effect-bpf` are the command as it is in src/.
 *   Lines that install or run this project's own scripts (npm, git clone, cd into it, apt-get) are left out, but the
 *   scripts that they name must exist.
 * - `json`: must parse. `c`, `text`, `console`, `diff`, `mermaid` and fences without a language are not run.
 * - `live`: needs bpf(2). `needs=clang,jq`: needs those tools. `shown`: not run; TypeScript is still type-checked.
 * - `text output` or `json output`, the next block after a `ts` or `sh` one: what that one prints. A line that is only
 *   `…` stands for any number of lines, `…` within a line for any text.
 */

/** One fenced block, with the number of its first line of code in the document, counted from 1. */
export interface Block {
  readonly document: string
  readonly line: number
  readonly language: string
  readonly words: ReadonlyArray<string>
  readonly code: string
}

/** A block that runs, with what it is expected to print if the document says so. */
export interface Example {
  readonly block: Block
  readonly output: Block | undefined
}

/** The fenced blocks of a document, in order. Fences may be indented, and longer than three marks. */
export const blocksOf = (document: string, text: string): ReadonlyArray<Block> => {
  const blocks: Array<Block> = []
  const lines = text.split(/\r?\n/)
  for (let at = 0; at < lines.length; at++) {
    const open = /^(\s*)(`{3,}|~{3,})([^`]*)$/.exec(lines[at] ?? "")
    if (open === null) continue
    const [, indent = "", fence = "", info = ""] = open
    const close = new RegExp(`^\\s*${fence[0]}{${fence.length},}\\s*$`)
    const code: Array<string> = []
    const line = at + 2
    for (at++; at < lines.length && !close.test(lines[at] ?? ""); at++) {
      const content = lines[at] ?? ""
      code.push(content.startsWith(indent) ? content.slice(indent.length) : content.trimStart())
    }
    if (at === lines.length) throw new Error(`${document}:${line - 1}: this fence is not closed`)
    const [language = "", ...words] = info.trim().split(/\s+/)
    blocks.push({ document, line, language, words, code: code.join("\n") })
  }
  return blocks
}

const languages = new Set(["ts", "sh", "json", "c", "text", "console", "diff", "mermaid", ""])

/** What is wrong with a block's info string, or undefined. An unknown word would let a block go unchecked. */
export const infoProblem = (block: Block): string | undefined => {
  const where = `${block.document}:${block.line - 1}`
  if (!languages.has(block.language)) return `${where}: no check knows the language ${block.language}`
  const word = block.words.find((word) => !/^(live|shown|output|needs=[\w,-]+)$/.test(word))
  return word === undefined ? undefined : `${where}: no check knows the word ${word}`
}

/** The blocks that run, each with the output block that follows it. */
export const examplesOf = (blocks: ReadonlyArray<Block>): ReadonlyArray<Example> =>
  blocks.flatMap((block, index) => {
    if ((block.language !== "ts" && block.language !== "sh") || block.words.includes("shown")) return []
    const next = blocks[index + 1]
    return [{ block, output: next?.words.includes("output") === true ? next : undefined }]
  })

/** The tools that the block names with `needs=`. */
export const toolsOf = (block: Block): ReadonlyArray<string> =>
  block.words.flatMap((word) => word.startsWith("needs=") ? word.slice("needs=".length).split(",") : [])

/** The logical lines of a shell block: comments dropped, continuation lines joined. */
const shellLines = (code: string): ReadonlyArray<string> =>
  code.replaceAll(/\\\n\s*/g, "").split("\n").map((line) => line.trim()).filter((line) => !/^(#|$)/.test(line))

const isSetUp = (command: string): boolean =>
  /^(sudo )?(npm |git clone |cd effect-bpf\b|apt-get |apt )/.test(command) || /^npx (?!effect-bpf\b)/.test(command)

const commandsOf = (line: string): ReadonlyArray<string> => line.split("&&").map((command) => command.trim())

/** The part of a shell block that the tests run: all but the commands that set the project up or run its scripts. */
export const shellScript = (code: string): string => {
  const lines = shellLines(code).map(commandsOf)
  if (!lines.some((commands) => commands.some(isSetUp))) return code
  return lines.map((commands) => commands.filter((command) => !isSetUp(command)).join(" && "))
    .filter((line) => line !== "").join("\n")
}

/** The package scripts that a shell block names (`npm test`, `npm start`, `npm run NAME`). */
export const scriptsNamed = (code: string): ReadonlyArray<string> =>
  shellLines(code).flatMap(commandsOf).flatMap((command) => {
    const named = /^npm (?:(test|start)|run ([\w:-]+))/.exec(command)
    return named === null ? [] : [named[1] ?? named[2] ?? ""]
  })

/** Whether `actual` is what the document shows, where `…` stands for anything. Trailing blanks do not count. */
export const matchesOutput = (expected: string, actual: string): boolean => {
  const tidy = (text: string) => text.split("\n").map((line) => line.trimEnd()).join("\n").trim()
  const pattern = tidy(expected).split("\n").map((line) =>
    line.trim() === "…" ? "(?:.*\\n)*?.*" : line.split("…").map(escape).join(".*")
  ).join("\\n")
  return new RegExp(`^${pattern}$`).test(tidy(actual))
}

const escape = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")
