/**
 * `gen replay`: what a loader program does, found out by running it in the virtual machine.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Errno from "../../services/Kernel/abi/Errno.ts"
import { Kernel } from "../../services/Kernel/Kernel.ts"
import type { LoadPlan } from "../../stages/load/LoadPlan.ts"
import * as LoaderDiff from "../../stages/gen/LoaderDiff.ts"
import * as LoaderExplain from "../../stages/gen/LoaderExplain.ts"
import * as LoaderInputs from "../../stages/gen/LoaderInputs.ts"
import type { LoaderProgram } from "../../stages/gen/LoaderProgram.ts"
import * as LoaderSymbols from "../../stages/gen/LoaderSymbols.ts"
import * as Replay from "../../stages/gen/Replay.ts"
import { Failed } from "../Failed.ts"
import { reporting } from "../Failure.ts"
import { replayDocument } from "../json/LoaderDocument.ts"
import * as KernelChoice from "../KernelChoice.ts"
import * as ObjectFile from "../ObjectFile.ts"
import * as Output from "../Output.ts"
import * as Relocation from "../Relocation.ts"
import { errorText } from "../text/ErrorText.ts"
import { diffText, explainedText } from "../text/LoaderText.ts"
import { UsageError } from "../Usage.ts"
import * as LoaderFile from "./LoaderFile.ts"
import { decidingFlag, plan } from "./Recording.ts"
import type * as Recording from "./Recording.ts"

interface Options extends Omit<Recording.Given, "kernel"> {
  readonly file: Option.Option<string>
  readonly insns: Option.Option<string>
  readonly data: Option.Option<string>
  readonly diff: Option.Option<string>
  readonly for: Option.Option<string>
  readonly kernel: Option.Option<string>
  readonly disassemble: boolean
}

/** The loader that the arguments name: one file, or two. */
const readLoader = Effect.fnUntraced(function*({ data, file, insns }: Options) {
  const wrong = (argument: string, detail: string) => new UsageError({ argument, detail })
  if (Option.isSome(file)) {
    if (Option.isSome(insns) || Option.isSome(data)) {
      return yield* wrong("--insns", "and --data are a loader in two files, and there is one already")
    }
    return { path: file.value, loader: yield* LoaderFile.read(file.value) }
  }
  if (Option.isNone(insns) || Option.isNone(data)) {
    return yield* wrong("gen replay", "needs a loader: a file, or --insns FILE and --data FILE")
  }
  return { path: insns.value, loader: yield* LoaderFile.readPieces(insns.value, data.value) }
})

/** Replays a loader on a kernel; what it loads is gone afterwards. Symbols are looked for first, since weak ones may be missing. */
const onKernel = (name: string, loader: LoaderProgram) =>
  Effect.gen(function*() {
    const kernel = yield* Kernel
    const { maps, words } = yield* LoaderInputs.ask(loader)
    const find = yield* LoaderSymbols.of(loader, { maps, words })
    return yield* Effect.scoped(Effect.gen(function*() {
      const session = yield* kernel.session()
      return LoaderExplain.of(loader, yield* Replay.replay(loader, session, { maps, words, find }))
    }))
  }).pipe(KernelChoice.explaining(name), Effect.provide(KernelChoice.layer(name)))

/**
 * What a loader makes, under the names of a plan. A loader of others tells nothing of them: what it makes first is compared with
 * what the plan makes first.
 */
const madeAs = Effect.fnUntraced(function*(
  planned: LoadPlan,
  loader: LoaderProgram,
  { replayed }: LoaderExplain.Explained
) {
  if (!LoaderDiff.isForeign(loader)) return replayed
  const calls = LoaderDiff.plannedCalls(planned)
  const created = {
    maps: calls.flatMap((call) => call._tag === "MapCreate" ? [{ name: call.attr.name, ref: call.as.index }] : []),
    programs: calls.flatMap((call) => call._tag === "ProgLoad" ? [{ name: call.attr.name, ref: call.as.index }] : [])
  }
  return (yield* LoaderExplain.explain({ ...loader, created })).replayed
})

/** What the loader ended with, where that is an error. */
const endText = ({ replayed: { failure, retval } }: LoaderExplain.Explained) => {
  if (retval === 0) return []
  const because = failure === undefined ? "" : `: ${failure.message}`
  const name = retval < 0 ? Errno.fromNumber(-retval) : String(retval)
  return errorText({ message: `the loader ended with ${name}${because}`, hints: [] })
}

