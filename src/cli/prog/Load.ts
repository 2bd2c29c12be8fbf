/**
 * `prog load` and `prog loadall`: load an object and give it names in a bpf file system.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as Execute from "../../stages/load/Execute.ts"
import type { LifecycleError } from "../../stages/load/LifecycleError.ts"
import * as Pins from "../../stages/load/Pins.ts"
import * as Select from "../../stages/load/Select.ts"
import type { BpfObject, Program } from "../../stages/open/BpfObject.ts"
import { type Edits, requireProgram } from "../Edits.ts"
import { reporting } from "../Failure.ts"
import { budgetJson, type Compared } from "../json/BudgetDocument.ts"
import type { Json } from "../json/Json.ts"
import * as KernelChoice from "../KernelChoice.ts"
import { loadFor, loadMeasured, type LoadOptions, logLevel } from "../Load.ts"
import * as ObjectFile from "../ObjectFile.ts"
import * as Output from "../Output.ts"
import * as Relocation from "../Relocation.ts"
import { changesText } from "../text/BudgetText.ts"
import { blank, type Line, line, span, table } from "../text/Text.ts"
import { UsageError } from "../Usage.ts"
import * as Budgets from "./Budgets.ts"
import * as LoadWords from "./LoadWords.ts"

/** What cannot be pinned is the fault of the arguments. */
const usage = (
  pins: Result.Result<ReadonlyArray<Pins.Pin>, LifecycleError>
): Result.Result<ReadonlyArray<Pins.Pin>, UsageError> =>
  Result.mapError(
    pins,
    ({ detail, hint, name }) => new UsageError({ argument: name, detail, ...(hint === undefined ? {} : { hint }) })
  )

/** Maps that are shared by a pin of their own keep that one. */
const mapPins = (object: BpfObject, folder: string | undefined): Result.Result<ReadonlyArray<Pins.Pin>, UsageError> =>
  folder === undefined ? Result.succeed([]) : usage(Pins.ofMaps(object, folder))

const isLoaded = (program: Program): boolean => program.entry && program.autoload

/** What was pinned: with `autoattach` links in the place of programs. */
interface Pinned {
  readonly kind: Pins.Pin["kind"] | "link"
  readonly name: string
  readonly path: string
}

const pinsJson = (pins: ReadonlyArray<Pinned>, autoattach: boolean, compared: Compared | undefined): Json => {
  const of = (kind: Pinned["kind"]) =>
    pins.filter((pin) => pin.kind === kind).map(({ name, path }) => ({ name, pinned: [path] }))
  return {
    programs: of("program"),
    maps: of("map"),
    ...(autoattach ? { links: of("link") } : {}),
    ...(compared === undefined ? {} : { budget: budgetJson(compared) })
  }
}

const pinsText = (pins: ReadonlyArray<Pinned>): ReadonlyArray<Line> => [
  line("pinned:"),
  ...table(["kind", "name", "path"], pins.map(({ kind, name, path }) => [kind, span("name", name), path]))
]

/** What both verbs share, once it is known what is to be pinned. */
interface Loading {
  readonly path: string
  readonly kernel: string
  readonly log: boolean
  /** The budget that is compared with, or written. */
  readonly budget: Budgets.Wanted | undefined
  readonly edits: Edits
  readonly given: Relocation.Given
  /** Load these programs alone; none for all that the object says. */
  readonly only: ReadonlyArray<string>
  /** What stands behind the path, in bpftool's words. */
  readonly words: LoadWords.LoadWords
  readonly pins: (object: BpfObject, words: LoadWords.LoadWords) => Result.Result<ReadonlyArray<Pins.Pin>, UsageError>
}

/** The programs that were named, with the maps that they need. */
const narrowed = (object: BpfObject, names: ReadonlyArray<string>) =>
  names.length === 0 ? Result.succeed(object) : Result.mapError(
    Select.only(object, names),
    (error) =>
      error._tag !== "LifecycleError" ? error : new UsageError({
        argument: `--only ${error.name}`,
        detail: error.detail,
        ...(error.hint === undefined ? {} : { hint: error.hint })
      })
  )

