/**
 * `gen verify`: whether a loader is signed by the key of a certificate.
 */
import * as Effect from "effect/Effect"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as FileSystem from "effect/FileSystem"
import { readFile } from "../../services/Elf/ElfService.ts"
import { InFile, reporting } from "../Failure.ts"
import * as Output from "../Output.ts"
import type { Json } from "../json/Json.ts"
import { line, span } from "../text/Text.ts"
import * as LoaderFile from "./LoaderFile.ts"
import type { Verified } from "./Signing.ts"

const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")

/** What of a loader is signed, for people. */
const coveredText = { insns_and_data: "instructions and data", insns: "instructions, which check the data" } as const

const document = (
  path: string,
  { covers, exclusiveHash, keyIdentifier, subject }: Verified,
  bytes: number
): Json => ({
  path,
  valid: true,
  subject,
  key_identifier: hex(keyIdentifier),
  covers,
  signature_bytes: bytes,
  exclusive_hash: hex(exclusiveHash)
})

const verifyFile = Effect.fnUntraced(function*(options: { readonly file: string; readonly cert: string }) {
  const loader = yield* LoaderFile.readRecorded(options.file)
  const certificate = yield* readFile(yield* FileSystem.FileSystem, options.cert)
  // What reads certificates is large, and of no use to the other commands.
  const { verify } = yield* Effect.promise(() => import("./Signing.ts"))
  const verified = yield* Effect.mapError(
    Effect.fromResult(verify(loader, certificate)),
    (cause) => new InFile({ path: cause.reason === "Certificate" ? options.cert : options.file, cause })
  )
  yield* Output.result(
    () => document(options.file, verified, loader.signed?.signature?.length ?? 0),
    () => [
      line(span("name", options.file), `: signed by ${verified.subject.replaceAll("\n", ", ")}`),
      line(`  key       ${hex(verified.keyIdentifier)}`),
      line(`  signed    ${coveredText[verified.covers]}`),
      line(`  exclusive ${hex(verified.exclusiveHash)}`)
    ]
  )
})

/** The command. */
export const verify = Command.make("verify", {
  file: Argument.String("file").pipe(Argument.withDescription("A loader that gen loader --sign has written")),
  cert: Flag.String("cert").pipe(
    Flag.withAlias("i"),
    Flag.withMetavar("FILE"),
    Flag.withDescription("The certificate of the key that it should be signed by: X.509, PEM or DER")
  )
}, (options) => reporting(verifyFile(options))).pipe(
  Command.withDescription(
    "Check the signature of a loader: that the key of this certificate has signed it, and that not a byte was changed since.\n\n" +
      "  Whether the certificate is to be trusted is not asked: the kernel looks for it in the keyring that the loader is\n" +
      "  loaded with. Exit status 1 when the signature is missing, somebody else's, or not of this loader."
  ),
  Command.withShortDescription("Check the signature of a loader"),
  Command.withExamples([
    { command: "effect-bpf gen verify firewall.json --cert signer.pem", description: "Whose signature is it?" }
  ])
)
