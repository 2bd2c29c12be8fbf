/**
 * `prog`: programs of the kernel, with bpftool's words.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Os from "node:os"
import { reporting } from "./Failure.ts"
import { progJson } from "./json/ObjectsDocument.ts"
import { runsJson } from "./json/RunDocument.ts"
import { xlatedJson } from "./json/XlatedDocument.ts"
import * as Holders from "./objects/Holders.ts"
import { onKernel } from "./objects/OnKernel.ts"
import * as Pins from "./objects/Pins.ts"
import * as Output from "./Output.ts"
import * as Packets from "./Packets.ts"
import { budget } from "./prog/Budget.ts"
import { attach, detach } from "./prog/AttachCommands.ts"
import { load, loadall } from "./prog/Load.ts"
import { profile } from "./prog/ProfileCommand.ts"
import { stats } from "./prog/StatsCommand.ts"
import { tracelog } from "./prog/Tracelog.ts"
import * as Verbs from "./prog/Verbs.ts"
import { progsText, xlatedText } from "./text/ProgsText.ts"
import { runsText } from "./text/RunText.ts"
import { line, span } from "./text/Text.ts"

const words = (description: string) =>
  Argument.String("words").pipe(Argument.withDescription(description), Argument.variadic())

const prog_ = "the program: id N, pinned FILE, name NAME or tag TAG"

/** When the machine was booted, seconds since 1970. */
const bootTime = (): number => Date.now() / 1000 - Os.uptime()

const jitedModules = Effect.promise(async () => ({
  ...(await import("./prog/Disassembler.ts")),
  ...(await import("./json/JitedDocument.ts")),
  ...(await import("./text/JitedText.ts"))
}))

// Imported when it is wanted: it reads the kernel's table of symbols.
const SymbolNames = Effect.promise(() => import("../services/Kernel/live/SymbolNames.ts"))

const show = (name: "show" | "list") =>
  Command.make(
    name,
    { words: words(`${prog_}; all programs without it`), bpffs: Pins.flag },
    ({ bpffs, words }) =>
      reporting(Effect.gen(function*() {
        const { all, holders, pins, progs } = yield* onKernel((objects) =>
          Effect.gen(function*() {
            // Before this process opens any itself.
            const holders = Holders.find("Prog")
            const shown = yield* Verbs.show(objects, words)
            return {
              ...shown,
              holders,
              pins: bpffs ? yield* Pins.find(objects, "Prog") : new Map<number, Array<string>>()
            }
          })
        )
        const booted = bootTime()
        yield* Output.result(
          () => {
            const documents = progs.map((prog) =>
              progJson(prog, booted, pins.get(prog.info.id), holders.get(prog.info.id))
            )
            const [only] = documents
            return !all && only !== undefined && documents.length === 1 ? only : documents
          },
          () => progsText(progs, booted, pins, holders)
        )
      }))
  ).pipe(
    Command.withDescription("Show the programs of the kernel, or some of them. All needs root, or CAP_SYS_ADMIN."),
    Command.withShortDescription(name === "show" ? "Show programs" : "The same as show"),
    Command.withExamples([
      { command: `effect-bpf prog ${name}` },
      { command: `effect-bpf prog ${name} pinned /sys/fs/bpf/firewall` }
    ])
  )

/** `prog dump jited`. */
const dumpJited = Effect.fnUntraced(function*(wanted: Verbs.Dump) {
  const { jitedJson, jitedText, make } = yield* jitedModules
  const { read } = yield* SymbolNames
  yield* Effect.scoped(Effect.gen(function*() {
    const disassemble = wanted.file === undefined ? yield* make() : undefined
    const named = (yield* Output.jsonMode) === "text"
    const { bytes, functions } = yield* onKernel((objects) =>
      Verbs.dumpJited(objects, wanted, { symbols: read, disassemble, named })
    )
    if (wanted.file !== undefined) {
      yield* Packets.writeBytes(wanted.file, bytes)
      return yield* Output.result(() => null, () => [])
    }
    yield* Output.result(() => jitedJson(functions, wanted), () => jitedText(functions, wanted))
    if (disassemble === undefined) {
      yield* Output.message([
        line(
          span(
            "dim",
            "bytes as they are: machine code is taken apart on x86-64 and arm64, with @alexaltea/capstone-js installed"
          )
        )
      ])
    }
  }))
})

