/**
 * `run`: a program on data of the user's, with `PROG_TEST_RUN`.
 */
import * as Effect from "effect/Effect"
import * as Command from "effect/cli/Command"
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import type { ProgTestRun, TestRunResult } from "../services/Kernel/KernelCall.ts"
import type { BpfObject, Program } from "../stages/open/BpfObject.ts"
import { loadOnly } from "../stages/open/Edit.ts"
import { Simulation } from "../services/Kernel/simulated/Simulation.ts"
import { progTypeName } from "../services/Kernel/abi/BpfConstants.ts"
import { requireProgram } from "./Edits.ts"
import { reporting } from "./Failure.ts"
import { nothingSeen, type RunDocument, runsJson, type Seen } from "./json/RunDocument.ts"
import * as KernelChoice from "./KernelChoice.ts"
import { load, logLevel } from "./Load.ts"
import * as ObjectFile from "./ObjectFile.ts"
import * as Output from "./Output.ts"
import * as Packets from "./Packets.ts"
import * as Pcap from "./Pcap.ts"
import * as Relocation from "./Relocation.ts"
import { runsText } from "./text/RunText.ts"
import { UsageError } from "./Usage.ts"

/** The object with this program and those that its program arrays hold, and no others: they need not fit this kernel. */
const narrowed = (object: BpfObject, program: Program) => {
  const held = object.maps.flatMap((map) =>
    map.autocreate
      ? map.slots.flatMap((slot) => slot._tag === "Program" ? [object.programs[slot.program]?.name ?? ""] : [])
      : []
  )
  return loadOnly(object, [program.name, ...held])
}

/** Room for what comes back: a program may make a packet longer. */
const roomFor = (packet: Uint8Array): number => Math.max(32 * 1024, packet.length + 4096)

/** Room for a context that comes back: more than any type has. */
const contextRoom = 4096

const checkInput = (program: Program, hasData: boolean, hasContext: boolean): Effect.Effect<void, UsageError> => {
  const type = progTypeName(program.type)
  const takes = Packets.takesPackets(program.type)
  if (takes && !hasData) {
    return Effect.fail(
      new UsageError({
        argument: program.name,
        detail: `${type} programs run on a packet, and none is given`,
        hint: "add --data-in FILE: a pcap capture, or one packet as it is on the wire"
      })
    )
  }
  if (!takes && hasData) {
    return Effect.fail(
      new UsageError({
        argument: "--data-in",
        detail: `${type} programs do not run on a packet`,
        hint: hasContext ? "leave it out" : "give their context with --ctx-in FILE, or nothing"
      })
    )
  }
  return Effect.void
}

/** The runs of an input: what is handed in, and which packet of a capture it was. */
const inputsOf = (input: Packets.Input): ReadonlyArray<{ readonly frame?: number; readonly bytes?: Uint8Array }> => {
  switch (input._tag) {
    case "Nothing":
      return [{}]
    case "Packet":
      return [{ bytes: input.bytes }]
    case "Capture":
      return input.capture.packets.map(({ bytes }, frame) => ({ frame, bytes }))
  }
}

/** What `--data-out` holds: the bytes that came back, or a capture of them when the input was one. */
const outputOf = (input: Packets.Input, runs: ReadonlyArray<RunDocument>): Uint8Array =>
  input._tag !== "Capture" ? runs[0]?.result.dataOut ?? new Uint8Array() : Pcap.write({
    ...input.capture,
    packets: input.capture.packets.map((packet, position) => {
      const bytes = runs[position]?.result.dataOut ?? packet.bytes
      return { ...packet, bytes, originalLength: bytes.length }
    })
  })

const call = (
  prog: ProgTestRun["prog"],
  bytes: Uint8Array | undefined,
  context: Uint8Array | undefined,
  takesPackets: boolean,
  repeat: number
): ProgTestRun => ({
  _tag: "ProgTestRun",
  prog,
  ...(bytes === undefined ? {} : { dataIn: bytes }),
  dataOutSize: bytes === undefined ? 0 : roomFor(bytes),
  ...(context === undefined ? {} : { contextIn: context }),
  // Types that run on a packet hand their context back; the others refuse room for one.
  contextOutSize: takesPackets && context !== undefined ? contextRoom : 0,
  repeat,
  flags: 0,
  cpu: 0,
  batchSize: 0
})

/** What a simulated kernel has seen of the runs; nothing on another one. */
const seen: Effect.Effect<Seen> = Effect.flatMap(
  Effect.serviceOption(Simulation),
  Option.match({
    onNone: () => Effect.succeed(nothingSeen),
    onSome: ({ coverage, printk }) => Effect.all({ coverage, printk })
  })
)