/** Attaches the programs that are to be pinned, and pins their links; a program that has none is pinned itself. */
const attachAndPin = Effect.fnUntraced(function*(loaded: Execute.LoadedObject, pins: ReadonlyArray<Pins.Pin>) {
  const Attach = yield* Effect.promise(() => import("../../attach/Attach.ts"))
  const wanted = new Set(pins.filter(({ kind }) => kind === "program").map(({ name }) => name))
  const except = Attach.describe(loaded.object).filter(({ isMap, name }) => isMap || !wanted.has(name))
  const { links } = yield* Attach.attachAll(loaded, { except: except.map(({ name }) => name) })
  const pinned: Array<Pinned> = []
  for (const { kind, name, path, ref } of pins) {
    const link = kind === "program" ? links.get(name) : undefined
    // Without a link there is nothing to pin, which it says itself.
    if (link?.ref === undefined && link !== undefined) yield* link.pin(path)
    yield* loaded.session.call({ _tag: "ObjPin", object: link?.ref ?? ref, path })
    pinned.push({ kind: link === undefined ? kind : "link", name, path })
  }
  return pinned
})

/** Pins what there is to pin, of an object that is loaded. */
const pinAll = Effect.fnUntraced(function*(
  loaded: Execute.LoadedObject,
  pins: ReadonlyArray<Pins.Pin>,
  { autoattach }: LoadWords.LoadWords
) {
  if (autoattach) return yield* attachAndPin(loaded, pins)
  yield* Execute.run(loaded.session, loaded.object, Pins.steps(pins))
  const pinned: ReadonlyArray<Pinned> = pins
  return pinned
})

/** Loads an object and pins it; with a budget only if its programs keep to it. All of it is committed, or nothing. */
const loadPinned = Effect.fnUntraced(function*(
  object: BpfObject,
  pins: ReadonlyArray<Pins.Pin>,
  { budget, words }: Loading,
  options: LoadOptions
) {
  if (budget === undefined) {
    const pinned = yield* loadFor(object, options, (loaded) => pinAll(loaded, pins, words))
    return { pinned, compared: undefined }
  }
  const stored = yield* Budgets.read(budget)
  return yield* loadMeasured(object, options, (measured) =>
    Effect.gen(function*() {
      const compared = yield* Budgets.compare(budget, stored, measured)
      yield* Budgets.enforce(compared)
      const pinned = yield* pinAll(measured.loaded, pins, words)
      if (budget.write) yield* Budgets.write(budget.path, stored, measured)
      return { pinned, compared }
    }))
}, Effect.scoped)

/** What both verbs are given beside the path: words, and flags that say the same or go together. */
interface Common {
  readonly words: ReadonlyArray<string>
  readonly pinmaps: Option.Option<string>
  readonly budget: Option.Option<string>
  readonly budgetWrite: boolean
}

/** Reads what was given; the folder for maps may be among the words, or given as a flag. */
const read = (
  { budget, budgetWrite, pinmaps, words }: Common
): Result.Result<Pick<Loading, "words" | "budget">, UsageError> =>
  Result.all({
    words: LoadWords.read(words, Option.getOrUndefined(pinmaps)),
    budget: Budgets.wantedOf(budget, budgetWrite)
  })

const loadAndPin = (common: Common, given: Omit<Loading, "words" | "budget">) => {
  const { kernel, log } = given
  return reporting(
    Effect.gen(function*() {
      const loading: Loading = { ...given, ...yield* Effect.fromResult(read(common)) }
      const { words } = loading
      const opened = yield* ObjectFile.openEdited(loading.path, loading.edits, { logLevel: logLevel(log) })
      const worded = yield* LoadWords.apply(opened, words)
      const object = yield* Effect.fromResult(narrowed(worded, loading.only))
      const pins = yield* Effect.fromResult(loading.pins(object, words))
      const relocate = yield* Relocation.options(loading.given)
      const { compared, pinned } = yield* loadPinned(object, pins, loading, { kernel, log, relocate })
      yield* Output.result(
        () => pinsJson(pinned, words.autoattach, compared),
        () => [
          ...pinsText(pinned),
          ...(compared === undefined ? [] : [blank, ...changesText(compared.comparison)])
        ]
      )
    }).pipe(Effect.provide(KernelChoice.layer(kernel))),
    { showLog: log }
  )
}

const common = {
  pinmaps: Flag.String("pinmaps").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription("Pin every map, too, as DIR/NAME; dots in names become _"),
    Flag.optional
  ),
  only: Flag.String("only").pipe(
    Flag.withMetavar("PROGRAM"),
    Flag.withDescription("Load this program and the maps that it needs, and no others; repeatable"),
    Flag.atLeast(0)
  ),
  words: Argument.String("words").pipe(
    Argument.withDescription("bpftool's: type TYPE, map name NAME MAP, map idx N MAP, pinmaps DIR, autoattach"),
    Argument.variadic()
  ),
  ...Budgets.flags,
  log: ObjectFile.log,
  kernel: KernelChoice.lastingFlag,
  ...Relocation.flags,
  ...ObjectFile.edits
}

