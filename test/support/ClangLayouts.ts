/** How clang lays structs and unions out, as it says itself (`-fdump-record-layouts`). */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { repository, run, temporaryFolder } from "./Require.ts"

/** A member by its place: bits from the start, and how many of a bit field, else 0. */
export interface ClangMember {
  readonly bitOffset: number
  readonly bits: number
}

/** A struct or union by clang. */
export interface ClangRecord {
  readonly size: number
  /** Its named members, those of anonymous members among them. */
  readonly members: ReadonlyMap<string, ClangMember>
}

const line = /^ *(\d+)(?::(\d+)-(\d+)|:-)? \|( +)(.*)$/

const parseRecord = (text: string): readonly [string, ClangRecord] | undefined => {
  const [head = "", ...rest] = text.split("\n")
  const name = /^ *0 \| (.*)$/.exec(head)?.[1]
  const size = /\[sizeof=(\d+)/.exec(text)?.[1]
  if (name === undefined || size === undefined) return undefined
  const members = new Map<string, ClangMember>()
  // The depth whose lines are members of the record: deeper inside of an anonymous one.
  let open = 1
  for (const each of rest) {
    const [, offset, from, to, indent = "", what = ""] = line.exec(each) ?? []
    const depth = (indent.length - 1) / 2
    if (offset === undefined || depth > open) continue
    open = depth
    if (/\((anonymous|unnamed)[^)]*\) $/.test(what) && from === undefined) {
      open = depth + 1
      continue
    }
    const member = /([A-Za-z_]\w*)$/.exec(what)?.[1]
    if (member === undefined || members.has(member)) continue
    const bits = from === undefined || to === undefined ? 0 : Number(to) - Number(from) + 1
    members.set(member, { bitOffset: Number(offset) * 8 + Number(from ?? 0), bits })
  }
  return [name, { size: Number(size), members }]
}

/** The layouts of types of a C source, by their names (`struct event`), and what the compiler complained of. */
export const clangLayouts = (
  source: string,
  names: Iterable<string>,
  target: "bpfel" | "x86_64-linux-gnu" = "bpfel"
): { readonly records: ReadonlyMap<string, ClangRecord>; readonly errors: string } => {
  const folder = temporaryFolder()
  const file = Path.join(folder, "layouts.c")
  // A layout is made, and told, where it is first asked for: not at the end of the braces, behind which attributes follow.
  const asked = [...names].map((name, index) => `  size_of_type_${index} = sizeof(${name}),\n`)
  Fs.writeFileSync(file, `${source}\nenum {\n${asked.join("")}  sizes_of_types\n};\n`)
  const machine = run("gcc", ["-dumpmachine"]).stdout.trim()
  const flags = ["-target", target, "-fsyntax-only", "-w", "-ferror-limit=5", "-fno-caret-diagnostics"]
  const paths = [`-I${Path.join(repository, "test/fixtures")}`, "-idirafter", `/usr/include/${machine}`]
  // The dump is too long for a pipe that is read at the end.
  const output = Path.join(folder, "layouts.txt")
  const command = "exec clang-19 \"$@\" > \"$0\""
  const done = run(
    "sh",
    ["-c", command, output, ...flags, "-Xclang", "-fdump-record-layouts", ...paths, file],
    {
      timeoutMilliseconds: 600_000
    }
  )
  const records = new Map<string, ClangRecord>()
  for (const text of Fs.readFileSync(output, "utf8").split("*** Dumping AST Record Layout\n").slice(1)) {
    const record = parseRecord(text)
    if (record !== undefined) records.set(...record)
  }
  return { records, errors: done.stderr }
}
