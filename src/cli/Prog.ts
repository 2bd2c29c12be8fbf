/**
 * `prog`: programs of the kernel. `prog load` and `prog loadall` load an object and give it names in a bpf file system.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Ref from "../services/Kernel/Ref.ts"
import { type LoadPlan, required } from "../stages/load/LoadPlan.ts"
import type { BpfObject, Program } from "../stages/open/BpfObject.ts"
import { type Edits, requireProgram } from "./Edits.ts"
import { reporting } from "./Failure.ts"
import type { Json } from "./json/Json.ts"
import * as KernelChoice from "./KernelChoice.ts"
import { load as loadObject, logLevel } from "./Load.ts"
import * as ObjectFile from "./ObjectFile.ts"
import * as Output from "./Output.ts"
import * as Relocation from "./Relocation.ts"
import { type Line, line, span, table } from "./text/Text.ts"
import { UsageError } from "./Usage.ts"

/** A program or map, and the path of its pin. */
interface Pin {
  readonly kind: "program" | "map"
  readonly name: string
  readonly ref: Ref.MapRef | Ref.ProgRef
  readonly path: string
}

/**
 * The path of a pin in a folder. A bpf file system takes no dots in names, so they become `_` as in libbpf; a name with
 * a slash in it, which only a forged object has, would lead out of the folder.
 */
const pinPath = (folder: string, name: string): Result.Result<string, UsageError> =>
  name === "" || name.includes("/")
    ? Result.fail(new UsageError({ argument: name, detail: "this name cannot be a name in a bpf file system" }))
    : Result.succeed(`${folder.replace(/\/+$/, "")}/${name.replaceAll(".", "_")}`)

const pinsOf = <A extends { readonly name: string }>(
  kind: Pin["kind"],
  folder: string,
  all: ReadonlyArray<A>,
  wanted: (each: A) => boolean
): Result.Result<ReadonlyArray<Pin>, UsageError> =>
  Result.all(
    all.flatMap((each, position) =>
      wanted(each)
        ? [Result.map(pinPath(folder, each.name), (path): Pin => ({
          kind,
          name: each.name,
          ref: kind === "map" ? Ref.map(position) : Ref.prog(position),
          path
        }))]
        : []
    )
  )

/** Maps that are shared by a pin of their own keep that one. */
const mapPins = (object: BpfObject, folder: Option.Option<string>): Result.Result<ReadonlyArray<Pin>, UsageError> =>
  Option.isNone(folder)
    ? Result.succeed([])
    : pinsOf("map", folder.value, object.maps, (map) => map.autocreate && map.pinPath === undefined)

const isLoaded = (program: Program): boolean => program.entry && program.autoload

const stepsOf = (pins: ReadonlyArray<Pin>): LoadPlan =>
  pins.map(({ kind, name, path, ref }) => required({ _tag: "ObjPin", object: ref, path }, `pin of ${kind} ${name}`))

const pinsJson = (pins: ReadonlyArray<Pin>): Json => {
  const of = (kind: Pin["kind"]) =>
    pins.filter((pin) => pin.kind === kind).map(({ name, path }) => ({ name, pinned: [path] }))
  return { programs: of("program"), maps: of("map") }
}

const pinsText = (pins: ReadonlyArray<Pin>): ReadonlyArray<Line> => [
  line("pinned:"),
  ...table(["kind", "name", "path"], pins.map(({ kind, name, path }) => [kind, span("name", name), path]))
]

/** What both verbs share, once it is known what is to be pinned. */
interface Loading {
  readonly path: string
  readonly kernel: string
  readonly log: boolean
  readonly edits: Edits
  readonly given: Relocation.Given
  readonly pins: (object: BpfObject) => Result.Result<ReadonlyArray<Pin>, UsageError>
}

const loadAndPin = ({ edits, given, kernel, log, path, pins: pinsFor }: Loading) =>
  reporting(
    Effect.gen(function*() {
      const object = yield* ObjectFile.openEdited(path, edits, { logLevel: logLevel(log) })
      const pins = yield* Effect.fromResult(pinsFor(object))
      const relocate = yield* Relocation.options(given)
      yield* Effect.scoped(loadObject(object, { kernel, log, more: stepsOf(pins), relocate }))
      yield* Output.result(() => pinsJson(pins), () => pinsText(pins))
    }).pipe(Effect.provide(KernelChoice.layer(kernel))),
    { showLog: log }
  )

const common = {
  pinmaps: Flag.String("pinmaps").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription("Pin every map, too, as DIR/NAME; dots in names become _"),
    Flag.optional
  ),
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

const load = Command.make("load", {
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
}, ({ btf, kconfig, kernel, log, object: path, path: target, pinmaps, prog, ...edits }) =>
  loadAndPin({
    path,
    given: { btf, kconfig },
    kernel,
    log,
    edits,
    pins: (object) =>
      Result.flatMap(chosen(object, prog), (program) =>
        Result.map(mapPins(object, pinmaps), (maps) => [
          { kind: "program", name: program.name, ref: Ref.prog(object.programs.indexOf(program)), path: target },
          ...maps
        ]))
  })).pipe(
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
      }
    ])
  )

const loadall = Command.make("loadall", {
  object: ObjectFile.argument,
  dir: Argument.String("dir").pipe(
    Argument.withDescription("Folder of a bpf file system; it is made if it does not exist")
  ),
  ...common
}, ({ btf, dir, kconfig, kernel, log, object: path, pinmaps, ...edits }) =>
  loadAndPin({
    path,
    given: { btf, kconfig },
    kernel,
    log,
    edits,
    pins: (object) =>
      Result.flatMap(pinsOf("program", dir, object.programs, isLoaded), (programs) =>
        Result.map(mapPins(object, pinmaps), (maps) => [...programs, ...maps]))
  })).pipe(
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

/** The command with its verbs. */
export const prog = Command.make("prog").pipe(
  Command.withDescription("Load programs into the kernel, and give them names there"),
  Command.withShortDescription("Programs of the kernel: load, loadall"),
  Command.withSubcommands([load, loadall])
)