/** The command. */
export const run = Command.make(
  "run",
  {
    object: ObjectFile.argument,
    program: Argument.String("program").pipe(Argument.withDescription("The program to run")),
    dataIn: Flag.String("data-in").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("Packet to run on, or a pcap capture to run on each of its packets; - is standard input"),
      Flag.optional
    ),
    ctxIn: Flag.String("ctx-in").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("Context to run on, as the kernel's struct for the program's type"),
      Flag.optional
    ),
    dataOut: Flag.String("data-out").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("Write the packet that came back there; of a capture, a capture"),
      Flag.optional
    ),
    ctxOut: Flag.String("ctx-out").pipe(
      Flag.withMetavar("FILE"),
      Flag.withDescription("Write the context that came back there"),
      Flag.optional
    ),
    repeat: Flag.Int("repeat").pipe(
      Flag.withMetavar("N"),
      Flag.withDescription("Run N times on each input; the duration is the mean"),
      Flag.filter((count) => count >= 1 && count <= 0x7fff_ffff, () => "Expected a number from 1 to 2147483647"),
      Flag.optional
    ),
    coverage: Flag.Boolean("coverage").pipe(
      Flag.withDescription("Show how often each line of C ran; only with --kernel simulated"),
      Flag.withDefault(false)
    ),
    log: ObjectFile.log,
    kernel: KernelChoice.flag,
    ...Relocation.flags,
    ...ObjectFile.edits
  },
  ({ btf, coverage, ctxIn, ctxOut, dataIn, dataOut, kconfig, kernel, log, object, program: name, repeat, ...edits }) =>
    reporting(
      Effect.gen(function*() {
        const opened = yield* ObjectFile.openEdited(object, edits, { logLevel: logLevel(log) })
        const program = yield* Effect.fromResult(requireProgram(opened, name, name))
        if (coverage && kernel === "live") {
          return yield* new UsageError({
            argument: "--coverage",
            detail: `the ${kernel} kernel does not count the lines of programs`,
            hint: "add --kernel simulated"
          })
        }
        yield* checkInput(program, Option.isSome(dataIn), Option.isSome(ctxIn))
        const input: Packets.Input = Option.isSome(dataIn)
          ? yield* Packets.readInput(dataIn.value)
          : { _tag: "Nothing" }
        const context = Option.isSome(ctxIn) ? yield* Packets.readBytes(ctxIn.value) : undefined
        const relocate = yield* Relocation.options({ btf, kconfig })
        const runs = yield* Effect.scoped(Effect.gen(function*() {
          const loaded = yield* load(yield* Effect.fromResult(narrowed(opened, program)), { kernel, log, relocate })
          const prog = loaded.program(name)
          if (prog === undefined) return []
          const takes = Packets.takesPackets(program.type)
          return yield* Effect.forEach(inputsOf(input), ({ bytes, frame }) =>
            Effect.map(
              loaded.session.call(call(prog, bytes, context, takes, Option.getOrElse(repeat, () => 0))),
              (result: TestRunResult): RunDocument => ({
                frame,
                length: bytes?.length,
                result,
                action: Packets.actionName(program.type, result.retval)
              })
            ))
        }))
        if (Option.isSome(dataOut)) yield* Packets.writeBytes(dataOut.value, outputOf(input, runs))
        if (Option.isSome(ctxOut)) {
          yield* Packets.writeBytes(ctxOut.value, runs.at(-1)?.result.contextOut ?? new Uint8Array())
        }
        const found = yield* seen
        yield* Output.result(
          () => runsJson(runs, found),
          () =>
            runsText(name, runs, {
              data: Option.isNone(dataOut),
              context: context !== undefined && Option.isNone(ctxOut)
            }, found)
        )
      }).pipe(Effect.provide(KernelChoice.layer(kernel, { coverage }))),
      { showLog: log }
    )
).pipe(
  Command.withDescription(
    "Load one program of an object, run it on data of yours with the kernel's PROG_TEST_RUN, and print what it returned.\n" +
      "  Nothing is attached, and everything is gone when the command ends. Needs root, or CAP_BPF and what the\n" +
      "  program's type asks for; with --kernel simulated it needs nothing, and runs in this process. Keys of --json are bpftool's: `data_out`, `retval`, `duration` (nanoseconds); of a\n" +
      "  capture, an array `packets` of them."
  ),
  Command.withShortDescription("Run a program on a packet, a capture or a context"),
  Command.withExamples([
    {
      command: "effect-bpf run firewall.bpf.o xdp_firewall --data-in packets.pcap",
      description: "One verdict for each packet of a capture"
    },
    {
      command: "effect-bpf run firewall.bpf.o xdp_firewall --data-in packet.bin --repeat 100000",
      description: "How long it takes"
    },
    {
      command: "effect-bpf run firewall.bpf.o xdp_firewall --data-in packets.pcap --kernel simulated --coverage",
      description: "Without root or Linux, and with the lines of C that ran"
    },
    {
      command: "effect-bpf run firewall.bpf.o xdp_firewall --data-in packets.pcap --set 'blocked_ports=[443]'",
      description: "With another setting"
    }
  ])
)