/** The program that `prog load` pins: the one that was named, or the object's first. */
const chosen = (object: BpfObject, name: Option.Option<string>): Result.Result<Program, UsageError> => {
  if (Option.isSome(name)) {
    const argument = `--prog ${name.value}`
    return Result.flatMap(
      requireProgram(object, name.value, argument),
      (program) =>
        program.autoload ? Result.succeed(program) : Result.fail(
          new UsageError({
            argument,
            detail: "the load leaves this program out",
            hint: `add --autoload ${name.value}`
          })
        )
    )
  }
  const first = object.programs.find(isLoaded)
  return first === undefined
    ? Result.fail(
      new UsageError({
        argument: "object",
        detail: "it has no program that a load takes",
        hint: "see what it has with effect-bpf inspect, and choose one with --autoload NAME"
      })
    )
    : Result.succeed(first)
}

/** `prog load`. */
export const load = Command.make(
  "load",
  {
    object: ObjectFile.argument,
    path: Argument.String("path").pipe(
      Argument.withDescription(
        "Where the program is pinned: a new name in a bpf file system, such as /sys/fs/bpf/firewall"
      )
    ),
    prog: Flag.String("prog").pipe(
      Flag.withMetavar("NAME"),
      Flag.withDescription("Pin this program instead of the object's first"),
      Flag.optional
    ),
    ...common
  },
  (
    { btf, budget, budgetWrite, kconfig, kernel, log, object: path, only, path: target, pinmaps, prog, words, ...edits }
  ) =>
    loadAndPin({ budget, budgetWrite, pinmaps, words }, {
      path,
      given: { btf, kconfig },
      kernel,
      log,
      edits,
      only,
      pins: (object, words) =>
        Result.flatMap(chosen(object, prog), (program) =>
          Result.map(mapPins(object, words.pinmaps), (maps) => [
            { kind: "program", name: program.name, ref: Ref.prog(object.programs.indexOf(program)), path: target },
            ...maps
          ]))
    })
).pipe(
  Command.withDescription(
    "Load an object and pin one of its programs, so that it stays in the kernel when the command ends.\n" +
      "  If anything fails, nothing stays. Needs root, or CAP_BPF and what the programs' types ask for."
  ),
  Command.withShortDescription("Load an object and pin one of its programs"),
  Command.withExamples([
    { command: "effect-bpf prog load firewall.bpf.o /sys/fs/bpf/firewall", description: "Pin the first program" },
    {
      command: "effect-bpf prog load firewall.bpf.o /sys/fs/bpf/firewall --pinmaps /sys/fs/bpf/firewall_maps",
      description: "And its maps, to read them from elsewhere"
    },
    {
      command: "effect-bpf prog load firewall.bpf.o /sys/fs/bpf/firewall map name stats pinned /sys/fs/bpf/stats",
      description: "With a map that is there already"
    }
  ])
)

/** `prog loadall`. */
export const loadall = Command.make(
  "loadall",
  {
    object: ObjectFile.argument,
    dir: Argument.String("dir").pipe(
      Argument.withDescription("Folder of a bpf file system; it is made if it does not exist")
    ),
    ...common
  },
  ({ btf, budget, budgetWrite, dir, kconfig, kernel, log, object: path, only, pinmaps, words, ...edits }) =>
    loadAndPin({ budget, budgetWrite, pinmaps, words }, {
      path,
      given: { btf, kconfig },
      kernel,
      log,
      edits,
      only,
      pins: (object, words) =>
        Result.flatMap(
          usage(Pins.ofPrograms(object, dir)),
          (programs) => Result.map(mapPins(object, words.pinmaps), (maps) => [...programs, ...maps])
        )
    })
).pipe(
  Command.withDescription(
    "Load an object and pin each of its programs as DIR/NAME. If anything fails, nothing stays.\n" +
      "  Needs root, or CAP_BPF and what the programs' types ask for."
  ),
  Command.withShortDescription("Load an object and pin all of its programs"),
  Command.withExamples([
    { command: "effect-bpf prog loadall tools.bpf.o /sys/fs/bpf/tools" },
    { command: "effect-bpf prog loadall tools.bpf.o /sys/fs/bpf/tools --no-autoload experimental" }
  ])
)