const dump = Command.make("dump", {
  words: words(`xlated or jited; then ${prog_}; then opcodes, linum, or file FILE`)
}, ({ words }) =>
  reporting(Effect.gen(function*() {
    const wanted = yield* Effect.fromResult(Verbs.dumpOf(words))
    if (wanted.form === "jited") return yield* dumpJited(wanted)
    const { read } = yield* SymbolNames
    const named = (yield* Output.jsonMode) === "text"
    const { bytes, listing } = yield* onKernel((objects) => Verbs.dump(objects, wanted, { named, symbols: read }))
    if (wanted.file !== undefined) {
      yield* Packets.writeBytes(wanted.file, bytes)
      yield* Output.result(() => null, () => [])
    } else {
      yield* Output.result(() => xlatedJson(listing, wanted), () => xlatedText(listing, wanted))
    }
  }))).pipe(
    Command.withDescription(
      "Show a program's instructions as the kernel has them behind the verifier (xlated), or the machine code that they were\n" +
        "  compiled to (jited), under the C lines that they came from. Calls and maps are named; JSON is bpftool's, which names\n" +
        "  maps by their identifiers."
    ),
    Command.withShortDescription("Show a program's instructions"),
    Command.withExamples([
      { command: "effect-bpf prog dump xlated pinned /sys/fs/bpf/firewall" },
      { command: "effect-bpf prog dump xlated name xdp_firewall opcodes linum", description: "With bytes and places" },
      { command: "effect-bpf prog dump jited name xdp_firewall", description: "What the processor runs" },
      { command: "effect-bpf prog dump xlated id 12 file program.bin", description: "The bytes alone, into a file" }
    ])
  )

const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const run = Command.make("run", {
  words: words(`${prog_}; then data_in FILE, data_out FILE, ctx_in FILE, ctx_out FILE, repeat N as with bpftool`),
  dataIn: text("data-in", "FILE", "The same as data_in FILE: one packet; - is standard input"),
  dataOut: text("data-out", "FILE", "The same as data_out FILE"),
  ctxIn: text("ctx-in", "FILE", "The same as ctx_in FILE"),
  ctxOut: text("ctx-out", "FILE", "The same as ctx_out FILE"),
  repeat: text("repeat", "N", "The same as repeat N")
}, ({ ctxIn, ctxOut, dataIn, dataOut, repeat, words }) => {
  const flag = (keyword: string, value: Option.Option<string>): ReadonlyArray<string> =>
    Option.isSome(value) ? [keyword, value.value] : []
  const all = [
    ...words,
    ...flag("data_in", dataIn),
    ...flag("data_out", dataOut),
    ...flag("ctx_in", ctxIn),
    ...flag("ctx_out", ctxOut),
    ...flag("repeat", repeat)
  ]
  return reporting(Effect.gen(function*() {
    const wanted = yield* Effect.fromResult(Verbs.runOf(all))
    const data = wanted.dataIn === undefined ? undefined : yield* Packets.readBytes(wanted.dataIn)
    const context = wanted.ctxIn === undefined ? undefined : yield* Packets.readBytes(wanted.ctxIn)
    const { name, result, type } = yield* onKernel((objects) => Verbs.run(objects, wanted, { data, context }))
    if (wanted.dataOut !== undefined) yield* Packets.writeBytes(wanted.dataOut, result.dataOut)
    if (wanted.ctxOut !== undefined) yield* Packets.writeBytes(wanted.ctxOut, result.contextOut)
    const document = { frame: undefined, length: undefined, result, action: Packets.actionName(type, result.retval) }
    yield* Output.result(
      () => runsJson([document]),
      () =>
        runsText(name, [document], {
          data: wanted.dataOut === undefined,
          context: context !== undefined && wanted.ctxOut === undefined
        })
    )
  }))
}).pipe(
  Command.withDescription(
    "Run a program that is loaded, with the kernel's PROG_TEST_RUN, and print what it returned. effect-bpf run does the\n" +
      "  same for a program of an object file, on the packets of a capture, too."
  ),
  Command.withShortDescription("Run a program that is loaded"),
  Command.withExamples([
    { command: "effect-bpf prog run pinned /sys/fs/bpf/firewall data_in packet.bin repeat 1000" },
    { command: "effect-bpf prog run name xdp_firewall --data-in packet.bin --data-out changed.bin" }
  ])
)

const pin = Command.make(
  "pin",
  { words: words(`${prog_}; then the path of the new pin`) },
  ({ words }) =>
    reporting(Effect.gen(function*() {
      yield* onKernel((objects) => Verbs.pin(objects, words))
      yield* Output.result(() => null, () => [])
    }))
).pipe(
  Command.withDescription("Give a program a name in a bpf file system, which keeps it loaded."),
  Command.withShortDescription("Give a program a name"),
  Command.withExamples([{ command: "effect-bpf prog pin id 12 /sys/fs/bpf/firewall" }])
)

/** The command with its verbs. */
export const prog = Command.make("prog").pipe(
  Command.withDescription(
    "Programs of the kernel of this machine, with bpftool's words and JSON keys. A program is id N, pinned FILE, name NAME\n" +
      "  or tag TAG."
  ),
  Command.withShortDescription(
    "Programs of the kernel: load, loadall, budget, show, dump, run, stats, profile, pin, attach, detach, tracelog"
  ),
  Command.withSubcommands([
    load,
    loadall,
    budget,
    show("show"),
    show("list"),
    dump,
    run,
    stats,
    profile,
    pin,
    attach,
    detach,
    tracelog
  ])
)
