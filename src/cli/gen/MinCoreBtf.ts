/**
 * `gen min_core_btf`: the BTF that objects need of a kernel.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import type { Btf } from "../../btf/Btf.ts"
import * as BtfFile from "../../btf/BtfFile.ts"
import { readFile } from "../../services/Elf/ElfService.ts"
import * as MinCoreBtf from "../../stages/gen/MinCoreBtf.ts"
import * as Core from "../../stages/relocate/core/Core.ts"
import { during } from "../btf/Common.ts"
import * as BtfInput from "../BtfInput.ts"
import { Failed } from "../Failed.ts"
import { InFile, reporting } from "../Failure.ts"
import * as FileOutput from "../FileOutput.ts"
import { minCoreBtfDocument } from "../json/GenDocument.ts"
import * as Output from "../Output.ts"
import { minCoreBtfText, problemText } from "../text/GenText.ts"
import { UsageError } from "../Usage.ts"

/** The types in a folder that is a kernel's profile, or the file itself. */
const kernelFile = Effect.fnUntraced(function*(path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const stat = yield* Effect.option(fileSystem.stat(path))
  return Option.isSome(stat) && stat.value.type === "Directory" ? `${path}/btf/vmlinux` : path
})

const ELF_MAGIC = [0x7f, 0x45, 0x4c, 0x46]

/** Objects are named behind the output: whoever forgets the output would lose the first one. */
const requireOutput = Effect.fnUntraced(function*(input: string, output: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const real = (path: string) => Effect.orElseSucceed(fileSystem.realPath(path), () => path)
  if ((yield* real(input)) === (yield* real(output))) {
    return yield* new UsageError({ argument: output, detail: "is what the BTF is made of, and would be lost" })
  }
  const head = yield* Effect.scoped(
    Effect.flatMap(fileSystem.open(output, { flag: "r" }), (file) => file.readAlloc(ELF_MAGIC.length))
  ).pipe(Effect.option)
  const bytes = Option.getOrUndefined(Option.flatten(head)) ?? new Uint8Array()
  if (ELF_MAGIC.every((byte, index) => bytes[index] === byte)) {
    return yield* new UsageError({
      argument: output,
      detail: "is an ELF file, and would be lost",
      hint: "the arguments are the kernel's types, the file to write, and the objects"
    })
  }
})

const readObject = Effect.fnUntraced(function*(path: string) {
  const bytes = yield* readFile(yield* FileSystem.FileSystem, path)
  const { btf, ext } = yield* Effect.mapError(
    Effect.fromResult(BtfFile.parse(bytes, { ext: true })),
    (cause) => new InFile({ path, cause })
  )
  return { name: path, btf, ext } satisfies MinCoreBtf.MinCoreObject
})

/** The kernel, and the modules that are looked at for what it does not have. Types of a module are over its kernel's. */
const readTarget = Effect.fnUntraced(function*(
  input: string,
  options: { readonly base: Option.Option<string>; readonly module: ReadonlyArray<string> }
) {
  const { file, path } = yield* during(
    `reading ${input}`,
    BtfInput.read(yield* kernelFile(input), { base: options.base })
  )
  const kernel = file.btf.base ?? file.btf
  const modules: Array<Core.CoreModule> = file.btf.base === undefined ? [] : [{ name: path, btf: file.btf }]
  for (const name of options.module) {
    const { file } = yield* during(`reading ${name}`, BtfInput.read(name, { over: kernel }))
    modules.push({ name, btf: file.btf })
  }
  return Core.target(kernel, modules)
})

/** The work, up to what is printed; answers how many relocations cannot be applied. */
const makeMinCoreBtf = Effect.fnUntraced(function*(options: {
  readonly input: string
  readonly output: string
  readonly object: ReadonlyArray<string>
  readonly base: Option.Option<string>
  readonly module: ReadonlyArray<string>
}) {
  const { input, output } = options
  yield* requireOutput(input, output)
  const target = yield* readTarget(input, options)
  const objects = yield* Effect.forEach(options.object, readObject)
  const minimal = yield* during(
    "looking for what the objects need",
    Effect.suspend(() => Effect.fromResult(MinCoreBtf.make(target, objects)))
  )
  yield* FileOutput.writeFile(output, minimal.btf.bytes)
  const whole = wholeOf(target)
  yield* Output.result(
    () => minCoreBtfDocument(input, output, whole, minimal),
    () => minCoreBtfText(output, whole, minimal)
  )
  yield* Output.message(minimal.objects.flatMap((needs) => problemText(needs)))
  return minimal.objects.reduce((sum, { problems }) => sum + problems.length, 0)
})

/** The command. */
export const minCoreBtf = Command.make("min_core_btf", {
  input: Argument.String("input").pipe(
    Argument.withDescription(`The kernel's types: ${BtfInput.fileDescription}; or the folder of a kernel profile`)
  ),
  output: Argument.String("output").pipe(
    Argument.withDescription("The file to write; one that is there is replaced as a whole, when all is done")
  ),
  object: Argument.String("object").pipe(
    Argument.withDescription("BPF object files"),
    Argument.variadic({ min: 1 })
  ),
  base: BtfInput.baseFlag,
  module: Flag.String("module").pipe(
    Flag.withMetavar("FILE"),
    Flag.withDescription("Types of a module of this kernel, for what the kernel itself does not have; repeatable"),
    Flag.atLeast(0)
  )
}, (options) =>
  Effect.gen(function*() {
    if ((yield* reporting(makeMinCoreBtf(options))) > 0) return yield* new Failed({ status: 1 })
  })).pipe(
    Command.withDescription(
      "Write the BTF that objects need of a kernel: of its megabytes the few types that their CO-RE relocations look at. For\n" +
        "  kernels built without BTF, with which it is then brought along: loaders take it in the place of the kernel's own.\n" +
        "  Relocating these objects against it comes to the same as against the whole. The result is raw BTF.\n\n" +
        "  Not part of it is what loaders look for in the running kernel itself: functions that programs attach to, kfuncs,\n" +
        "  typed ksyms, struct_ops. Ids of the kernel's types (bpf_core_type_id_kernel) become ids of the file.\n\n" +
        "  Relocations that cannot be applied on this kernel are told on standard error, and the exit status is 1; the file\n" +
        "  is written, with what all others need."
    ),
    Command.withShortDescription("Write the BTF that objects need of a kernel"),
    Command.withExamples([
      {
        command: "effect-bpf gen min_core_btf vmlinux firewall.btf firewall.bpf.o",
        description: "Of the running kernel"
      },
      {
        command: "effect-bpf gen min_core_btf 6.1.0-47-cloud-amd64.btf small.btf *.bpf.o --module nf_tables.ko",
        description: "Of another one, with the types of one of its modules"
      }
    ])
  )

/** How large what the types are from is. */
const wholeOf = ({ base, modules }: Core.CoreTarget): { readonly types: number; readonly bytes: number } => {
  let types = 0
  let bytes = 0
  const add = (btf: Btf): void => {
    types += btf.offsets.length
    bytes += btf.bytes.length
  }
  for (let blob: Btf | undefined = base; blob !== undefined; blob = blob.base) add(blob)
  for (const { btf } of modules) add(btf)
  return { types, bytes }
}
