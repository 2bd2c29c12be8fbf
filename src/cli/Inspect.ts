/**
 * `inspect`: what is in an object.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import type { BpfObject } from "../stages/open/BpfObject.ts"
import { functionAt } from "../stages/open/BpfObject.ts"
import { reporting } from "./Failure.ts"
import * as ObjectDocument from "./json/ObjectDocument.ts"
import * as ObjectFile from "./ObjectFile.ts"
import * as Output from "./Output.ts"
import { listings, objectText } from "./text/ObjectText.ts"
import { suggest, UsageError } from "./Usage.ts"

/** The function of this name and all that it calls, directly or not. */
const withCallees = (object: BpfObject, name: string): ReadonlySet<string> => {
  const found = new Set<string>()
  const waiting = object.programs.filter((program) => program.name === name)
  for (let program = waiting.pop(); program !== undefined; program = waiting.pop()) {
    if (found.has(program.name)) continue
    found.add(program.name)
    for (const relocation of program.relocations) {
      if (relocation._tag !== "Call" && relocation._tag !== "Function") continue
      const callee = object.programs[functionAt(object.programs, relocation.section, relocation.slot) ?? -1]
      if (callee !== undefined) waiting.push(callee)
    }
  }
  return found
}

const checkFunction = (object: BpfObject, name: string): Effect.Effect<void, UsageError> => {
  const names = object.programs.map((program) => program.name)
  return names.includes(name) ? Effect.void : Effect.fail(
    new UsageError({
      argument: `--prog ${name}`,
      detail: "there is no such program or subprogram",
      hint: suggest(name, names, "functions")
    })
  )
}

/** The command. */
export const inspect = Command.make("inspect", {
  object: ObjectFile.argument,
  insns: Flag.Boolean("insns").pipe(
    Flag.withDescription("Disassemble the functions, under the C lines that they were compiled from"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  prog: Flag.String("prog").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("With --insns: only this function and those that it calls, and nothing else of the object"),
    Flag.optional
  )
}, ({ insns, object: path, prog }) =>
  reporting(Effect.gen(function*() {
    const object = yield* ObjectFile.open(path)
    const name = Option.getOrUndefined(prog)
    if (name !== undefined) yield* checkFunction(object, name)
    const only = name === undefined ? undefined : withCallees(object, name)
    const disassemble = only !== undefined ? { programs: only } : insns ? "all" : "none"
    const document = ObjectDocument.describe(object, { path, disassemble })
    yield* Output.result(
      () => document,
      // A listing that was asked for by name is wanted alone; it begins without the empty line that separates it.
      () => only === undefined ? objectText(document) : listings(document).slice(1)
    )
  }))).pipe(
    Command.withDescription(
      "Show what is in a BPF object: programs and the subprograms that they call, maps with the BTF types of their keys\n" +
        "  and values, global variables with their initial values, externs, relocations, license and types.\n" +
        "  Nothing is loaded, and no privileges are needed."
    ),
    Command.withShortDescription("Show what is in a BPF object"),
    Command.withExamples([
      { command: "effect-bpf inspect firewall.bpf.o", description: "Everything but the instructions" },
      {
        command: "effect-bpf inspect firewall.bpf.o --insns --prog xdp_firewall",
        description: "The instructions of one program, with its C source"
      },
      {
        command: "effect-bpf inspect firewall.bpf.o --json | jq '.maps[] | {name, max_entries}'",
        description: "For scripts"
      }
    ])
  )
