/**
 * `trace`: loads an object, attaches its programs by their sections, prints the records that they send, and detaches them
 * again when it is interrupted.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Attach from "../attach/Attach.ts"
import { reporting } from "./Failure.ts"
import { attachedJson } from "./json/AttachedDocument.ts"
import { recordJson, safeText, summaryJson } from "./json/EventDocument.ts"
import * as KernelChoice from "./KernelChoice.ts"
import { load, logLevel } from "./Load.ts"
import * as ObjectFile from "./ObjectFile.ts"
import * as Output from "./Output.ts"
import * as Relocation from "./Relocation.ts"
import { attachedText } from "./text/AttachedText.ts"
import { recordText, summaryText } from "./text/EventText.ts"
import { line, span } from "./text/Text.ts"
import * as Records from "./trace/Records.ts"
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

/**
 * Prints records as they come, and at the end, however it comes, what was read and lost. For people the end goes to standard
 * error, for scripts it is the last document.
 */
const reading = Effect.fnUntraced(function*(buffers: Records.Opened, most: number) {
  const mode = yield* Output.jsonMode
  let printed = 0
  const show = (records: ReadonlyArray<Records.EventRecord>) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const time = new Date(now)
      printed += records.length
      return mode === "text"
        ? Output.print(records.map((record) => recordText(record, time)))
        : Output.lines(records.map((record) => safeText(recordJson(record, time), mode === "pretty")))
    })
  const end = Effect.flatMap(buffers.summary, (maps) =>
    mode === "text"
      ? Output.message(summaryText(printed, maps))
      : Output.lines([safeText(summaryJson(printed, maps), mode === "pretty")]))
  // The services of the terminal are asked for now: at the end they are still there.
  const context = yield* Effect.context<Effect.Services<typeof end>>()
  yield* Effect.addFinalizer(() => Effect.provideContext(end, context))
  yield* Output.message(buffers.notes.map((note) => line(span("warning", `note: ${note}`))))
  return yield* buffers.read(most, show)
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
    events: Flag.String("events").pipe(
      Flag.withMetavar("MAP"),
      Flag.withDescription("Print the records of this ring buffer or perf buffer only; repeatable; default: of all"),
      Flag.atLeast(0)
    ),
    noEvents: Flag.Boolean("no-events").pipe(
      Flag.withDescription("Leave buffers to others: print no records"),
      Flag.withoutNegation,
      Flag.withDefault(false)
    ),
    count: Flag.Int("count").pipe(
      Flag.withMetavar("N"),
      Flag.withDescription("End after N records"),
      Flag.filter((count) => count >= 1, () => "Expected a number of at least 1"),
      Flag.optional
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
  ({ btf, count, duration, events, kconfig, kernel, log, noAutoattach, noEvents, object, printk, ...edits }) =>
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
          return yield* new UsageError({
            argument: "--duration",
            detail: "a number of seconds from 0 to 1000000000 is expected"
          })
        }
        const maps = noEvents ? [] : yield* Effect.fromResult(Records.mapsOf(opened, events))
        if (Option.isSome(count) && maps.length === 0) {
          const detail = noEvents ? "no records are printed" : "the object has no ring buffer or perf buffer"
          return yield* new UsageError({ argument: "--count", detail })
        }
        const relocate = yield* Relocation.options({ btf, kconfig })
        const ends = Option.match(duration, {
          onNone: () => Effect.never,
          onSome: (count) => Effect.sleep(count * 1000)
        })
        yield* Effect.scoped(Effect.gen(function*() {
          const loaded = yield* load(opened, { kernel, log, relocate })
          // Before anything can send to them.
          const buffers = maps.length === 0 ? undefined : yield* Records.open(loaded, maps)
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
          yield* Effect.raceAllFirst([
            ends,
            ...(printk ? [printing] : []),
            ...(buffers === undefined
              ? []
              : [reading(buffers, Option.getOrElse(count, () => Number.POSITIVE_INFINITY))])
          ])
        }))
      }).pipe(KernelChoice.explaining(kernel), Effect.provide(KernelChoice.layer(kernel))),
      { showLog: log }
    )
).pipe(
  Command.withDescription(
    "Load an object and attach its programs to what their sections say, until interrupted (or for --duration); then detach\n" +
      "  them and unload all. Shows what was attached, and what was not and why. If one is refused, none stays attached.\n" +
      "  Prints the records that the programs send to ring buffers and perf buffers, a line each, by the types that\n" +
      "  annotations at the maps name; at the end, what was lost. With --json each line is a document: what was attached,\n" +
      "  the records, and at last what was read and lost.\n" +
      "  Needs root, or CAP_BPF, CAP_PERFMON and what the programs' types ask for."
  ),
  Command.withShortDescription("Load an object, attach its programs and print what they send"),
  Command.withExamples([
    { command: "sudo effect-bpf trace opens.bpf.o", description: "Until Ctrl-C" },
    { command: "sudo effect-bpf trace opens.bpf.o --duration 10 --json", description: "For ten seconds" },
    {
      command: "sudo effect-bpf trace opens.bpf.o --events opened --count 100",
      description: "Until a hundred records of one buffer have come"
    },
    {
      command: "sudo effect-bpf trace opens.bpf.o --set only_process=4711 --printk",
      description: "With what it prints"
    }
  ])
)
