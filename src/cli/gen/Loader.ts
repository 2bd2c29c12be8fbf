/**
 * `gen loader`: records the loader program of an object.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as FileSystem from "effect/FileSystem"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { readFile } from "../../services/Elf/ElfService.ts"
import * as KernelRecording from "../../services/Kernel/KernelRecording.ts"
import * as LoaderProgram from "../../stages/gen/LoaderProgram.ts"
import { InFile, reporting } from "../Failure.ts"
import * as FileOutput from "../FileOutput.ts"
import { recordedDocument } from "../json/LoaderDocument.ts"
import * as ObjectFile from "../ObjectFile.ts"
import * as Output from "../Output.ts"
import * as Relocation from "../Relocation.ts"
import { recordedText } from "../text/LoaderText.ts"
import { UsageError } from "../Usage.ts"
import { kernelFlag, plan } from "./Recording.ts"
import type * as Recording from "./Recording.ts"
import { SigningError } from "./SigningError.ts"

/** Where the passphrase of an encrypted key is taken from: not from the arguments, which everybody can read. */
const PASSPHRASE = "EFFECT_BPF_PASSPHRASE"

interface Options extends Recording.Given {
  readonly object: string
  readonly output: Option.Option<string>
  readonly sign: boolean
  readonly instructionsOnly: boolean
  readonly key: Option.Option<string>
  readonly cert: Option.Option<string>
  readonly trace: boolean
}

/** The key and certificate to sign with, or `undefined`. They come together, and with `--sign`. */
const signerOf = Effect.fnUntraced(function*({ cert, instructionsOnly, key, sign }: Options) {
  const wrong = (argument: string, detail: string) => new UsageError({ argument, detail })
  if (!sign) {
    if (instructionsOnly) {
      return yield* wrong("--instructions-only", "says what of a loader is signed: --sign is missing")
    }
    if (Option.isSome(key)) return yield* wrong("--key", "is of use with --sign only")
    if (Option.isSome(cert)) return yield* wrong("--cert", "is of use with --sign only")
    return undefined
  }
  if (Option.isNone(key)) return yield* wrong("--sign", "needs the private key to sign with: --key FILE")
  if (Option.isNone(cert)) return yield* wrong("--sign", "needs the certificate of the key: --cert FILE")
  const fileSystem = yield* FileSystem.FileSystem
  const passphrase = process.env[PASSPHRASE]
  return {
    key: yield* readFile(fileSystem, key.value),
    certificate: yield* readFile(fileSystem, cert.value),
    ...(passphrase === undefined ? {} : { passphrase })
  }
})

/** The file of a key or certificate that does not do, and where the command has a passphrase from. */
const inItsFile = ({ cert, key }: Options) => (error: SigningError): SigningError | InFile => {
  switch (error.reason) {
    case "Certificate":
      return new InFile({ path: Option.getOrElse(cert, () => ""), cause: error })
    case "Passphrase":
      return new InFile({
        path: Option.getOrElse(key, () => ""),
        cause: new SigningError({
          reason: error.reason,
          detail: error.detail,
          hint: `it is taken from the environment, ${PASSPHRASE}`
        })
      })
    case "Key":
    case "Mismatch":
      return new InFile({ path: Option.getOrElse(key, () => ""), cause: error })
    default:
      return error
  }
}

/** What is written must not be what is read. */
const requireApart = Effect.fnUntraced(function*(object: string, output: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const real = (path: string) => Effect.orElseSucceed(fileSystem.realPath(path), () => path)
  if ((yield* real(object)) === (yield* real(output))) {
    return yield* new UsageError({ argument: output, detail: "is the object, and would be lost" })
  }
})

const textOf = (loader: LoaderProgram.LoaderProgramJson, pretty: boolean): string =>
  JSON.stringify(loader, undefined, pretty ? 2 : undefined)

