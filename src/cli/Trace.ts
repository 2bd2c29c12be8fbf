/**
 * `trace`: loads an object, attaches its programs by their sections, and detaches them again when it is interrupted.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Attach from "../attach/Attach.ts"
import { reporting } from "./Failure.ts"
import { attachedJson } from "./json/AttachedDocument.ts"
import * as KernelChoice from "./KernelChoice.ts"
import { load, logLevel } from "./Load.ts"
import * as ObjectFile from "./ObjectFile.ts"
import * as Output from "./Output.ts"
import * as Relocation from "./Relocation.ts"
import { attachedText } from "./text/AttachedText.ts"
import { line, span } from "./text/Text.ts"
import * as TracePipe from "./trace/TracePipe.ts"
import { UsageError } from "./Usage.ts"

/** How often the trace pipe is looked at. */
const pause = "100 millis"

/** Prints what programs print, for ever. */
const printing = Effect.gen(function*() {
  const pipe = yield* TracePipe.open
  const look = Effect.flatMap(
    pipe.look,
    (found) => Effect.forEach(found, (text) => Output.message([line(text)]), { discard: true })
  )
  return yield* Effect.forever(Effect.andThen(look, Effect.sleep(pause)))
})

/** The command. */
export const trace = Command.make(
  "trace",
  {
    object: ObjectFile.argument,
    duration: Flag.Finite("duration").pipe(
      Flag.withMetavar("SECONDS"),
      Flag.withDescription("End after so many seconds; without it the command runs until it is interrupted"),
      Flag.optional
    ),
    noAutoattach: Flag.String("no-autoattach").pipe(
      Flag.withMetavar("PROGRAM"),
      Flag.withDescription("Load this program, or this struct_ops map, and do not attach it; repeatable"),
      Flag.atLeast(0)
    ),
    printk: Flag.Boolean("printk").pipe(
      Flag.withDescription("Print on standard error what programs print with bpf_printk, of all on this machine"),
      Flag.withoutNegation,
      Flag.withDefault(false)
    ),
    log: ObjectFile.log,
    kernel: KernelChoice.lastingFlag,
    ...Relocation.flags,
    ...ObjectFile.edits
  },
  ({ btf, duration, kconfig, kernel, log, noAutoattach, object, printk, ...edits }) =>
    reporting(
      Effect.gen(function*() {
        const opened = yield* ObjectFile.openEdited(object, edits, { logLevel: logLevel(log) })
        const names = Attach.describe(opened).map(({ name }) => name)
        const unknown = noAutoattach.find((name) => !names.includes(name))
        if (unknown !== undefined) {
          return yield* new UsageError({
            argument: `--no-autoattach ${unknown}`,
            detail: "the object has no program or struct of this name",
            hint: `it has ${names.join(", ")}`
          })
        }
        if (Option.isSome(duration) && !(duration.value >= 0 && duration.value <= 1e9)) {
          return yield* new UsageError({ argument: "--duration", detail: "a number of seconds is expected" })
        }
        const relocate = yield* Relocation.options({ btf, kconfig })
        const ends = Option.match(duration, {
          onNone: () => Effect.never,
          onSome: (count) => Effect.sleep(count * 1000)
        })
        yield* Effect.scoped(Effect.gen(function*() {
          const loaded = yield* load(opened, { kernel, log, relocate })
          const attached = yield* Attach.attachAll(loaded, { except: noAutoattach })
          const ids = new Map<string, number>()
          for (const [name, link] of attached.links) {
            const info = yield* link.info
            if (info !== undefined) ids.set(name, info.id)
          }
          yield* Output.result(() => attachedJson(attached, ids), () => attachedText(attached, ids))
          if (attached.links.size === 0) {
            return yield* Output.message([
              line(span("warning", "note: nothing is attached, for no section says to what"))
            ])
          }
          if (Option.isNone(duration)) yield* Output.message([line(span("dim", "attached until interrupted: Ctrl-C"))])
          yield* printk ? Effect.raceFirst(ends, printing) : ends
        }))
      }).pipe(KernelChoice.explaining(kernel), Effect.provide(KernelChoice.layer(kernel))),
      { showLog: log }
    )
).pipe(
  Command.withDescription(
    "Load an object and attach its programs to what their sections say, until interrupted (or for --duration); then detach\n" +
      "  them and unload all. Shows what was attached, and what was not and why. If one is refused, none stays attached.\n" +
      "  Needs root, or CAP_BPF, CAP_PERFMON and what the programs' types ask for."
  ),
  Command.withShortDescription("Load an object, attach its programs and wait"),
  Command.withExamples([
    { command: "sudo effect-bpf trace opens.bpf.o", description: "Until Ctrl-C" },
    { command: "sudo effect-bpf trace opens.bpf.o --duration 10 --json", description: "For ten seconds" },
    {
      command: "sudo effect-bpf trace opens.bpf.o --set only_process=4711 --printk",
      description: "With what it prints"
    }
  ])
)
