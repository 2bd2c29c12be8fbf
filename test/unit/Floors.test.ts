/**
 * The floors of the design: each room imports only from rooms below it, and only live rooms touch the outside world.
 *
 * A unit test rather than a lint rule, because a rule sees the text of an import and not the room that it leads to.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { repository } from "../support/Require.ts"

interface Room {
  readonly name: string
  readonly floor: number
  /** Matches the files of the room, as paths relative to src/. The first room that matches a file has it. */
  readonly files: RegExp
  /** Whether the room may use `node:` modules, foreign calls and platform packages. */
  readonly live?: true
}

const rooms: ReadonlyArray<Room> = [
  { name: "internal", floor: 0, files: /^internal\// },
  // Half a floor below its neighbours: BTF lies in sections of ELF files.
  { name: "services/Elf", floor: 0.5, files: /^services\/Elf\// },
  { name: "btf", floor: 1, files: /^btf\// },
  { name: "insn", floor: 1, files: /^insn\// },
  {
    name: "live kernel",
    floor: 4,
    files: /^services\/Kernel\/(KernelLive|KernelInfoLive|live\/|sys\/)/,
    live: true
  },
  {
    name: "kernels",
    floor: 4,
    files:
      /^services\/Kernel\/(Kernel(Recording|Simulated|Profiled|Traced|Faulty)|recording\/|simulated\/|traced\/|faulty\/)/
  },
  { name: "services/Kernel", floor: 2, files: /^services\/Kernel\// },
  // Half a floor above the contract: its maps take the contract's attributes and answer with its error numbers.
  { name: "vm", floor: 2.5, files: /^vm\// },
  { name: "stages", floor: 3, files: /^stages\// },
  { name: "linker", floor: 3, files: /^linker\// },
  { name: "usdt", floor: 3, files: /^usdt\// },
  // Text in, text out: of use wherever a kernel has said something.
  { name: "verifier log", floor: 1, files: /^diagnostics\/VerifierLog/ },
  // Half a floor above the stages, whose values it reports on.
  { name: "diagnostics", floor: 3.5, files: /^diagnostics\// },
  { name: "attach", floor: 4, files: /^attach\//, live: true },
  { name: "events", floor: 4, files: /^events\//, live: true },
  { name: "maps", floor: 4, files: /^maps\// },
  { name: "testing", floor: 4.5, files: /^testing\// },
  { name: "index", floor: 5, files: /^index\.ts$/ },
  {
    name: "edge",
    floor: 5,
    files: /^(cli\/|bin\.ts$|node\.ts$|light\.ts$|light\/|skeleton\.ts$|skeleton\/|promise\.ts$|promise\/)/,
    live: true
  }
]

const roomOf = (file: string): Room | undefined => rooms.find((room) => room.files.test(file))

/** The specifiers that a module imports, re-exports or imports dynamically, types included. */
const importsOf = (source: string): ReadonlyArray<string> => {
  const code = source.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/^\s*\/\/.*$/gm, "")
  const forms = [
    /^[ \t]*(?:import|export)\b[^"'`;=(]*?\bfrom\s*["']([^"']+)["']/gm,
    /^[ \t]*import\s*["']([^"']+)["']/gm,
    /\bimport\s*\(\s*["']([^"']+)["']/g
  ]
  return forms.flatMap((form) => [...code.matchAll(form)].map((match) => match[1] ?? ""))
}

/** The file of src/ that a relative specifier leads to, or undefined for a package. */
const target = (file: string, specifier: string): string | undefined =>
  specifier.startsWith(".") ? Path.posix.join(Path.posix.dirname(file), specifier) : undefined

const isOfTheWorld = (specifier: string): boolean => /^(node:|koffi(\/|$)|@effect\/platform-node)/.test(specifier)

/** Whether `from` may import from `to`: its own room or one on a lower floor; the top floor is one room. */
const mayImport = (from: Room, to: Room): boolean => from === to || to.floor < from.floor || from.floor === 5

/** What is wrong with one file's imports, each as a line. */
const violations = (file: string, source: string): ReadonlyArray<string> => {
  const room = roomOf(file)
  if (room === undefined) return [`${file}: no room of the design has it`]
  return importsOf(source).flatMap((specifier) => {
    const other = target(file, specifier)
    if (other === undefined) {
      return isOfTheWorld(specifier) && room.live !== true
        ? [`${file}: ${room.name} also runs in a browser, and imports ${specifier}`]
        : []
    }
    const to = roomOf(other)
    if (to === undefined) return [`${file}: imports ${other}, which no room has`]
    return mayImport(room, to) ? [] : [
      `${file}: ${room.name} (floor ${room.floor}) imports ${other} of ${to.name} (floor ${to.floor})`
    ]
  })
}

const folder = Path.join(repository, "src")
const sources: ReadonlyMap<string, string> = new Map(
  Fs.readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => [file.split(Path.sep).join("/"), Fs.readFileSync(Path.join(folder, file), "utf8")])
)

describe("floors", () => {
  it("are kept by every file of src/", () => {
    assert.isAbove(sources.size, 0)
    assert.deepStrictEqual([...sources].flatMap(([file, source]) => violations(file, source)), [])
  })

  it("keep the main entry free of Node, however far one follows its imports", () => {
    assert.isTrue(sources.has("index.ts"), "src/index.ts is the main entry")
    const seen = new Set(["index.ts"])
    const found: Array<string> = []
    for (const file of seen) {
      for (const specifier of importsOf(sources.get(file) ?? "")) {
        const other = target(file, specifier)
        if (other !== undefined) seen.add(other)
        else if (isOfTheWorld(specifier)) found.push(`${file} imports ${specifier}`)
      }
    }
    assert.deepStrictEqual(found, [])
  })

  it("named fault: an import that climbs, one of a neighbour, and one of the world are seen", () => {
    assert.deepStrictEqual(violations("btf/Btf.ts", "import type { X } from \"../stages/open/Open.ts\""), [
      "btf/Btf.ts: btf (floor 1) imports stages/open/Open.ts of stages (floor 3)"
    ])
    assert.deepStrictEqual(violations("btf/Btf.ts", "export {\n  a,\n  type B\n} from \"../insn/Insn.ts\""), [
      "btf/Btf.ts: btf (floor 1) imports insn/Insn.ts of insn (floor 1)"
    ])
    assert.deepStrictEqual(violations("vm/Vm.ts", "const fs = await import(\"node:fs\")"), [
      "vm/Vm.ts: vm also runs in a browser, and imports node:fs"
    ])
    assert.deepStrictEqual(violations("events/Ring.ts", "import \"../services/Kernel/KernelLive.ts\""), [
      "events/Ring.ts: events (floor 4) imports services/Kernel/KernelLive.ts of live kernel (floor 4)"
    ])
    assert.deepStrictEqual(violations("elsewhere/New.ts", ""), ["elsewhere/New.ts: no room of the design has it"])
  })

  it("do not take a comment or a string for an import", () => {
    const source =
      "/**\n * import * as Fs from \"node:fs\"\n */\n// import \"koffi\"\nconst text = `from \"node:fs\"`\n"
    assert.deepStrictEqual(violations("vm/Vm.ts", source), [])
  })
})
