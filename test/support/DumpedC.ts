/** Dumps in C held against compilers: the header with assertions about sizes and offsets that the BTF gives. */
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import * as BtfDump from "../../src/btf/BtfDump.ts"
import { run, temporaryFolder } from "./Require.ts"

/** A dump in order of ids, and the name in C of each struct and union that is in it and has one. */
export interface Named {
  readonly text: string
  readonly problems: ReadonlyArray<string>
  readonly names: ReadonlyMap<number, string>
}

/** Dumps all types without header. */
export const dumpNamed = (btf: Btf.Btf): Named => {
  const dumper = BtfDump.makeDumper(btf)
  const names = new Map<number, string>()
  const problems: Array<string> = []
  const text: Array<string> = []
  for (let id = 1; id < btf.endId; id++) {
    const dumped = Result.getOrThrow(BtfDump.dumpType(dumper, id))
    text.push(dumped.text)
    for (const problem of dumped.problems) problems.push(problem.message)
  }
  for (let id = 1; id < btf.endId; id++) {
    const kind = Btf.kindOf(btf, id)
    if ((kind === Btf.BTF_KIND_STRUCT || kind === Btf.BTF_KIND_UNION) && Btf.nameOf(btf, id) !== "") {
      names.set(id, Result.getOrThrow(BtfDump.declareType(dumper, id)))
    }
  }
  return { text: text.join(""), problems, names }
}

/** Whether a type is the compiler's own list of arguments, whose size is another one on each machine. */
const isVaList = (btf: Btf.Btf, id: number): boolean => {
  let current = id
  for (let hops = 0; hops < 32 && Btf.kindOf(btf, current) === Btf.BTF_KIND_TYPEDEF; hops++) {
    if (Btf.nameOf(btf, current) === "__builtin_va_list") return true
    current = Btf.sizeOrTypeOf(btf, current)
  }
  return false
}

/** Assertions about one struct or union; `shift` is added to each offset, which makes them false unless it is 0. */
export const assertionsOf = (btf: Btf.Btf, id: number, name: string, shift = 0): ReadonlyArray<string> => {
  const type = Btf.typeOf(btf, id)
  if (type._tag !== "Struct" && type._tag !== "Union") return []
  if (type.members.some((member) => isVaList(btf, member.type))) return []
  const members = type.members.filter((member) => member.name !== "" && member.bitfieldSize === 0)
  return [
    `_Static_assert(sizeof(${name}) == ${type.size}, "size of ${name}");`,
    ...members.map((member) =>
      `_Static_assert(__builtin_offsetof(${name}, ${member.name}) == ${
        member.bitOffset / 8 + shift
      }, "${name}.${member.name}");`
    )
  ]
}

/** Compiles sources for the BPF target, without making code; answers the errors of each that has some. */
export const compileErrors = (sources: ReadonlyArray<string>): ReadonlyArray<string> => {
  const folder = temporaryFolder()
  const files = sources.map((_, index) => `source${index}.c`)
  for (const [index, source] of sources.entries()) Fs.writeFileSync(Path.join(folder, files[index] ?? ""), source)
  const flags = ["-target", "bpf", "-fsyntax-only", "-Wno-everything", "-ferror-limit=0", "-fno-caret-diagnostics"]
  const done = run("clang", [...flags, ...files], { cwd: folder, timeoutMilliseconds: 600_000 })
  return done.stderr.split("\n").filter((line) => line.includes("error:"))
}
