/**
 * The object that a command is about: read, opened and edited as its arguments ask.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import { Elf } from "../services/Elf/ElfService.ts"
import * as Open from "../stages/open/Open.ts"
import type { Edits } from "./Edits.ts"
import * as EditsOf from "./Edits.ts"
import { InFile } from "./Failure.ts"
import * as Findings from "./Findings.ts"

/** The object file. */
export const argument = Argument.String("object").pipe(
  Argument.withDescription("BPF object file, as clang -target bpf -g -O2 -c makes it")
)

/** The flags that edit an object before it is relocated. */
export const edits = {
  set: Flag.String("set").pipe(
    Flag.withMetavar("NAME=VALUE"),
    Flag.withDescription("Initial value of a global variable: a number, JSON, or a text; repeatable"),
    Flag.atLeast(0)
  ),
  map: Flag.String("map").pipe(
    Flag.withMetavar("NAME.FIELD=VALUE"),
    Flag.withDescription("Attribute of a map, such as stats.max_entries=1024; repeatable"),
    Flag.atLeast(0)
  ),
  autoload: Flag.String("autoload").pipe(
    Flag.withMetavar("PROGRAM"),
    Flag.withDescription("Load this program although the object makes it optional; repeatable"),
    Flag.atLeast(0)
  ),
  noAutoload: Flag.String("no-autoload").pipe(
    Flag.withMetavar("PROGRAM"),
    Flag.withDescription("Leave this program out of the load; repeatable"),
    Flag.atLeast(0)
  ),
  attachTo: Flag.String("attach-to").pipe(
    Flag.withMetavar("PROGRAM=HANDLE:FUNCTION"),
    Flag.withDescription(
      "This freplace or fentry program is for a function of another: an identifier, a pin, or one of the object; repeatable"
    ),
    Flag.atLeast(0)
  )
}

/** `--log`: ask for the verifier's whole log. */
export const log = Flag.Boolean("log").pipe(
  Flag.withDescription("Print what the verifier says, on success too"),
  Flag.withoutNegation,
  Flag.withDefault(false)
)

/** Opens a file. */
export const open = Effect.fnUntraced(
  function*(path: string, options: { readonly logLevel?: number } = {}) {
    yield* Findings.about(path)
    const elf = yield* Elf
    const file = yield* Effect.mapError(
      elf.open(path),
      (error) => error._tag === "FileReadError" ? error : new InFile({ path, cause: error })
    )
    const object = yield* Effect.mapError(
      Effect.fromResult(Open.fromElf(file, { ...options, path })),
      (cause) => new InFile({ path, cause })
    )
    yield* Findings.about(path, object)
    return object
  },
  Effect.provide(Elf.layer)
)

/** Opens a file, and applies the edits of the command line. */
export const openEdited = Effect.fnUntraced(function*(
  path: string,
  edits: Edits,
  options: { readonly logLevel?: number } = {}
) {
  const object = yield* open(path, options)
  return yield* Effect.fromResult(EditsOf.apply(object, edits))
})