const recordFile = Effect.fnUntraced(function*(options: Options) {
  const { instructionsOnly, object: path, output, trace } = options
  if (Option.isSome(output)) yield* requireApart(path, output.value)
  const signer = yield* signerOf(options)
  const { options: recording, planned } = yield* plan(path, options)
  const recorded = yield* KernelRecording.record(planned, {
    ...recording,
    ...(trace ? { logLevel: 1 } : {}),
    ...(signer === undefined ? {} : { signed: instructionsOnly ? "insns" as const : true })
  })
  // What signs is large, and of no use to a loader that is not signed.
  const loader = signer === undefined
    ? recorded
    : yield* Effect.mapError(
      Effect.fromResult((yield* Effect.promise(() => import("./Signing.ts"))).sign(recorded, signer)),
      inItsFile(options)
    )
  const json = yield* Effect.orDie(Schema.encodeEffect(LoaderProgram.codec)(loader))
  if (Option.isNone(output)) {
    const mode = yield* Output.jsonMode
    return yield* Output.verbatim(textOf(json, mode === "pretty"))
  }
  yield* FileOutput.writeFile(output.value, new TextEncoder().encode(`${textOf(json, true)}\n`))
  yield* Output.result(
    () => recordedDocument(output.value, path, loader),
    () => recordedText(output.value, path, loader)
  )
})

/** The command. */
export const loader = Command.make("loader", {
  object: ObjectFile.argument.pipe(Argument.withDescription("BPF object file, in either byte order")),
  output: Flag.String("output").pipe(
    Flag.withAlias("o"),
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      "The file to write, as a whole when all is done; without it the loader goes to standard output"
    ),
    Flag.optional
  ),
  kernel: kernelFlag,
  sign: Flag.Boolean("sign").pipe(
    Flag.withDescription("Sign the loader; it then takes neither changes nor inputs"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  key: Flag.String("key").pipe(
    Flag.withAlias("k"),
    Flag.withMetavar("FILE"),
    Flag.withDescription(
      `The private key to sign with: RSA or EC, PEM; the passphrase of one is taken from ${PASSPHRASE}`
    ),
    Flag.optional
  ),
  cert: Flag.String("cert").pipe(
    Flag.withAlias("i"),
    Flag.withMetavar("FILE"),
    Flag.withDescription("The certificate of the key: X.509, PEM or DER"),
    Flag.optional
  ),
  instructionsOnly: Flag.Boolean("instructions-only").pipe(
    Flag.withDescription(
      "Sign the instructions, which then check the data: for the first kernels that know signatures"
    ),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  trace: Flag.Boolean("trace").pipe(
    Flag.withDescription("Make a loader that writes each of its calls, and what came of it, to the kernel's trace"),
    Flag.withoutNegation,
    Flag.withDefault(false)
  ),
  ...Relocation.flags,
  ...ObjectFile.edits
}, (options) => reporting(recordFile(options))).pipe(
  Command.withDescription(
    "Record the loader program of an object: one BPF program and one block of data, which load the object on any machine\n" +
      "  that runs them, without this command, libbpf or the object. What depends on the machine is decided when the loader\n" +
      "  runs: types and symbols of its kernel are looked up, CO-RE relocations applied by the kernel, and what no program in\n" +
      "  the kernel can find out is listed under `inputs` for whoever runs it.\n\n" +
      "  An object that cannot be recorded is refused with the program or map that is the reason, and nothing is written.\n" +
      "  The result is JSON: `insns` and `data` in base64, `maps` and `programs` with their places in the context."
  ),
  Command.withShortDescription("Record the loader program of an object"),
  Command.withExamples([
    { command: "effect-bpf gen loader firewall.bpf.o -o firewall.json", description: "For any kernel" },
    {
      command: "effect-bpf gen loader firewall.bpf.o -o firewall.json --kernel 6.12.0-amd64",
      description: "For kernels like the one of this profile: nothing is left to be told"
    },
    {
      command: "effect-bpf gen loader firewall.bpf.o -o firewall.json --sign --key key.pem --cert cert.pem",
      description: "Signed"
    }
  ])
)