const replayFile = Effect.fnUntraced(function*(options: Options) {
  const { diff, disassemble, for: profile, kernel: name, ...given } = options
  const deciding = decidingFlag(given) ?? (Option.isSome(profile) ? "--for" : undefined)
  if (deciding !== undefined && Option.isNone(diff)) {
    return yield* new UsageError({ argument: deciding, detail: "is of use with --diff only" })
  }
  const { loader, path } = yield* readLoader(options)
  const kernel = Option.getOrUndefined(name)
  const explained = kernel === undefined ? yield* LoaderExplain.explain(loader) : yield* onKernel(kernel, loader)
  const planned = Option.isNone(diff)
    ? undefined
    : { object: diff.value, plan: (yield* plan(diff.value, { ...given, kernel: profile })).planned.plan }
  const compared = planned === undefined ? undefined : {
    object: planned.object,
    differences: LoaderDiff.fromPlan(planned.plan, yield* madeAs(planned.plan, loader, explained), loader)
  }
  yield* Output.result(
    () => replayDocument(path, kernel, loader, explained, compared),
    () =>
      compared === undefined
        ? explainedText(path, loader, explained, kernel, { disassemble })
        : diffText(path, compared.object, explained, compared.differences)
  )
  yield* Output.message(endText(explained))
  return explained.replayed.retval !== 0 || (compared?.differences.length ?? 0) > 0
})

/** The command. */
export const replay = Command.make("replay", {
  file: Argument.String("file").pipe(
    Argument.withDescription("A loader that gen loader has written, or a C light skeleton with one in it"),
    Argument.optional
  ),
  insns: Flag.String("insns").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("The instructions of a loader as they are, with --data in place of a file"),
    Flag.optional
  ),
  data: Flag.String("data").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("The data of a loader as it is"),
    Flag.optional
  ),
  diff: Flag.String("diff").pipe(
    Flag.withMetavar("OBJ"),
    Flag.withDescription("Compare with the plan of this object; exit status 1 where there is a difference"),
    Flag.optional
  ),
  for: Flag.String("for").pipe(
    Flag.withMetavar("PROFILE"),
    Flag.withDescription("The kernel that the loader was recorded for (gen loader --kernel), for the plan of --diff"),
    Flag.optional
  ),
  kernel: Flag.String("kernel").pipe(
    Flag.withMetavar("KERNEL"),
    Flag.withDescription(
      "Make the calls on a kernel: live, simulated, simulated:5.4, or a kernel profile. Without it nothing is loaded: every " +
        "call succeeds, every symbol is there"
    ),
    Flag.optional
  ),
  disassemble: Flag.Boolean("disassemble").pipe(
    Flag.withDescription("List the instructions of the programs that it loads"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  ...Relocation.flags,
  ...ObjectFile.edits
}, (options) =>
  Effect.gen(function*() {
    if (yield* reporting(replayFile(options))) return yield* new Failed({ status: 1 })
  })).pipe(
    Command.withDescription(
      "Run a loader program in the virtual machine, and print the kernel calls that it makes: the types, maps, values and\n" +
        "  programs that it would load, the symbols of the kernel that it looks up, and what it reads of its context. Nothing is\n" +
        "  loaded unless a kernel is chosen. Loaders of others are taken, too: out of a C light skeleton (bpftool gen skeleton\n" +
        "  -L), or as two files.\n\n" +
        "  --diff compares with the plan of an object, edited with the flags of gen loader: what loads it here is what was\n" +
        "  planned there, or each difference is told. Any file may be a loader: it has no memory but its own, and so many\n" +
        "  instructions to execute."
    ),
    Command.withShortDescription("Run a loader in the virtual machine, and print its calls"),
    Command.withExamples([
      { command: "effect-bpf gen replay firewall.json", description: "What does it do?" },
      { command: "effect-bpf gen replay firewall.json --diff firewall.bpf.o", description: "Is it this object?" },
      { command: "effect-bpf gen replay firewall.lskel.h --disassemble", description: "What is in this skeleton?" },
      { command: "sudo effect-bpf gen replay firewall.json --kernel live", description: "Would this kernel take it?" }
    ])
  )
