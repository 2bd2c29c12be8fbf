/**
 * `struct_ops register`: the structs of an object, registered with the kernel for longer than the command.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Option from "effect/Option"
import { AttachError } from "../../attach/AttachError.ts"
import * as StructOps from "../../attach/StructOps.ts"
import { MapFlag } from "../../services/Kernel/abi/BpfConstants.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { LoadedObject } from "../../stages/load/Execute.ts"
import * as Pins from "../../stages/load/Pins.ts"
import type { BpfObject, MapDefinition } from "../../stages/open/BpfObject.ts"
import { reporting } from "../Failure.ts"
import { type Registered, registeredJson } from "../json/StructOpsDocument.ts"
import * as KernelChoice from "../KernelChoice.ts"
import { load as loadObject, logLevel } from "../Load.ts"
import * as ObjectFile from "../ObjectFile.ts"
import * as Output from "../Output.ts"
import * as Relocation from "../Relocation.ts"
import { registeredText } from "../text/StructOpsText.ts"
import { UsageError } from "../Usage.ts"

type Struct = MapDefinition & { readonly structOps: NonNullable<MapDefinition["structOps"]> }

const isStruct = (map: MapDefinition): map is Struct => map.structOps !== undefined && map.autocreate

/** The structs of an object that a load makes; without a folder none that a link has to hold. */
const structsOf = (
  object: BpfObject,
  folder: Option.Option<string>
): Effect.Effect<ReadonlyArray<Struct>, UsageError> => {
  const structs = object.maps.filter(isStruct)
  if (structs.length === 0) {
    return Effect.fail(
      new UsageError({
        argument: "object",
        detail: "it has no struct of the kernel's to register",
        hint: "a variable in SEC(\".struct_ops\") or SEC(\".struct_ops.link\") is one"
      })
    )
  }
  const linked = structs.find(({ attr }) => (attr.flags & MapFlag.BPF_F_LINK) !== 0)
  return linked !== undefined && Option.isNone(folder)
    ? Effect.fail(
      new UsageError({
        argument: linked.name,
        detail: "a link registers it, which ends with the command unless it is pinned",
        hint: "give the folder of its pin behind the object: effect-bpf struct_ops register OBJ /sys/fs/bpf/links"
      })
    )
    : Effect.succeed(structs)
}

/** What the kernel's answer means of a struct, which is registered by setting an element of a map. */
const explained = <E>(error: E): E | AttachError =>
  error instanceof AttachError && error.errno === "EEXIST"
    ? new AttachError({
      reason: error.reason,
      kind: error.kind,
      target: error.target,
      program: error.program,
      detail: error.detail,
      errno: error.errno,
      hint:
        "the kernel has a struct of this name already: effect-bpf struct_ops list shows those that programs implement"
    })
    : error

/** Registers one struct, and pins its link where it has one. */
const register = Effect.fnUntraced(function*(
  loaded: LoadedObject,
  { name, structOps }: Struct,
  folder: Option.Option<string>
) {
  const map = loaded.session.stamp(Ref.map(loaded.object.maps.findIndex((each) => each.name === name)))
  const { id } = yield* loaded.session.call({ _tag: "MapGetInfo", map })
  const link = yield* Effect.mapError(StructOps.attach(loaded, name), explained)
  const info = yield* link.info
  const path = link.ref !== undefined && Option.isSome(folder)
    ? yield* Effect.fromResult(Pins.path(folder.value, name))
    : undefined
  if (path !== undefined && link.ref !== undefined) {
    yield* loaded.session.call({ _tag: "ObjPin", object: link.ref, path })
  }
  const registered: Registered = { name, struct: structOps.typeName, id, linkId: info?.id, path }
  return { link, registered }
})

/** The command. */
export const command = Command.make(
  "register",
  {
    object: ObjectFile.argument,
    folder: Argument.String("link_dir").pipe(
      Argument.withDescription("A folder of a bpf file system, in which links are pinned: FOLDER/NAME"),
      Argument.optional
    ),
    log: ObjectFile.log,
    kernel: KernelChoice.lastingFlag,
    ...Relocation.flags,
    ...ObjectFile.edits
  },
  ({ btf, folder, kconfig, kernel, log, object: path, ...edits }) =>
    reporting(
      Effect.gen(function*() {
        const object = yield* ObjectFile.openEdited(path, edits, { logLevel: logLevel(log) })
        const structs = yield* structsOf(object, folder)
        const relocate = yield* Relocation.options({ btf, kconfig })
        const registered = yield* Effect.scoped(Effect.gen(function*() {
          const loaded = yield* loadObject(object, { kernel, log, relocate })
          const all = yield* Effect.forEach(structs, (struct) => register(loaded, struct, folder))
          // All of them are there: from here on they stay.
          yield* loaded.session.commit
          // Maps would take theirs away with the scope; links live by their pins.
          for (const { link } of all) if (link.ref === undefined) yield* link.disconnect
          return all.map(({ registered }) => registered)
        }))
        yield* Output.result(() => registeredJson(registered), () => registeredText(registered))
      }).pipe(Effect.provide(KernelChoice.layer(kernel))),
      { showLog: log }
    )
).pipe(
  Command.withDescription(
    "Load an object and register its structs with the kernel, so that they stay when the command ends. If anything fails,\n" +
      "  none stays. Variables of SEC(\".struct_ops.link\") are registered by links, which are pinned in the folder."
  ),
  Command.withShortDescription("Register the structs of an object"),
  Command.withExamples([
    { command: "effect-bpf struct_ops register congestion.bpf.o" },
    { command: "effect-bpf struct_ops register scheduler.bpf.o /sys/fs/bpf/links", description: "By links" }
  ])
)
